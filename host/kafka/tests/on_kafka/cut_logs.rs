//! Logs that were cut and written on while no host was up, as an unclean election does. The broker is killed, the
//! end of the log's file is cut off, and with its next start the leader has another epoch.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keylane_kafka::{ConsumerConfig, Health, Start};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Stage;
use crate::support::database::Database;
use crate::support::{Cluster, PATIENCE, Recorder, consumer, unique, until, until_assigned, until_health};

const LIMIT: Duration = Duration::from_secs(5);

/// A handler of a topic with two partitions: the first is read to 20, the second to 10.
struct Scene {
    topic: String,
    group: String,
    recorder: Recorder,
    database: Option<Database>,
}

impl Scene {
    async fn new(stage: &Stage, database: Option<Database>) -> Self {
        let recorder = database.as_ref().map_or_else(Recorder::new, Recorder::beside);
        Self { topic: stage.cluster.topic(2).await, group: unique("group"), recorder, database }
    }

    fn config(&self) -> ConsumerConfig {
        consumer(&self.group, &self.topic, Start::Earliest)
    }

    fn file(&self, logs: &Path, partition: i32) -> PathBuf {
        logs.join(format!("{}-{partition}", self.topic)).join("00000000000000000000.log")
    }

    fn produce(&self, cluster: &Cluster, partition: i32) {
        cluster.produce(&self.topic, partition, 0..10);
    }

    async fn read(&self, cluster: &Cluster) {
        let intake = cluster.intake(self.config(), &self.recorder);
        // A coordinator that has just been started knows of no commits yet, and says so.
        until_assigned(&intake, 2).await;
        let committed = |partition| cluster.committed_offset(&self.group, &self.topic, partition);
        until("all of both", || (committed(0), committed(1)) == (Some(20), Some(10))).await;
        assert!(intake.stop(LIMIT).await.committed);
    }

    /// The first partition has other records now at offsets that were read; the second has none.
    async fn find_the_cut(&self, cluster: &Cluster) {
        let intake = cluster.intake(self.config(), &self.recorder);
        let one = |told: &Health| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 1);
        let told = until_health(&mut intake.health(), "the cut", one).await.to_string();
        assert!(told.contains("was cut below offset 20 and written on"), "{told}");
        until("the other partition", || self.recorder.count_of(1) == 20).await;
        assert_eq!(self.recorder.count_of(0), 20);
        assert!(intake.stop(LIMIT).await.committed);
        assert_eq!(cluster.committed_offset(&self.group, &self.topic, 0), Some(20), "left for the operator");
    }

    /// An operator has it go on where the log was cut.
    async fn mend(&self, cluster: &Cluster) {
        match &self.database {
            None => cluster.commit(&self.group, &self.topic, 0, 10, ""),
            Some(database) => database.change(0, |stream| {
                stream.floor = Some(10);
                stream.claims.clear();
            }),
        }
        let intake = cluster.intake(self.config(), &self.recorder);
        until("what replaced the lost records", || self.recorder.count_of(0) == 50).await;
        until_assigned(&intake, 2).await;
        assert!(intake.stop(LIMIT).await.committed);
        assert_eq!(self.recorder.offsets(1), (0..20).collect::<Vec<_>>());
    }
}

pub async fn what_was_read_and_is_gone_stops_its_partition(stage: &Stage) {
    let cluster = &stage.cluster;
    let scenes = [Scene::new(stage, None).await, Scene::new(stage, Some(Database::new())).await];
    let logs = stage.kafka.logs();
    let mut kept = Vec::new();
    for scene in &scenes {
        for partition in 0..2 {
            scene.produce(cluster, partition);
            let file = scene.file(&logs, partition);
            kept.push((file.clone(), file.metadata().unwrap().len()));
        }
        scene.produce(cluster, 0);
        scene.read(cluster).await;
        scene.produce(cluster, 1);
    }
    let cut = || {
        for (file, length) in &kept {
            let file = OpenOptions::new().write(true).open(file)?;
            assert!(file.metadata()?.len() > *length, "something lies behind");
            file.set_len(*length)?;
        }
        Ok(())
    };
    stage.kafka.restart_after(cut).unwrap();
    for scene in &scenes {
        for partition in 0..2 {
            assert_eq!(cluster.end_of(&scene.topic, partition), 10, "the end was cut off");
            // Past where the first one was read to.
            scene.produce(cluster, partition);
        }
        cluster.produce(&scene.topic, 0, 10..30);
    }
    for scene in &scenes {
        scene.find_the_cut(cluster).await;
        scene.mend(cluster).await;
    }
}

/// The marker that ends a transaction may be written by a later leader than the last record. Were the offset
/// behind it kept with the record's leader, the log would seem cut.
pub async fn a_marker_of_a_later_leader_is_not_taken_for_a_cut(stage: &Stage) {
    let (cluster, database) = (&stage.cluster, Database::new());
    let scenes = [Scene::new(stage, None).await, Scene::new(stage, Some(database.clone())).await];
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &cluster.bootstrap).set("transactional.id", unique("transactional"));
    let producer: BaseProducer = client.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for (scene, number) in scenes.iter().flat_map(|scene| (0..5).map(move |number| (scene, number))) {
        let key = format!("key-{number}");
        let record = BaseRecord::to(&scene.topic).partition(0).key(&key).payload("v");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    stage.kafka.restart_after(|| Ok(())).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
    for scene in &scenes {
        let committed = || cluster.committed_offset(&scene.group, &scene.topic, 0);
        let mut produced = 0..0;
        for (end, events) in [(6, 5), (9, 8), (9, 8)] {
            cluster.produce(&scene.topic, 0, produced.clone());
            let intake = cluster.intake(scene.config(), &scene.recorder);
            until_assigned(&intake, 2).await;
            until("the end of the log", || committed() == Some(end)).await;
            assert_eq!(scene.recorder.count_of(0), events);
            assert!(intake.stop(LIMIT).await.committed);
            produced = if produced.is_empty() { 0..3 } else { 0..0 };
        }
    }
    let mut position = None;
    database.change(0, |stream| position = stream.position);
    assert_eq!(position.map(|position| position.offset), Some(9));
}
