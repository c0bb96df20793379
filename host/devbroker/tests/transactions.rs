//! What is kept of transactions over a crash at any moment, and what a start does about half ended ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod requests;
mod txn;

use std::path::Path;
use std::time::Duration;

use keylane_devbroker::{Broker, BrokerOptions, Limits};
use keylane_test_support::waiting::until;
use requests::{commit, committed, create, end_offset, in_folder, log_of_partition_0, with_client};
use txn::{Txn, aborted, stable_offset};

const LONG: Duration = Duration::from_secs(60);

/// What a killed broker leaves: the files as the system has them, at a moment between two requests.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_goes_on_after_a_crash() {
    let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let txn = with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        assert_eq!((txn.add_group(client), txn.commit(client, 5)), (0, 0));
        txn
    })
    .await;
    copy(folder.path(), left.path());
    broker.stop().await;
    let broker = Broker::start(in_folder(left.path())).await.unwrap();
    with_client(&broker, move |client| {
        assert_eq!((end_offset(client), stable_offset(client)), (1, 0));
        assert_eq!(committed(client).0, -1);
        assert_eq!(txn.produce(client, "a", 0), (0, 0), "sent again, stored once");
        assert_eq!(txn.produce(client, "b", 1), (0, 1), "without being added again");
        assert_eq!((txn.end(client, true), txn.end(client, true)), (0, 0));
        assert_eq!((end_offset(client), stable_offset(client)), (3, 3));
        assert_eq!(committed(client), (5, "m".to_owned()));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_offsets_the_later_one_holds_over_starts() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let (before, after) = with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let (before, after) = (Txn::begin(client, "x", 60_000), Txn::begin(client, "y", 60_000));
        assert_eq!((before.add_group(client), before.commit(client, 5)), (0, 0));
        assert_eq!(commit(client, 9, "plain"), 0);
        assert_eq!((after.add_group(client), after.commit(client, 7)), (0, 0));
        (before, after)
    })
    .await;
    broker.stop().await;
    // Each start writes the journal anew.
    Broker::start(in_folder(folder.path())).await.unwrap().stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, move |client| {
        assert_eq!((before.end(client, true), committed(client)), (0, (9, "plain".to_owned())));
        assert_eq!((after.end(client, true), committed(client)), (0, (7, "m".to_owned())));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_is_aborted_when_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let txn = with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let txn = Txn::begin(client, "x", 300);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        assert_eq!((txn.add_group(client), txn.commit(client, 5)), (0, 0));
        txn
    })
    .await;
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, move |client| {
        // Whether the time was up before the stop or after the start, nobody ends it but the broker.
        until("the broker's abort", LONG, || Ok((stable_offset(client) == 2).then_some(()))).unwrap();
        assert_eq!((txn.end(client, true), committed(client).0), (90, -1));
        assert_eq!(txn.produce(client, "b", 1).0, 47);
        assert_eq!(aborted(client), vec![0]);
    })
    .await;
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    assert_eq!(with_client(&broker, aborted).await, vec![0], "it is known after another start");
    broker.stop().await;
}

/// The folder of a broker with one transaction that was ended, and its journal before the end.
async fn ended(folder: &Path, commit: bool) -> Vec<u8> {
    let broker = Broker::start(in_folder(folder)).await.unwrap();
    let journal = folder.join("offsets.journal");
    let before = with_client(&broker, move |client| {
        assert_eq!(create(client), 0);
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        assert_eq!((txn.add_group(client), txn.commit(client, 5)), (0, 0));
        let before = std::fs::read(journal).unwrap();
        assert_eq!(txn.end(client, commit), 0);
        before
    })
    .await;
    broker.stop().await;
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_cut_anywhere_is_whole_or_nothing() {
    for commit in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let before = ended(folder.path(), commit).await;
        let journal = std::fs::read(folder.path().join("offsets.journal")).unwrap();
        let log = std::fs::read(log_of_partition_0(folder.path())).unwrap();
        let data = log.len() - 78;
        // The end is written to the journal, then the marker to the log.
        let in_journal = (before.len()..journal.len()).map(|cut| (cut, data));
        let in_log = (data..=log.len()).map(|cut| (journal.len(), cut));
        for (journal_bytes, log_bytes) in in_journal.step_by(7).chain(in_log.step_by(13)) {
            let left = tempfile::tempdir().unwrap();
            copy(folder.path(), left.path());
            std::fs::write(left.path().join("offsets.journal"), &journal[..journal_bytes]).unwrap();
            std::fs::write(log_of_partition_0(left.path()), &log[..log_bytes]).unwrap();
            let has_ended = journal_bytes == journal.len();
            for _start in 0..2 {
                let broker = Broker::start(in_folder(left.path())).await.unwrap();
                with_client(&broker, move |client| {
                    let at = format!("commit {commit}, cut at {journal_bytes} and {log_bytes}");
                    let expected = if has_ended { (2, 2) } else { (1, 0) };
                    assert_eq!((end_offset(client), stable_offset(client)), expected, "{at}");
                    let offset = if has_ended && commit { 5 } else { -1 };
                    assert_eq!(committed(client).0, offset, "{at}");
                    assert_eq!(aborted(client).len(), usize::from(has_ended && !commit), "{at}");
                })
                .await;
                broker.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_end_is_aborted_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let journal = folder.path().join("offsets.journal");
    let before = with_client(&broker, move |client| {
        assert_eq!(create(client), 0);
        let before = std::fs::read(&journal).unwrap();
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        before
    })
    .await;
    broker.stop().await;
    // A loss of power took the journal's last seconds and not the log's.
    std::fs::write(folder.path().join("offsets.journal"), before).unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!((end_offset(client), stable_offset(client), aborted(client)), (2, 2, vec![0]));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_partition_still_takes_the_end_of_a_transaction() {
    let limits = Limits { partition_bytes: 100, ..Limits::default() };
    let broker = Broker::start(BrokerOptions { limits, ..BrokerOptions::default() }).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        assert_eq!(txn.produce(client, "b", 1).0, 44);
        assert_eq!((txn.end(client, false), stable_offset(client)), (0, 2));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_a_transaction_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.produce(client, "a", 0)), (0, (0, 0)));
        assert_eq!((txn.add_group(client), txn.commit(client, 5)), (0, 0));
        txn::delete_topic(client);
        assert_eq!(create(client), 0);
        assert_eq!(txn.produce(client, "b", 1).0, 48, "another topic of the same name is not in it");
        assert_eq!((txn.end(client, true), txn.add(client, 0)), (0, 0));
        assert_eq!((end_offset(client), committed(client).0), (0, -1));
    })
    .await;
    broker.stop().await;
    Broker::start(in_folder(folder.path())).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_cannot_be_written_is_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let data = folder.path().to_owned();
    with_client(&broker, move |client| {
        assert_eq!(create(client), 0);
        let log = log_of_partition_0(&data);
        std::fs::create_dir(&log).unwrap();
        let txn = Txn::begin(client, "x", 60_000);
        assert_eq!((txn.add(client, 0), txn.add(client, 1)), (0, 0));
        assert_eq!(txn.produce_to(client, 1, "a", 0), (0, 0));
        assert_eq!(txn.end(client, true), 0, "it has ended, whatever the disk does now");
        assert_eq!(txn::fetch(client, 1).last_stable_offset, 2);
        assert_eq!((txn.add(client, 0), txn.end(client, true), txn.end(client, false)), (51, 51, 48));
        std::fs::remove_dir(&log).unwrap();
        until("the marker", LONG, || Ok((txn.add(client, 1) == 0).then_some(()))).unwrap();
        assert_eq!((end_offset(client), stable_offset(client)), (1, 1));
    })
    .await;
    broker.stop().await;
}
