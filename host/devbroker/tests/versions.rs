//! Every request in every version that is advertised gets an answer that can be decoded.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_test_support::RawClient;

fn text(s: &'static str) -> StrBytes {
    StrBytes::from_static_str(s)
}

/// Sends `request` in every version, each on a fresh connection, and hands every answer to `look`.
fn in_all_versions<R: Request>(
    versions: &ApiVersionsResponse,
    bootstrap: &str,
    request: impl Fn(i16) -> R,
    look: impl Fn(i16, R::Response),
) {
    let range = versions.api_keys.iter().find(|api| api.api_key == R::KEY).unwrap();
    for version in range.min_version..=range.max_version {
        let answer = RawClient::connect(bootstrap).unwrap().call(version, &request(version));
        look(version, answer.unwrap_or_else(|e| panic!("key {} version {version}: {e:#}", R::KEY)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_advertised_version_is_answered() {
    let broker = Broker::start(BrokerOptions::default()).await.unwrap();
    let bootstrap = broker.bootstrap();
    let ask = move || {
        let versions =
            RawClient::connect(&bootstrap).unwrap().call(3, &ApiVersionsRequest::default()).unwrap();
        assert_eq!(versions.api_keys.len(), 26);
        topics(&versions, &bootstrap);
        changes(&versions, &bootstrap);
        records(&versions, &bootstrap);
        membership(&versions, &bootstrap);
        offsets(&versions, &bootstrap);
        transactions(&versions, &bootstrap);
    };
    tokio::task::spawn_blocking(ask).await.unwrap();
    broker.stop().await;
}

fn topics(versions: &ApiVersionsResponse, bootstrap: &str) {
    let topic = |v: i16| {
        create_topics_request::CreatableTopic::default()
            .with_name(text(["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"][v as usize]).into())
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let create = |v| CreateTopicsRequest::default().with_topics(vec![topic(v)]).with_timeout_ms(1000);
    in_all_versions(versions, bootstrap, create, |v, answer| {
        assert_eq!(answer.topics[0].error_code, 0, "{v}");
        assert_eq!(answer.topics[0].topic_id.is_nil(), v < 7);
    });
    let named = || metadata_request::MetadataRequestTopic::default().with_name(Some(text("t2").into()));
    let metadata = |_| MetadataRequest::default().with_topics(Some(vec![named()]));
    in_all_versions(versions, bootstrap, metadata, |_, answer| {
        assert_eq!(answer.topics[0].error_code, 0);
        assert_eq!(answer.topics[0].partitions.len(), 1);
        assert_eq!(answer.brokers[0].host.as_str(), "127.0.0.1");
    });
    let resource = || {
        describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t2"))
            .with_configuration_keys(None)
    };
    let describe = |_| DescribeConfigsRequest::default().with_resources(vec![resource()]);
    in_all_versions(versions, bootstrap, describe, |_, answer| assert!(answer.results[0].configs.len() > 10));
    let grow = |v: i16| {
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(text("t2").into())
            .with_count(i32::from(v) + 2)
            .with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, grow, |_, answer| assert_eq!(answer.results[0].error_code, 0));
    let delete = |v| {
        let request = DeleteTopicsRequest::default();
        if v < 6 {
            return request.with_topic_names(vec![text("none").into()]);
        }
        let topic = delete_topics_request::DeleteTopicState::default().with_name(Some(text("none").into()));
        request.with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, delete, |_, answer| assert_eq!(answer.responses[0].error_code, 3));
}

fn changes(versions: &ApiVersionsResponse, bootstrap: &str) {
    let delete = |_| {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(text("t2").into())
            .with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, delete, |_, answer| {
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), (0, 0), "it is empty");
    });
    let alter = |_| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t2"))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    in_all_versions(versions, bootstrap, alter, |_, answer| assert_eq!(answer.responses[0].error_code, 0));
}

fn records(versions: &ApiVersionsResponse, bootstrap: &str) {
    in_all_versions(
        versions,
        bootstrap,
        |_| ApiVersionsRequest::default(),
        |_, answer| {
            assert_eq!(answer.error_code, 0);
        },
    );
    let ask_id =
        |_| InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1);
    in_all_versions(versions, bootstrap, ask_id, |v, answer| assert_eq!(answer.producer_id.0, i64::from(v)));
    let produce = |_| {
        let data = produce_request::PartitionProduceData::default().with_records(Some(vec![0; 61].into()));
        let topic = produce_request::TopicProduceData::default()
            .with_name(text("t2").into())
            .with_partition_data(vec![data]);
        ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
    };
    in_all_versions(versions, bootstrap, produce, |_, answer| {
        assert_ne!(answer.responses[0].partition_responses[0].error_code, 0, "61 zeros are not a batch");
    });
    let list = |_| {
        let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(text("t2").into())
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, list, |_, answer| {
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    });
    let fetch = |v| {
        let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1);
        let topic = fetch_request::FetchTopic::default().with_partitions(vec![partition]);
        let topic = if v < 13 { topic.with_topic(text("t2").into()) } else { topic };
        FetchRequest::default().with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, fetch, |v, answer| {
        let expected = if v < 13 { 0 } else { 100 };
        assert_eq!(answer.responses[0].partitions[0].error_code, expected, "{v}");
    });
}

fn membership(versions: &ApiVersionsResponse, bootstrap: &str) {
    let find = |_| FindCoordinatorRequest::default().with_key(text("g"));
    in_all_versions(versions, bootstrap, find, |_, answer| assert_eq!(answer.error_code, 0));
    let join = |_| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        JoinGroupRequest::default()
            .with_group_id(text("j").into())
            .with_session_timeout_ms(6000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    };
    // Old versions join at once, and each of them starts a rebalance with one more member.
    let joined = RawClient::connect(bootstrap).unwrap().call(0, &join(0)).unwrap();
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let told = RawClient::connect(bootstrap).unwrap().call(7, &join(7)).unwrap();
    assert_eq!(told.error_code, 79);
    let unknown = 25;
    in_all_versions(
        versions,
        bootstrap,
        |_| join(0).with_member_id(text("x")),
        |_, answer| {
            assert_eq!(answer.error_code, unknown);
        },
    );
    let sync = |_| SyncGroupRequest::default().with_group_id(text("g").into());
    in_all_versions(versions, bootstrap, sync, |_, answer| assert_eq!(answer.error_code, unknown));
    let beat = |_| HeartbeatRequest::default().with_group_id(text("g").into());
    in_all_versions(versions, bootstrap, beat, |_, answer| assert_eq!(answer.error_code, unknown));
    let leave = |v| {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text("x"));
        let request = LeaveGroupRequest::default().with_group_id(text("g").into());
        if v < 3 { request.with_member_id(text("x")) } else { request.with_members(vec![member]) }
    };
    in_all_versions(versions, bootstrap, leave, |v, answer| {
        let error = if v < 3 { answer.error_code } else { answer.members[0].error_code };
        assert_eq!(error, unknown);
    });
}

fn offsets(versions: &ApiVersionsResponse, bootstrap: &str) {
    let commit = |_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(5)
            .with_committed_metadata(Some(text("m")));
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(text("t2").into())
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(text("g").into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, commit, |_, answer| {
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    });
    let fetch = |v| {
        let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(text("t2").into())
            .with_partition_indexes(vec![0]);
        let topics = if v < 2 { Some(vec![topic]) } else { None };
        OffsetFetchRequest::default().with_group_id(text("g").into()).with_topics(topics)
    };
    in_all_versions(versions, bootstrap, fetch, |_, answer| {
        assert_eq!(answer.topics[0].partitions[0].committed_offset, 5);
        assert_eq!(answer.topics[0].partitions[0].metadata.as_deref(), Some("m"));
    });
    in_all_versions(
        versions,
        bootstrap,
        |_| ListGroupsRequest::default(),
        |_, answer| {
            assert!(answer.groups.iter().any(|g| g.group_id.as_str() == "g"));
        },
    );
    let describe = |_| DescribeGroupsRequest::default().with_groups(vec![text("g").into()]);
    in_all_versions(versions, bootstrap, describe, |_, answer| {
        assert_eq!(answer.groups[0].group_state.as_str(), "Empty");
    });
    let delete = |_| DeleteGroupsRequest::default().with_groups_names(vec![text("none").into()]);
    in_all_versions(versions, bootstrap, delete, |_, answer| assert_eq!(answer.results[0].error_code, 69));
}

fn transactions(versions: &ApiVersionsResponse, bootstrap: &str) {
    let id = || text("txn");
    let init = |_| {
        InitProducerIdRequest::default()
            .with_transactional_id(Some(id().into()))
            .with_transaction_timeout_ms(1000)
    };
    let given = RawClient::connect(bootstrap).unwrap().call(4, &init(4)).unwrap();
    assert_eq!((given.error_code, given.producer_epoch), (0, 0));
    let add = |_| {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(text("t2").into())
            .with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id().into())
            .with_v3_and_below_producer_id(given.producer_id)
            .with_v3_and_below_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, add, |_, answer| {
        assert_eq!(answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
    });
    let add_group = |_| {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(id().into())
            .with_producer_id(given.producer_id)
            .with_group_id(text("txn-group").into())
    };
    in_all_versions(versions, bootstrap, add_group, |_, answer| assert_eq!(answer.error_code, 0));
    let commit = |_| {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(1)
            .with_committed_metadata(Some(text("m")));
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(text("t2").into())
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id().into())
            .with_group_id(text("txn-group").into())
            .with_producer_id(given.producer_id)
            .with_topics(vec![topic])
    };
    in_all_versions(versions, bootstrap, commit, |_, answer| {
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    });
    let end = |_| {
        EndTxnRequest::default()
            .with_transactional_id(id().into())
            .with_producer_id(given.producer_id)
            .with_committed(true)
    };
    in_all_versions(versions, bootstrap, end, |_, answer| assert_eq!(answer.error_code, 0));
}
