//! Whatever bytes come in, the broker lives: the connection ends, others are answered as before.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use keylane_devbroker::{Broker, BrokerOptions, Limits};
use keylane_test_support::{RawClient, raw_batch};
use proptest::prelude::*;

/// One broker for all cases of this binary, on a runtime of its own. It ends with the process.
fn bootstrap() -> &'static str {
    static BROKER: OnceLock<(tokio::runtime::Runtime, Broker, String)> = OnceLock::new();
    let (_, _, address) = BROKER.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let limits = Limits { topics: 20, partitions: 50, groups: 20, connections: 50, ..Limits::default() };
        let options = BrokerOptions { limits, ..BrokerOptions::default() };
        let broker = runtime.block_on(Broker::start(options)).unwrap();
        let address = broker.bootstrap();
        (runtime, broker, address)
    });
    address
}

/// Sends raw bytes and waits until the broker has answered or closed.
fn throw(bytes: &[u8]) {
    let mut stream = TcpStream::connect(bootstrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The broker may close before all is written; that is a fine answer.
    let _closed_early = stream.write_all(bytes);
    let _closed_early = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
}

fn is_alive() {
    let answer = RawClient::connect(bootstrap()).unwrap().call(3, &ApiVersionsRequest::default()).unwrap();
    assert_eq!(answer.error_code, 0);
}

/// A frame with a good header and any body.
fn frame(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let flexible = version % 2 == 1; // whether the header has tags is part of what is tried
    let mut rest = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(key).with_request_api_version(version);
    header.encode(&mut rest, if flexible { 2 } else { 1 }).unwrap();
    rest.put_slice(body);
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(rest.len()).unwrap());
    frame.put_slice(&rest);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        throw(&bytes);
        is_alive();
    }

    #[test]
    fn random_bodies_behind_good_headers(
        key in 0_i16..70,
        version in 0_i16..15,
        body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xff), any::<u8>()], 0..200),
    ) {
        // Fetch and JoinGroup may wait for as long as random bytes say.
        prop_assume!(key != 1 && key != 11);
        throw(&frame(key, version, &body));
        is_alive();
    }
}

/// Requests that would be taken, each behind its header, with the first byte that may be spoilt.
fn good_frames() -> Vec<(BytesMut, usize)> {
    fn whole<R: Request>(version: i16, body: &R) -> BytesMut {
        let mut rest = BytesMut::new();
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        header.encode(&mut rest, R::header_version(version)).unwrap();
        body.encode(&mut rest, version).unwrap();
        rest
    }
    let text = StrBytes::from_static_str;
    let records = raw_batch(&["a", "b"], None).unwrap();
    let data = produce_request::PartitionProduceData::default().with_records(Some(records));
    let produced = produce_request::TopicProduceData::default()
        .with_name(text("p").into())
        .with_partition_data(vec![data]);
    let committed = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_metadata(Some(text("some metadata")));
    let committed = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(text("p").into())
        .with_partitions(vec![committed]);
    let setting = create_topics_request::CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("5")));
    let created = create_topics_request::CreatableTopic::default()
        .with_name(text("p").into())
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![setting]);
    let deleted = delete_records_request::DeleteRecordsPartition::default();
    let deleted = delete_records_request::DeleteRecordsTopic::default()
        .with_name(text("p").into())
        .with_partitions(vec![deleted]);
    let fetched = fetch_request::FetchPartition::default().with_partition_max_bytes(100);
    let fetched =
        fetch_request::FetchTopic::default().with_topic(text("p").into()).with_partitions(vec![fetched]);
    let produce = ProduceRequest::default().with_acks(-1).with_topic_data(vec![produced]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(text("g").into())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![committed]);
    let create = CreateTopicsRequest::default().with_topics(vec![created]);
    let delete = DeleteRecordsRequest::default().with_topics(vec![deleted]);
    let fetch = FetchRequest::default().with_max_bytes(100).with_topics(vec![fetched]);
    // The longest wait and the least bytes of a fetch are left alone, or it would wait for as long as they say.
    let fetch_starts = whole(12, &FetchRequest::default()).len() - 8;
    vec![
        (whole(9, &produce), 8),
        (whole(3, &produce), 8),
        (whole(2, &commit), 8),
        (whole(8, &commit), 8),
        (whole(7, &create), 8),
        (whole(2, &delete), 8),
        (whole(12, &fetch), fetch_starts),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn good_requests_spoilt_in_places(
        which in any::<prop::sample::Index>(),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let frames = good_frames();
        let (mut frame, from) = frames[which.index(frames.len())].clone();
        for (at, byte) in spoilt {
            let at = from + at.index(frame.len() - from);
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(from + cut.index(frame.len() - from));
        }
        let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
        throw(&[&length[..], &frame].concat());
        is_alive();
    }
}

#[test]
fn lengths_that_are_only_claimed() {
    for claimed in [i32::MAX, i32::MIN, -1, 0, 9, 16 << 20] {
        throw(&claimed.to_be_bytes());
    }
    for (version, body) in [(0, vec![0x7f, 0xff, 0xff, 0xff]), (2, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0])] {
        let mut rest = BytesMut::new();
        let header = RequestHeader::default().with_request_api_key(42).with_request_api_version(version);
        header.encode(&mut rest, if version >= 2 { 2 } else { 1 }).unwrap();
        rest.put_slice(&body);
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(rest.len()).unwrap());
        frame.put_slice(&rest);
        throw(&frame);
    }
    is_alive();
}

#[test]
fn too_many_elements_and_too_large_a_frame_close_only_their_connection() {
    let groups = vec![StrBytes::from_static_str("").into(); 200_000];
    let mut client = RawClient::connect(bootstrap()).unwrap();
    assert!(client.call(0, &DeleteGroupsRequest::default().with_groups_names(groups)).is_err());
    let mut client = RawClient::connect(bootstrap()).unwrap();
    let large = [vec![0, 3, 0, 0], vec![0; 2 << 20]].concat(); // a metadata request of 2 MiB
    assert!(client.send(&large).is_err() || client.receive().is_err());
    is_alive();
    let mut client = RawClient::connect(bootstrap()).unwrap();
    assert!(client.call(1, &MetadataRequest::default().with_topics(None)).is_ok());
}

#[test]
fn an_unknown_version_of_api_versions_is_answered() {
    let mut client = RawClient::connect(bootstrap()).unwrap();
    client.send(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'k', 0]).unwrap();
    let answer = client.receive().unwrap();
    assert_eq!(answer[..6], [0, 0, 0, 7, 0, 35], "correlation id, then UNSUPPORTED_VERSION");
}
