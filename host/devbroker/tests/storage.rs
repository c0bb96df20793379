//! What is kept over a restart, what a crash may tear, and what is refused at a limit.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod requests;

use std::path::Path;

use bytes::Bytes;
use kafka_protocol::messages::*;
use keylane_devbroker::{Broker, BrokerError, BrokerOptions, Limits};
use keylane_test_support::{RawProducer, raw_batch};
use requests::{
    commit, committed, create, end_offset, in_folder, log_of_partition_0, produce, text, with_client,
};

/// One batch with these values; `producer` is (id, first sequence).
fn batch(values: &[&str], producer: Option<(i64, i32)>) -> Bytes {
    let producer = producer.map(|(id, first_sequence)| RawProducer { id, epoch: 0, first_sequence });
    raw_batch(values, producer).unwrap()
}

/// A broker with one topic and two batches, ended as by a crash.
async fn two_batches(folder: &Path) {
    let broker = Broker::start(in_folder(folder)).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        assert_eq!(produce(client, batch(&["a", "b"], Some((7, 0)))), (0, 0, None));
        assert_eq!(produce(client, batch(&["c"], Some((7, 2)))), (0, 2, None));
        assert_eq!(commit(client, 2, "v1\ttab\nline"), 0);
        assert_eq!(commit(client, 3, "last"), 0);
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_records_offsets_and_producers_come_back() {
    let folder = tempfile::tempdir().unwrap();
    two_batches(folder.path()).await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 36, "it exists");
        assert_eq!(end_offset(client), 3);
        assert_eq!(committed(client), (3, "last".to_owned()));
        assert_eq!(produce(client, batch(&["c"], Some((7, 2)))), (0, 2, None), "sent again, stored once");
        assert_eq!(end_offset(client), 3);
        assert_eq!(produce(client, batch(&["d"], Some((7, 5)))).0, 45, "a gap in the sequence");
        let given = client.call(4, &InitProducerIdRequest::default().with_transactional_id(None)).unwrap();
        assert_eq!(given.producer_id.0, 0);
    })
    .await;
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        let given = client.call(4, &InitProducerIdRequest::default().with_transactional_id(None)).unwrap();
        assert_eq!(given.producer_id.0, 1000, "an id is never given twice, so a block is skipped");
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_cut_and_written_over() {
    let folder = tempfile::tempdir().unwrap();
    two_batches(folder.path()).await;
    let log = log_of_partition_0(folder.path());
    let whole = std::fs::read(&log).unwrap();
    for torn in [whole.len() - 1, whole.len() - 60] {
        std::fs::write(&log, &whole[..torn]).unwrap();
        let broker = Broker::start(in_folder(folder.path())).await.unwrap();
        with_client(&broker, |client| {
            assert_eq!(end_offset(client), 2, "the first batch stands");
            assert_eq!(produce(client, batch(&["again"], None)), (0, 2, None));
        })
        .await;
        broker.stop().await;
        let broker = Broker::start(in_folder(folder.path())).await.unwrap();
        assert_eq!(with_client(&broker, end_offset).await, 3);
        broker.stop().await;
    }
    let mut damaged = whole;
    damaged[30] ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    let refused = Broker::start(in_folder(folder.path())).await.unwrap_err();
    assert!(matches!(&refused, BrokerError::Damaged { path, at: 0, .. } if *path == log), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_has_one_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let second = Broker::start(in_folder(folder.path())).await.unwrap_err();
    assert!(matches!(second, BrokerError::InUse { .. }) && second.can_retry(), "{second}");
    let port = broker.bootstrap().rsplit(':').next().unwrap().parse().unwrap();
    let taken = Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).await.unwrap_err();
    assert!(matches!(taken, BrokerError::Bind { .. }), "{taken}");
    broker.stop().await;
    Broker::start(in_folder(folder.path())).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_partition_refuses_and_loses_nothing() {
    let one = batch(&[&"x".repeat(1000)], None).len() as u64;
    for limits in [
        Limits { partition_bytes: one * 2, ..Limits::default() },
        Limits { total_bytes: one * 2, ..Limits::default() },
    ] {
        let broker = Broker::start(BrokerOptions { limits, ..BrokerOptions::default() }).await.unwrap();
        with_client(&broker, |client| {
            assert_eq!(create(client), 0);
            let value = "x".repeat(1000);
            assert_eq!(produce(client, batch(&[&value], None)), (0, 0, None));
            assert_eq!(produce(client, batch(&[&value], None)), (0, 1, None));
            let (error, _, message) = produce(client, batch(&[&value], None));
            assert_eq!(error, 44);
            assert!(message.unwrap().contains("full"));
            assert_eq!(end_offset(client), 2);
            let topics = vec![text("t").into()];
            client.call(5, &DeleteTopicsRequest::default().with_topic_names(topics)).unwrap();
            assert_eq!(create(client), 0);
            assert_eq!(produce(client, batch(&[&value], None)), (0, 0, None), "deleting made room");
        })
        .await;
        broker.stop().await;
    }
}
