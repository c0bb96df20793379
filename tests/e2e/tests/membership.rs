//! Hosts that come and go, in groups of the classic kind and of KIP-848, dynamic and static: nothing is
//! lost, and a host without work says why.

mod on_brokers;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::fleet::{
    BROKER_PROPERTIES, CLASSIC, CONSUMER, Fleet, LIMIT, check_copies, until_each_reads,
};
use keylane_e2e::topics::{Topics, by_key, numbered};
use keylane_test_support::{kafka_tool, waiting};
use on_brokers::{Check, On, copies};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const PARTITIONS: i32 = 6;
const KEYS: usize = 10;
/// Records of a partition between two changes.
const STEP: usize = 150;

const CHECKS: &[Check] = &[
    ("hosts_come_and_go_in_a_classic_group", On::Every, classic),
    ("hosts_come_and_go_in_a_kip_848_group", On::Kafka, consumer),
    ("a_static_host_comes_back_and_disturbs_nobody", On::Every, static_member),
    ("a_static_host_of_a_kip_848_group_comes_back", On::Kafka, static_consumer),
    ("a_second_host_of_the_same_instance", On::Kafka, doubled),
    ("more_hosts_than_partitions", On::Every, standby_classic),
    ("more_hosts_than_partitions_in_a_kip_848_group", On::Kafka, standby_consumer),
    ("a_group_of_another_program", On::Every, foreign_group),
    ("a_broker_without_kip_848", On::DevBroker, too_old),
];

fn main() -> ExitCode {
    on_brokers::run("how hosts share a group", BROKER_PROPERTIES, CHECKS)
}

/// Numbered records in every partition of a topic, and what has been written so far.
struct Traffic {
    topics: Topics,
    topic: &'static str,
    written: usize,
    expected: Vec<(String, String)>,
}

impl Traffic {
    fn new(bootstrap: &str, topic: &'static str) -> Result<Self> {
        let topics = Topics::new(bootstrap)?;
        topics.create(topic, PARTITIONS)?;
        Ok(Self { topics, topic, written: 0, expected: Vec::new() })
    }

    fn write(&mut self) -> Result<()> {
        for partition in 0..PARTITIONS {
            let prefix = format!("{}-{partition}", self.topic);
            let records = numbered(&prefix, self.written..self.written + STEP, KEYS);
            self.topics.write(self.topic, partition, &records)?;
            self.expected.extend(records);
        }
        self.written += STEP;
        Ok(())
    }

    fn check(&self, bootstrap: &str, fleet: &Fleet) -> Result<()> {
        fleet.until_done()?;
        check_copies(&copies(bootstrap)?, &by_key(&self.expected))
    }
}

/// Work is under way at each change.
fn come_and_go(bootstrap: &str, topic: &'static str, kafka: &str) -> Result<Fleet> {
    let mut traffic = Traffic::new(bootstrap, topic)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let first = fleet.start(kafka)?;
    until_each_reads(&[&first], &[12])?;
    traffic.write()?;
    let second = fleet.start(kafka)?;
    until_each_reads(&[&first, &second], &[6, 6])?;
    traffic.write()?;
    second.stop()?;
    until_each_reads(&[&first], &[12])?;
    let third = fleet.start(kafka)?;
    traffic.write()?;
    until_each_reads(&[&first, &third], &[6, 6])?;
    traffic.write()?;
    third.process.kill()?;
    traffic.write()?;
    until_each_reads(&[&first], &[12])?;
    traffic.check(bootstrap, &fleet).with_context(|| first.process.last_words())?;
    first.stop()?;
    Ok(fleet)
}

fn classic(bootstrap: &str) -> Result<()> {
    come_and_go(bootstrap, "classic", CLASSIC).map(drop)
}

fn consumer(bootstrap: &str) -> Result<()> {
    let fleet = come_and_go(bootstrap, "consumer", CONSUMER)?;
    let groups = kafka_tool(bootstrap, "kafka-consumer-groups", &["--list", "--type", "consumer"], None)?;
    let groups = groups.expect_ok()?;
    ensure!(groups.lines().any(|line| line.starts_with(&fleet.group())), "groups of KIP-848: {groups}");
    Ok(())
}

fn static_member(bootstrap: &str) -> Result<()> {
    let mut traffic = Traffic::new(bootstrap, "static")?;
    let fleet = Fleet::new(bootstrap, "static", &["static"])?;
    let kafka = |instance: &str| format!("instance = {instance:?}\nsession-timeout = \"90s\"");
    let stays = fleet.start(&kafka("host-1"))?;
    let goes = fleet.start(&kafka("host-2"))?;
    until_each_reads(&[&stays, &goes], &[6, 6])?;
    let (before, owned) = (stays.changes()?, goes.reads()?);
    ensure!(before > 0, "{}", stays.process.last_words());
    traffic.write()?;
    goes.stop()?;
    traffic.write()?;
    let back = fleet.start(&kafka("host-2"))?;
    until_each_reads(&[&stays, &back], &[6, 6])?;
    ensure!(back.reads()? == owned, "other partitions after a restart: {:?}, not {owned:?}", back.reads());
    traffic.write()?;
    back.process.kill()?;
    let back = fleet.start(&kafka("host-2"))?;
    until_each_reads(&[&stays, &back], &[6, 6])?;
    ensure!(back.reads()? == owned, "other partitions after SIGKILL: {:?}, not {owned:?}", back.reads());
    traffic.check(bootstrap, &fleet)?;
    ensure!(stays.changes()? == before, "the other host was disturbed: {}", stays.process.last_words());
    back.stop()?;
    stays.stop()
}

/// A member of KIP-848 that stops in good order keeps its place for a session; one that was killed is alive
/// to the group until its session ends: its host is turned away until then, and goes on asking.
fn static_consumer(bootstrap: &str) -> Result<()> {
    let topic = "static-consumer";
    let mut traffic = Traffic::new(bootstrap, topic)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let group = ["--entity-type", "groups", "--entity-name", &fleet.group()];
    let session = ["--alter", "--add-config", "consumer.session.timeout.ms=20000"];
    kafka_tool(bootstrap, "kafka-configs", &[&group[..], &session].concat(), None)?.expect_ok()?;
    let kafka = |instance: &str| format!("{CONSUMER}\ninstance = {instance:?}");
    let stays = fleet.start(&kafka("host-1"))?;
    let goes = fleet.start(&kafka("host-2"))?;
    until_each_reads(&[&stays, &goes], &[6, 6])?;
    let (before, owned) = (stays.changes()?, goes.reads()?);
    traffic.write()?;
    goes.stop()?;
    traffic.write()?;
    let back = fleet.start(&kafka("host-2"))?;
    until_each_reads(&[&stays, &back], &[6, 6])?;
    ensure!(back.reads()? == owned, "other partitions after a restart: {:?}, not {owned:?}", back.reads());
    ensure!(stays.changes()? == before, "the other host was disturbed: {}", stays.process.last_words());
    traffic.write()?;
    back.process.kill()?;
    let mut back = fleet.start(&kafka("host-2"))?;
    back.process.until_says("the group turned this member away", LIMIT)?;
    until_each_reads(&[&stays, &back], &[6, 6])?;
    traffic.check(bootstrap, &fleet)?;
    back.stop()?;
    stays.stop()
}

/// In a group of KIP-848 the newcomer is turned away while the former member lives.
fn doubled(bootstrap: &str) -> Result<()> {
    let mut traffic = Traffic::new(bootstrap, "doubled")?;
    let fleet = Fleet::new(bootstrap, "doubled", &["doubled"])?;
    let kafka = format!("{CONSUMER}\ninstance = \"host-1\"");
    let former = fleet.start(&kafka)?;
    until_each_reads(&[&former], &[12])?;
    let mut newcomer = fleet.start(&kafka)?;
    newcomer.process.until_says("another live member has the same `instance`", LIMIT)?;
    traffic.write()?;
    traffic.check(bootstrap, &fleet)?;
    until_each_reads(&[&former], &[12])?;
    ensure!(newcomer.partitions()?.is_empty(), "the status of one that was turned away");
    newcomer.stop()?;
    let mut next = fleet.start(&kafka)?;
    next.process.until_says("the group turned this member away", LIMIT)?;
    next.until_ready_is(503, "another live member has the same `instance`")?;
    former.stop()?;
    until_each_reads(&[&next], &[12])?;
    next.stop()
}

fn standby_classic(bootstrap: &str) -> Result<()> {
    let reason = "the group has 3 members, more than there are partitions";
    standby(bootstrap, "standby", CLASSIC, reason)
}

fn standby_consumer(bootstrap: &str) -> Result<()> {
    standby(bootstrap, "standby-consumer", CONSUMER, "the group has given this host no partition")
}

/// One partition and that of the retry topic make work for two.
fn standby(bootstrap: &str, topic: &str, kafka: &str, reason: &str) -> Result<()> {
    let topics = Topics::new(bootstrap)?;
    topics.create(topic, 1)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let first = fleet.start(kafka)?;
    until_each_reads(&[&first], &[2])?;
    let second = fleet.start(kafka)?;
    until_each_reads(&[&first, &second], &[1, 1])?;
    let mut third = fleet.start(kafka)?;
    third.process.until_says(reason, LIMIT)?;
    third.until_ready_is(200, "")?;
    let all = numbered(topic, 0..200, KEYS);
    let (early, late) = all.split_at(100);
    topics.write(topic, 0, early)?;
    first.stop()?;
    topics.write(topic, 0, late)?;
    until_each_reads(&[&second, &third], &[1, 1])?;
    fleet.until_done()?;
    check_copies(&copies(bootstrap)?, &by_key(&all))?;
    second.stop()?;
    third.stop()
}

/// A program that shares out partitions in another way is in the handler's group already.
fn foreign_group(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "foreign-group");
    topics.create(topic, 1)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", fleet.group())
        .set("partition.assignment.strategy", "range")
        .create()?;
    other.subscribe(&[topic])?;
    let poll_until = |count: usize| {
        waiting::until(&format!("{count} partitions"), LIMIT, || {
            let _event = other.poll(Duration::from_millis(20));
            Ok((other.assignment()?.count() == count).then_some(()))
        })
    };
    poll_until(1)?;
    let mut host = fleet.start(CLASSIC)?;
    host.process.until_says("another member of the group speaks another protocol", LIMIT)?;
    host.until_ready_is(503, "another member of the group speaks another protocol")?;
    // When the other one is gone, the host gets its work.
    other.unsubscribe();
    poll_until(0)?;
    let records = numbered(topic, 0..50, KEYS);
    topics.write(topic, 0, &records)?;
    until_each_reads(&[&host], &[2])?;
    fleet.until_done()?;
    check_copies(&copies(bootstrap)?, &by_key(&records))?;
    host.stop()
}

/// librdkafka says nothing in this case, for ever; the host says at least that it has no work.
fn too_old(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "too-old");
    topics.create(topic, 1)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let mut host = fleet.start(CONSUMER)?;
    host.process.until_says("needs Kafka 4.0", LIMIT)?;
    host.until_ready_is(503, "")?;
    host.stop()
}
