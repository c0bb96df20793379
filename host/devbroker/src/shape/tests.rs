//! The table of shapes against the codec: what the codec writes, the walk must read to the end.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn text(s: &'static str) -> StrBytes {
    StrBytes::from_static_str(s)
}

/// Encodes `request` in every version and walks it.
fn walks<T: Encodable>(key: ApiKey, request: impl Fn(i16) -> T) {
    let versions: Vec<i16> = SHAPES.iter().filter(|s| s.key == key).flat_map(|s| s.min..=s.max).collect();
    assert!(!versions.is_empty(), "{key:?} has no shape");
    for version in versions {
        let mut body = BytesMut::new();
        request(version).encode(&mut body, version).unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
        let shape = find(key, version).unwrap();
        let walked = shape.check(version, &body, 100).map(|walked| walked.left_over);
        assert_eq!(walked, Ok(0), "{key:?} version {version}");
        for cut in 0..body.len() {
            // A body that ends early never fits, unless the cut fell on optional nothing.
            assert!(shape.check(version, &body[..cut], 100).is_err(), "{key:?} {version} cut at {cut}");
        }
    }
}

#[test]
fn records_and_offsets() {
    walks(ApiKey::Produce, |_| {
        let data = produce_request::PartitionProduceData::default().with_records(Some(vec![1; 200].into()));
        let topic = produce_request::TopicProduceData::default()
            .with_name(text("t").into())
            .with_partition_data(vec![data.clone(), data]);
        ProduceRequest::default().with_topic_data(vec![topic])
    });
    walks(ApiKey::Fetch, |version| {
        let mut topic = fetch_request::FetchTopic::default()
            .with_partitions(vec![fetch_request::FetchPartition::default()]);
        let mut forgotten = fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
        if version < 13 {
            topic.topic = text("t").into();
            forgotten.topic = text("u").into();
        } else {
            topic.topic_id = Uuid::from_u128(1);
            forgotten.topic_id = Uuid::from_u128(2);
        }
        let request = FetchRequest::default().with_topics(vec![topic]).with_rack_id(text("r"));
        if version < 7 { request } else { request.with_forgotten_topics_data(vec![forgotten]) }
    });
    walks(ApiKey::ListOffsets, |_| {
        let partition = list_offsets_request::ListOffsetsPartition::default();
        let topic = list_offsets_request::ListOffsetsTopic::default().with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    });
    walks(ApiKey::OffsetCommit, |_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_metadata(Some(text("m")));
        let topic =
            offset_commit_request::OffsetCommitRequestTopic::default().with_partitions(vec![partition]);
        OffsetCommitRequest::default().with_group_id(text("g").into()).with_topics(vec![topic])
    });
    walks(ApiKey::OffsetFetch, |_| {
        let topic =
            offset_fetch_request::OffsetFetchRequestTopic::default().with_partition_indexes(vec![1, 2]);
        OffsetFetchRequest::default().with_group_id(text("g").into()).with_topics(Some(vec![topic]))
    });
    walks(ApiKey::InitProducerId, |_| InitProducerIdRequest::default());
    walks(ApiKey::ApiVersions, |_| ApiVersionsRequest::default());
}

#[test]
fn transactions() {
    walks(ApiKey::InitProducerId, |_| {
        InitProducerIdRequest::default().with_transactional_id(Some(text("t").into()))
    });
    walks(ApiKey::AddPartitionsToTxn, |_| {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(text("t").into())
            .with_partitions(vec![0, 1]);
        AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![topic.clone(), topic])
    });
    walks(ApiKey::AddOffsetsToTxn, |_| AddOffsetsToTxnRequest::default().with_group_id(text("g").into()));
    walks(ApiKey::EndTxn, |_| EndTxnRequest::default().with_committed(true));
    walks(ApiKey::TxnOffsetCommit, |version| {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_committed_metadata(Some(text("m")));
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_partitions(vec![partition.clone(), partition]);
        let request = TxnOffsetCommitRequest::default().with_topics(vec![topic]);
        if version >= 3 { request.with_member_id(text("m")).with_generation_id(1) } else { request }
    });
}

#[test]
fn topics() {
    walks(ApiKey::Metadata, |_| {
        let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(text("t").into()));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    });
    walks(ApiKey::CreateTopics, |_| {
        let assignment = create_topics_request::CreatableReplicaAssignment::default()
            .with_broker_ids(vec![1.into(), 2.into()]);
        let config = create_topics_request::CreatableTopicConfig::default().with_name(text("c"));
        let topic = create_topics_request::CreatableTopic::default()
            .with_assignments(vec![assignment])
            .with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic])
    });
    walks(ApiKey::DeleteTopics, |version| {
        let topic = delete_topics_request::DeleteTopicState::default().with_name(Some(text("t").into()));
        let request = DeleteTopicsRequest::default();
        if version < 6 {
            request.with_topic_names(vec![text("t").into()])
        } else {
            request.with_topics(vec![topic])
        }
    });
    walks(ApiKey::CreatePartitions, |_| {
        let assignment =
            create_partitions_request::CreatePartitionsAssignment::default().with_broker_ids(vec![1.into()]);
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_assignments(Some(vec![assignment]));
        CreatePartitionsRequest::default().with_topics(vec![topic])
    });
    walks(ApiKey::DeleteRecords, |_| {
        let partition = delete_records_request::DeleteRecordsPartition::default();
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(text("t").into())
            .with_partitions(vec![partition.clone(), partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    });
    walks(ApiKey::IncrementalAlterConfigs, |_| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("c"))
            .with_value(Some(text("v")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    });
    walks(ApiKey::DescribeConfigs, |_| {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_configuration_keys(Some(vec![text("k")]));
        DescribeConfigsRequest::default().with_resources(vec![resource])
    });
}

#[test]
fn groups() {
    walks(ApiKey::FindCoordinator, |_| FindCoordinatorRequest::default().with_key(text("g")));
    walks(ApiKey::JoinGroup, |_| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(vec![1, 2, 3].into());
        JoinGroupRequest::default().with_protocols(vec![protocol])
    });
    walks(ApiKey::SyncGroup, |_| {
        let assignment =
            sync_group_request::SyncGroupRequestAssignment::default().with_assignment(vec![1, 2].into());
        SyncGroupRequest::default().with_assignments(vec![assignment])
    });
    walks(ApiKey::Heartbeat, |_| HeartbeatRequest::default().with_member_id(text("m")));
    walks(ApiKey::LeaveGroup, |version| {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text("m"));
        let request = LeaveGroupRequest::default();
        if version < 3 { request.with_member_id(text("m")) } else { request.with_members(vec![member]) }
    });
    walks(ApiKey::ListGroups, |version| {
        let request = ListGroupsRequest::default();
        let request = if version >= 4 { request.with_states_filter(vec![text("Stable")]) } else { request };
        if version >= 5 { request.with_types_filter(vec![text("classic")]) } else { request }
    });
    walks(ApiKey::DescribeGroups, |_| DescribeGroupsRequest::default().with_groups(vec![text("g").into()]));
    walks(ApiKey::DeleteGroups, |_| DeleteGroupsRequest::default().with_groups_names(vec![text("g").into()]));
}

#[test]
fn a_claimed_length_costs_nothing() {
    // DeleteGroups version 0: an array of 2^31 - 1 names.
    let shape = find(ApiKey::DeleteGroups, 0).unwrap();
    assert_eq!(shape.check(0, &i32::MAX.to_be_bytes(), 100), Err(Misfit::Elements));
    // Version 2, variable length: about 2^32 names.
    let shape = find(ApiKey::DeleteGroups, 2).unwrap();
    assert_eq!(shape.check(2, &[0xff, 0xff, 0xff, 0xff, 0x0f], 100), Err(Misfit::Elements));
    assert_eq!(shape.check(2, &[0xff; 12], 100), Err(Misfit::Length));
}

/// A commit whose metadata is these bytes, whatever they are.
fn commit(version: i16, metadata: &[u8]) -> Bytes {
    const MARK: &str = "MARK";
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(7)
        .with_committed_metadata(Some(text(MARK)));
    let topic = offset_commit_request::OffsetCommitRequestTopic::default().with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default().with_group_id(text("g").into()).with_topics(vec![topic]);
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    let at = body.windows(MARK.len()).position(|window| window == MARK.as_bytes()).unwrap();
    let (before, after) = (body[..at].to_vec(), body[at + MARK.len()..].to_vec());
    let mut whole = before;
    *whole.last_mut().unwrap() = u8::try_from(metadata.len()).unwrap() + u8::from(version >= 8);
    [&whole[..], metadata, &after].concat().into()
}

/// Gives a body to the codec, which may take it or refuse it.
fn decode(key: ApiKey, body: &mut Bytes, version: i16) {
    macro_rules! by_key {
        ($($api:ident => $request:ident),* $(,)?) => {
            match key {
                $(ApiKey::$api => drop($request::decode(body, version)),)*
                other => panic!("{other:?} has a shape and is not tried here"),
            }
        };
    }
    by_key! {
        Produce => ProduceRequest, Fetch => FetchRequest, ListOffsets => ListOffsetsRequest,
        Metadata => MetadataRequest, OffsetCommit => OffsetCommitRequest, OffsetFetch => OffsetFetchRequest,
        FindCoordinator => FindCoordinatorRequest, JoinGroup => JoinGroupRequest,
        Heartbeat => HeartbeatRequest, LeaveGroup => LeaveGroupRequest, SyncGroup => SyncGroupRequest,
        DescribeGroups => DescribeGroupsRequest, ListGroups => ListGroupsRequest,
        ApiVersions => ApiVersionsRequest, CreateTopics => CreateTopicsRequest,
        DeleteTopics => DeleteTopicsRequest, InitProducerId => InitProducerIdRequest,
        DescribeConfigs => DescribeConfigsRequest, CreatePartitions => CreatePartitionsRequest,
        DeleteGroups => DeleteGroupsRequest, DeleteRecords => DeleteRecordsRequest,
        IncrementalAlterConfigs => IncrementalAlterConfigsRequest,
        AddPartitionsToTxn => AddPartitionsToTxnRequest, AddOffsetsToTxn => AddOffsetsToTxnRequest,
        TxnOffsetCommit => TxnOffsetCommitRequest, EndTxn => EndTxnRequest,
    }
}

proptest! {
    #[test]
    fn metadata_of_any_bytes_is_read(metadata in prop::collection::vec(any::<u8>(), 0..100), version in 2_i16..9) {
        let body = commit(version, &metadata);
        let shape = find(ApiKey::OffsetCommit, version).unwrap();
        let walked = shape.check(version, &body, 100).unwrap();
        let mut readable = shape.readable(version, body, &walked).unwrap();
        let read = OffsetCommitRequest::decode(&mut readable, version).unwrap();
        let partition = &read.topics[0].partitions[0];
        prop_assert_eq!(partition.committed_offset, 7);
        let read = partition.committed_metadata.as_deref().unwrap();
        prop_assert_eq!(read.contains('\u{fffd}'), std::str::from_utf8(&metadata).is_err());
        prop_assert!(readable.is_empty());
    }

    /// What has passed the walk, the codec takes or refuses; it never panics, and there are never more
    /// elements than were counted.
    #[test]
    fn what_passes_the_walk_can_be_given_to_the_codec(
        which in any::<prop::sample::Index>(),
        body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(3), any::<u8>()], 0..150),
    ) {
        let shape = &SHAPES[which.index(SHAPES.len())];
        for version in shape.min..=shape.max {
            let body = Bytes::from(body.clone());
            let Ok(walked) = shape.check(version, &body, 100) else { continue };
            let Ok(mut readable) = shape.readable(version, body, &walked) else { continue };
            decode(shape.key, &mut readable, version);
        }
    }
}
