#!/usr/bin/env bash
# A real Apache Kafka (KRaft, one broker or three, no container) on loopback, for tests and benchmarks. Linux.
#
#   kafka.sh up     [PORT] [DIR]    start it, print its address; a running one is left alone
#   kafka.sh down   [PORT] [DIR]    stop it, keep its data
#   kafka.sh kill   [PORT] [DIR]    kill -9
#   kafka.sh clean  [PORT] [DIR]    stop it and remove DIR (only a DIR that up made)
#   kafka.sh status [PORT] [DIR]    process, memory and CPU time
#   kafka.sh up3|down3|kill3|clean3|status3 [PORT] [DIR]
#                                   the same for three brokers: PORT, PORT+10 and PORT+20
#   kafka.sh kill-node|start-node N [PORT] [DIR]
#                                   one of the three, 1 to 3: kill -9, start it again
#   kafka.sh tool NAME ARGS...      kafka-topics, kafka-console-producer, kafka-consumer-groups, ...
#   kafka.sh fetch                  fill the cache (done by up and tool when needed)
#
# A controller listens on its broker's port + 1. Needs a JDK 17 or later; Maven for the first fetch only (44 MiB).
# Environment: KAFKA_VERSION (4.3.1)  KAFKA_HEAP (384m)  KAFKA_GC (-XX:+UseG1GC)
#   KAFKA_CACHE (the user's cache folder)  KAFKA_START_TIMEOUT (90 s)  KAFKA_STOP_TIMEOUT (30 s)
#   KAFKA_CDS (1: class data archive, quicker starts)  KAFKA_EXTRA (file appended to server.properties)
#   KAFKA_OWNER (process id: when it ends, the brokers are cleaned away)  MVN (mvn)  MVN_ARGS (e.g. -o)
set -euo pipefail
shopt -s inherit_errexit

VER=${KAFKA_VERSION:-4.3.1}
HEAP=${KAFKA_HEAP:-384m}
GC=${KAFKA_GC:--XX:+UseG1GC}
ROOT=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keylane-kafka}
CACHE=$ROOT/$VER
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MARK=.keylane-kafka
CLUSTER_ID=S2V5bGFuZS1LYWZrYS0wMQ   # any 16 bytes, base64 url

die() { echo "kafka.sh: $*" >&2; exit 1; }
say() { echo "kafka.sh: $*" >&2; }
secs() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN{printf "%.1f", b-a}'; }

# ---------------------------------------------------------------- cache
fetch() {
  [ -e "$CACHE/ok" ] && return 0
  mkdir -p "$ROOT"
  exec 8>"$ROOT/$VER.lock"; flock 8
  if [ ! -e "$CACHE/ok" ]; then
    local t0=$EPOCHREALTIME tmp; tmp=$(mktemp -d "$ROOT/.fetch.XXXXXX")
    # -U: Maven remembers a failed look-up of a version and does not ask again by itself
    if ! ${MVN:-mvn} -B -U ${MVN_ARGS:-} -f "$HERE/classpath/pom.xml" -Dkafka.version="$VER" \
        dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$tmp/lib" >"$tmp/fetch.log" 2>&1; then
      grep ERROR "$tmp/fetch.log" | head -5 >&2 || true
      rm -rf "$tmp"; die "Maven could not fetch Kafka $VER"
    fi
    [ -e "$tmp/lib/kafka_2.13-$VER.jar" ] || die "no kafka_2.13-$VER.jar in what Maven fetched"
    log_config INFO SYSTEM_OUT >"$tmp/log4j2.properties"
    log_config WARN SYSTEM_ERR >"$tmp/log4j2-tools.properties"
    touch "$tmp/ok"
    rm -rf "$CACHE"; mv "$tmp" "$CACHE"
    say "fetched Kafka $VER: $(du -sm "$CACHE/lib" | cut -f1) MiB, $(secs "$t0") s"
  fi
  exec 8>&-
}

log_config() { # LEVEL TARGET
  cat <<L
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.target = $2
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c{1})%n
rootLogger.level = $1
rootLogger.appenderRef.out.ref = OUT
L
}

# ---------------------------------------------------------------- process
# The pid file holds "PID STARTTICKS", so a reused process id is never taken for the broker.
start_ticks() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; echo "${20}"; }
running() { # PID: it exists and has not ended (an ended one stays listed until its parent asks)
  local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  s=${s##*) }
  case $s in Z*|X*) return 1;; esac
}
alive() { # NODE: prints the PID while that very process runs
  local pid ticks
  read -r pid ticks 2>/dev/null <"$(node_dir "$1")/pid" || return 1
  [ -n "$pid" ] && [ "$(start_ticks "$pid" || true)" = "$ticks" ] && running "$pid" || return 1
  echo "$pid"
}
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# An ApiVersions request by hand costs no JVM: a broker answers with a length, then correlation id 7, error 0.
answers() { # PORT
  local out
  out=$(timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/'"$1"'
    printf "\x00\x00\x00\x0b\x00\x12\x00\x00\x00\x00\x00\x07\x00\x01k" >&3
    head -c 10 <&3 | od -An -v -tx1 | tr -d " \n"' 2>/dev/null) || return 1
  [ "${out:8}" = 000000070000 ]
}
ready() { # NODE
  alive "$1" >/dev/null && grep -q 'Kafka Server started' "$(node_dir "$1")/server.log" 2>/dev/null &&
    answers "$(node_port "$1")"
}

# ---------------------------------------------------------------- one node
# A single broker lives in DIR itself, each of three in a folder of its own.
node_dir() { if [ "$BROKERS" = 1 ]; then echo "$DIR"; else echo "$DIR/node$1"; fi; }
node_port() { echo $((PORT + 10 * ($1 - 1))); }

configure() { # NODE
  local nd port isr voters="" j
  nd=$(node_dir "$1"); port=$(node_port "$1"); isr=$((BROKERS > 1 ? 2 : 1))
  for ((j = 1; j <= BROKERS; j++)); do voters+="${voters:+,}$j@127.0.0.1:$(($(node_port "$j") + 1))"; done
  mkdir -p "$nd"
  cat >"$nd/server.properties" <<P
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$nd/data
default.replication.factor=$BROKERS
min.insync.replicas=$isr
offsets.topic.replication.factor=$BROKERS
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$BROKERS
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$BROKERS
share.coordinator.state.topic.min.isr=$isr
share.coordinator.state.topic.num.partitions=4
# 3 s by default: every first join of a classic group would wait for it
group.initial.rebalance.delay.ms=0
# 128 MiB by default, taken from the heap at start
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
# test data carries fixed, old timestamps: never delete by age
log.retention.ms=-1
P
  if [ "$BROKERS" -gt 1 ]; then
    # a kill -9 is noticed by the lost session: 9 s and 2 s by default
    printf '%s\n' broker.session.timeout.ms=4000 broker.heartbeat.interval.ms=1000 >>"$nd/server.properties"
  fi
  [ -z "${KAFKA_EXTRA:-}" ] || cat "$KAFKA_EXTRA" >>"$nd/server.properties"
}

jvm() { # MEMORY CLASS ARGS: run on the cached class path
  local mem=$1; shift
  "$JAVA" -Xmx"$mem" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dlog4j2.configurationFile="$CACHE/log4j2-tools.properties" -cp "$CACHE/lib/*" "$@"
}

format() { # NODE
  local nd; nd=$(node_dir "$1")
  [ -e "$nd/data/meta.properties" ] && return 0
  jvm 128m kafka.tools.StorageTool format -t "$CLUSTER_ID" -c "$nd/server.properties" >"$nd/format.log" 2>&1 ||
    { tail -5 "$nd/format.log" >&2; die "formatting the data folder failed"; }
}

class_archive() { # NODEDIR: prints the JVM options for it; an archive fits one JVM only
  local jsa t
  [ "${KAFKA_CDS:-1}" = 1 ] || return 0
  jsa=$CACHE/broker-$(stat -Lc %Y-%s "$(command -v "$JAVA")").jsa
  if [ -e "$jsa" ]; then echo "-XX:SharedArchiveFile=$jsa -Xlog:cds=off -Xlog:cds+dynamic=off"
  elif find "$jsa.by" -mmin +60 -delete 2>/dev/null || true; (set -C; : >"$jsa.by") 2>/dev/null; then
    # one broker writes the archive when it stops
    t=$CACHE/.jsa.$$
    printf '%s\n%s\n' "$t" "$jsa" >"$1/cds"
    echo "-XX:ArchiveClassesAtExit=$t -Xlog:cds=off -Xlog:cds+dynamic=off"
  fi
}

# A broker that was killed may let its port go a moment later than its process is seen to end.
let_go() { # PORT
  local i
  for ((i = 0; i < 50; i++)); do listening "$1" || return 0; sleep 0.1; done
  return 1
}

launch() { # NODE
  local pid cds nd port
  nd=$(node_dir "$1"); port=$(node_port "$1")
  let_go "$port" || die "port $port is taken by another process"
  let_go "$((port + 1))" || die "port $((port + 1)) is taken by another process"
  read -r -a cds <<<"$(class_archive "$nd")"
  [ -e "$nd/server.log" ] && mv -f "$nd/server.log" "$nd/server.log.1"
  # 8>&- 9>&-: the broker must not inherit this script's locks
  setsid nohup "$JAVA" -Xms"$HEAP" -Xmx"$HEAP" $GC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    "${cds[@]}" -Dlog4j2.configurationFile="$CACHE/log4j2.properties" -cp "$CACHE/lib/*" \
    kafka.Kafka "$nd/server.properties" </dev/null >"$nd/server.log" 2>&1 8>&- 9>&- &
  pid=$!
  echo "$pid $(start_ticks "$pid")" >"$nd/pid"
  if [ -n "${KAFKA_OWNER:-}" ]; then
    BROKERS=$BROKERS setsid nohup "$HERE/kafka.sh" guard "$1" "$PORT" "$DIR" </dev/null >/dev/null 2>&1 8>&- 9>&- &
  fi
}

# Runs beside the broker of an owner, so that a test that was killed leaves no broker behind.
guard() { # NODE
  local broker; broker=$(alive "$1") || exit 0
  while running "$KAFKA_OWNER"; do
    [ "$(alive "$1" || true)" = "$broker" ] || exit 0
    sleep 1
  done
  clean
}

await() { # NODE
  local log end=$((SECONDS + ${KAFKA_START_TIMEOUT:-90}))
  log=$(node_dir "$1")/server.log
  until ready "$1"; do
    alive "$1" >/dev/null || { tail -15 "$log" >&2; die "the broker ended while starting"; }
    [ $SECONDS -lt $end ] || { tail -15 "$log" >&2; die "the broker was not ready in time"; }
    sleep 0.1
  done
}

halt() { # NODE SIGNAL
  local nd pid end t jsa
  nd=$(node_dir "$1")
  if pid=$(alive "$1"); then
    kill "-$2" "$pid" 2>/dev/null || true
    end=$((SECONDS + ${KAFKA_STOP_TIMEOUT:-30}))
    while alive "$1" >/dev/null; do
      if [ $SECONDS -ge $end ]; then say "pid $pid did not stop: SIGKILL"; kill -KILL "$pid" 2>/dev/null || true; fi
      sleep 0.1
    done
  fi
  rm -f "$nd/pid"
  if [ -e "$nd/cds" ]; then   # publish the class archive, or let the next start try again
    { read -r t; read -r jsa; } <"$nd/cds"; rm -f "$nd/cds"
    if [ -s "$t" ]; then mv -f "$t" "$jsa"; else rm -f "$t"; fi
    rm -f "$jsa.by"
  fi
}

# ---------------------------------------------------------------- commands
lock() { mkdir -p "$(dirname "$DIR")"; exec 9>"$DIR.lock"; flock -w 120 9 || die "another kafka.sh holds $DIR.lock"; }

up() {
  local t0=$EPOCHREALTIME i all=1 addresses=""
  fetch; lock
  if [ -e "$DIR/$MARK" ]; then
    [ "$(cat "$DIR/$MARK")" = "$PORT $BROKERS" ] ||
      die "$DIR was made for $(cat "$DIR/$MARK") (port, brokers): clean it first"
  elif [ -e "$DIR" ] && [ -n "$(ls -A "$DIR")" ]; then die "$DIR exists and is not ours"
  fi
  mkdir -p "$DIR"; echo "$PORT $BROKERS" >"$DIR/$MARK"
  for ((i = 1; i <= BROKERS; i++)); do
    addresses+="${addresses:+,}127.0.0.1:$(node_port "$i")"
    ready "$i" || all=0
  done
  if [ $all = 0 ]; then
    for ((i = 1; i <= BROKERS; i++)); do
      alive "$i" >/dev/null || { configure "$i"; format "$i"; launch "$i"; }
    done
    for ((i = 1; i <= BROKERS; i++)); do await "$i"; done
    say "ready in $(secs "$t0") s"
  fi
  echo "$addresses"
}

# Three are told at once, and what is left of them is killed after 8 s: with most controllers gone, the last
# one's orderly end cannot finish.
down() { # SIGNAL
  local i pid
  lock
  if [ "$BROKERS" -gt 1 ]; then
    KAFKA_STOP_TIMEOUT=${KAFKA_STOP_TIMEOUT:-8}
    for ((i = 1; i <= BROKERS; i++)); do if pid=$(alive "$i"); then kill "-$1" "$pid" 2>/dev/null || true; fi; done
  fi
  for ((i = 1; i <= BROKERS; i++)); do halt "$i" "$1"; done
}

clean() {
  [ -e "$DIR" ] || return 0
  [ -e "$DIR/$MARK" ] || die "$DIR is not ours"
  if [ "$BROKERS" = 1 ]; then down TERM; else down KILL; fi   # TERM lets a broker write its class archive
  rm -rf "$DIR" "$DIR.lock"
}

status() {
  local pid i bad=0
  for ((i = 1; i <= BROKERS; i++)); do
    pid=$(alive "$i") || { echo stopped; bad=1; continue; }
    printf '%s port %s pid %s rss_mib %s cpu_s %s\n' "$(ready "$i" && echo ready || echo starting)" \
      "$(node_port "$i")" "$pid" "$(awk '/VmRSS/{print int($2/1024)}' "/proc/$pid/status")" \
      "$(awk -v h="$(getconf CLK_TCK)" '{sub(/.*\) /,""); print ($12+$13)/h}' "/proc/$pid/stat")"
  done
  return $bad
}

tool() {
  local name=$1 c; shift
  fetch
  case $name in
    kafka-topics) c=org.apache.kafka.tools.TopicCommand;;
    kafka-configs) c=kafka.admin.ConfigCommand;;
    kafka-console-producer) c=org.apache.kafka.tools.ConsoleProducer;;
    kafka-console-consumer) c=org.apache.kafka.tools.consumer.ConsoleConsumer;;
    kafka-consumer-groups) c=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;;
    kafka-delete-records) c=org.apache.kafka.tools.DeleteRecordsCommand;;
    kafka-get-offsets) c=org.apache.kafka.tools.GetOffsetShell;;
    kafka-dump-log) c=org.apache.kafka.tools.DumpLogSegments;;
    kafka-broker-api-versions) c=org.apache.kafka.tools.BrokerApiVersionsCommand;;
    kafka-transactions) c=org.apache.kafka.tools.TransactionsCommand;;
    kafka-producer-perf-test) c=org.apache.kafka.tools.ProducerPerformance;;
    kafka-consumer-perf-test) c=org.apache.kafka.tools.ConsumerPerformance;;
    *.*) c=$name;;
    *) die "unknown tool $name";;
  esac
  case $name in
    *perf-test)   # full compiler and Kafka's own default collector and heap
      exec "$JAVA" -Xmx512m -Dlog4j2.configurationFile="$CACHE/log4j2-tools.properties" -cp "$CACHE/lib/*" "$c" "$@";;
    *) jvm 256m "$c" "$@";;
  esac
}

cmd=${1:-}; shift || true
node=""
case $cmd in
  fetch) fetch; echo "$CACHE"; exit;;
  tool) [ $# -ge 1 ] || die "tool NAME ARGS"; tool "$@"; exit;;
  kill-node|start-node) BROKERS=3; node=${1:?which node, 1 to 3}; shift;;
  guard) node=$1; shift;;   # started by launch, which hands BROKERS over
  up3|down3|kill3|clean3|status3) BROKERS=3; cmd=${cmd%3};;
  up|down|kill|clean|status) BROKERS=1;;
  *) sed -n '2,22p' "${BASH_SOURCE[0]}"; exit 2;;
esac
PORT=${1:-19092}; DIR=${2:-${TMPDIR:-/tmp}/keylane-kafka-$PORT}
case $DIR in /*) ;; *) DIR=$PWD/$DIR;; esac
case $cmd in
  down) down TERM;;
  kill) down KILL;;
  kill-node) lock; halt "$node" KILL;;
  start-node) fetch; lock; alive "$node" >/dev/null || launch "$node"; await "$node";;
  guard) guard "$node";;
  *) "$cmd";;
esac
