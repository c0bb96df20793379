//! What a position outside the log means, and when a loss is counted.

use proptest::prelude::*;

use super::super::group::Change;
use super::stage::Stage;
use super::*;
use crate::meters;

/// The group takes the partition away between the finding and the reading on: whoever has it next finds
/// the loss again.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_counted_once_when_a_rebalance_comes_before_it_is_passed() {
    meters::install();
    let mut stage = Stage::new("cut", Lost::GoOn).await;
    let label = format!("topic={}", stage.topic);
    let lost = || meters::count("keylane_records_lost_total", &[&label]);
    stage.until_known().await;
    let partition = stage.poller.feeds.first().unwrap().partition.clone();
    stage.poller.changes.push(Change::Revoked { partitions: vec![partition.clone()], lost: false });
    stage.see_to_trouble();
    assert!(stage.poller.feeds.is_empty(), "the partition is given up");
    assert_eq!(lost(), 0, "nothing was passed");
    stage.poller.waiting.insert(partition);
    stage.until_known().await;
    stage.see_to_trouble();
    stage
        .until("what is left", |stage| {
            stage.turn();
            progress(stage) == 10
        })
        .await;
    assert_eq!(lost(), 4);
}

/// The client takes no seek of a partition whose position the broker has refused: the word of that has to be
/// heard although the position is still to be checked.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_refused_before_it_was_checked_is_seen_to() {
    let mut stage = Stage::new("refused", Lost::GoOn).await;
    stage.until_refused().await;
    stage.until_known().await;
    stage.see_to_trouble();
    stage
        .until("what is left", |stage| {
            stage.turn();
            stage.see_to_trouble();
            progress(stage) == 10
        })
        .await;
}

fn progress(stage: &Stage) -> i64 {
    stage.poller.feeds.first().unwrap().inbox.progress().offset
}

#[test]
fn a_position_is_judged_by_where_the_log_begins_and_ends() {
    assert_eq!(find(5, false, (8, 20)), Finding::Lost(Loss { from: 5, to: 8 }));
    assert_eq!(find(21, false, (8, 20)), Finding::Cut { high: 20 });
    for position in [8, 14, 20] {
        assert_eq!(find(position, false, (8, 20)), Finding::Sound, "{position}");
        let cut = Finding::Cut { high: 20 };
        assert_eq!(find(position, true, (8, 20)), cut, "written on since: {position}");
    }
}

/// What stands in the host's tables is nobody's to edit.
#[test]
fn beside_a_database_a_command_mends_it() {
    assert!(MEND_BESIDE_DATABASE.contains("`keylane replay`"), "{MEND_BESIDE_DATABASE}");
    assert!(MEND.contains("--reset-offsets"), "{MEND}");
}

proptest! {
    /// Whatever a broker answers, nothing is read on from outside of what it tells, nothing is passed
    /// that is not counted, and a log that was cut is never gone on with.
    #[test]
    fn every_answer_is_judged(position in 0_i64.., is_cut: bool, low: i64, high: i64) {
        match find(position, is_cut, (low, high)) {
            Finding::Sound => prop_assert!(!is_cut && low <= position && position <= high),
            Finding::Cut { high: told } => {
                prop_assert!(told == high && (is_cut || position > high));
            }
            Finding::Lost(loss) => {
                prop_assert!(!is_cut && position < low && loss.to == low);
                prop_assert_eq!(i128::from(loss.records()), i128::from(low) - i128::from(position));
            }
        }
    }
}
