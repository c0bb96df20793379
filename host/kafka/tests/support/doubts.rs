//! A handler in cuts whose transactions go wrong at the worst moments: whatever becomes of them, each event
//! leaves its record once.

use std::collections::BTreeMap;
use std::time::Duration;

use keylane_kafka::ConsumerConfig;

use super::between::{Between, END_TRANSACTION, Fate, OFFSETS_OF_TRANSACTION};
use super::cuts::{assert_copied_once, committed, produce, scene, stop};
use super::{Cluster, until, until_assigned};

/// Longer than a test holds anything up.
const SESSION: Duration = Duration::from_secs(20);
/// The longest that it may take until a commit that nobody answers is given up, with all its tries.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// A member whose way to the broker leads through somebody.
fn through(between: &Between) -> Cluster {
    Cluster::at(&between.bootstrap())
}

/// A member's cut is under way when one of its partitions is given to another, who cuts as well. What comes late is
/// of a generation that has passed: it is refused as a whole, and made again of what is still owned.
pub async fn a_cut_of_a_generation_that_has_passed_is_made_again(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 2).await;
    let config = ConsumerConfig { session_timeout: SESSION, ..config };
    let between = Between::new(&cluster.bootstrap);
    let first = copier.intake(&through(&between), config.clone());
    until_assigned(&first, 2).await;
    between.let_be(OFFSETS_OF_TRANSACTION, Fate::Held);
    for partition in 0..2 {
        produce(cluster, &topic, partition, &["a"; 100]);
    }
    until("a cut is under way", || between.met() > 0).await;
    let second = copier.intake(cluster, config.clone());
    until_assigned(&second, 1).await;
    let done = |partition| committed(cluster, &config, &topic, partition) == 100;
    until("the other member has cut its partition", || done(0) || done(1)).await;
    assert!(!(done(0) && done(1)), "what is held is not committed");
    between.let_go();
    until("the rest is committed", || done(0) && done(1)).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 100), (1, 100)]));
    // It was a retry: the member is what it was, and goes on.
    for partition in 0..2 {
        produce(cluster, &topic, partition, &["a"; 50]);
    }
    let done = |partition| committed(cluster, &config, &topic, partition) == 150;
    until("what came after", || done(0) && done(1)).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 150), (1, 150)]));
    stop(second).await;
    stop(first).await;
}

/// Nobody hears what became of a commit that was asked for.
async fn nobody_hears(cluster: &Cluster, fate: Fate) {
    let (topic, config, copier) = scene(cluster, 1).await;
    let between = Between::new(&cluster.bootstrap);
    let intake = copier.intake(&through(&between), config.clone());
    until_assigned(&intake, 1).await;
    between.let_be(END_TRANSACTION, fate);
    produce(cluster, &topic, 0, &["a"; 100]);
    until("the commit is asked for", || between.met() > 0).await;
    // The producer that takes its place ends it, and what the group has then is begun from.
    let taken_anew = async {
        while copier.assignments() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(GIVEN_UP, taken_anew).await.expect("the partition is taken anew");
    between.let_go();
    until("all is committed", || committed(cluster, &config, &topic, 0) == 100).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 100)]));
    produce(cluster, &topic, 0, &["a"; 50]);
    until("what came after", || committed(cluster, &config, &topic, 0) == 150).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 150)]));
    stop(intake).await;
}

pub async fn a_commit_that_happened_and_was_not_heard_of_is_not_made_again(cluster: &Cluster) {
    nobody_hears(cluster, Fate::Unanswered).await;
}

pub async fn a_commit_that_was_lost_and_not_heard_of_is_made_again(cluster: &Cluster) {
    nobody_hears(cluster, Fate::Lost).await;
}
