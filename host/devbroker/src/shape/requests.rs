//! Every request this broker takes, field by field as Kafka's message definitions have them.

use kafka_protocol::messages::ApiKey;

use super::Wire::{Blob, Fixed, List, Row, Text};
use super::{Field, Shape, Wire};

const fn all(wire: Wire) -> Field {
    Field { since: 0, until: i16::MAX, wire }
}
const fn since(since: i16, wire: Wire) -> Field {
    Field { since, until: i16::MAX, wire }
}
const fn until(until: i16, wire: Wire) -> Field {
    Field { since: 0, until, wire }
}
const fn between(since: i16, until: i16, wire: Wire) -> Field {
    Field { since, until, wire }
}

const fn shape(key: ApiKey, min: i16, max: i16, flexible: i16, fields: &'static [Field]) -> Shape {
    Shape { key, min, max, flexible, fields }
}

const FETCH_PARTITION: &[Field] = &[
    all(Fixed(4)),
    since(9, Fixed(4)),
    all(Fixed(8)),
    since(12, Fixed(4)),
    since(5, Fixed(8)),
    all(Fixed(4)),
];
const FETCH: &[Field] = &[
    all(Fixed(4 + 4 + 4 + 4 + 1)),
    since(7, Fixed(4 + 4)),
    all(List(&[until(12, Text), since(13, Fixed(16)), all(List(FETCH_PARTITION))])),
    since(7, List(&[until(12, Text), since(13, Fixed(16)), all(Row(&Fixed(4)))])),
    since(11, Text),
];
const METADATA: &[Field] = &[
    all(List(&[since(10, Fixed(16)), all(Text)])),
    since(4, Fixed(1)),
    between(8, 10, Fixed(1)),
    since(8, Fixed(1)),
];
const OFFSET_COMMIT: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    since(7, Text),
    between(2, 4, Fixed(8)),
    all(List(&[all(Text), all(List(&[all(Fixed(4 + 8)), since(6, Fixed(4)), all(Text)]))])),
];
const JOIN_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    since(1, Fixed(4)),
    all(Text),
    since(5, Text),
    all(Text),
    all(List(&[all(Text), all(Blob)])),
];
const SYNC_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    since(3, Text),
    since(5, Text),
    since(5, Text),
    all(List(&[all(Text), all(Blob)])),
];
const CREATE_TOPIC: &[Field] = &[
    all(Text),
    all(Fixed(4 + 2)),
    all(List(&[all(Fixed(4)), all(Row(&Fixed(4)))])),
    all(List(&[all(Text), all(Text)])),
];
const TXN_OFFSET_COMMIT: &[Field] = &[
    all(Text),
    all(Text),
    all(Fixed(8 + 2)),
    since(3, Fixed(4)),
    since(3, Text),
    since(3, Text),
    all(List(&[all(Text), all(List(&[all(Fixed(4 + 8)), since(2, Fixed(4)), all(Text)]))])),
];
const CREATE_PARTITIONS: &[Field] =
    &[all(List(&[all(Text), all(Fixed(4)), all(List(&[all(Row(&Fixed(4)))]))])), all(Fixed(4 + 1))];

/// Every request this broker takes, with its versions. What is not here closes the connection.
pub(crate) const SHAPES: &[Shape] = &[
    shape(
        ApiKey::Produce,
        3,
        9,
        9,
        &[all(Text), all(Fixed(2 + 4)), all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Blob)]))]))],
    ),
    shape(ApiKey::Fetch, 4, 13, 12, FETCH),
    shape(
        ApiKey::ListOffsets,
        1,
        6,
        6,
        &[
            all(Fixed(4)),
            since(2, Fixed(1)),
            all(List(&[all(Text), all(List(&[all(Fixed(4)), since(4, Fixed(4)), all(Fixed(8))]))])),
        ],
    ),
    shape(ApiKey::Metadata, 0, 12, 9, METADATA),
    shape(ApiKey::OffsetCommit, 2, 8, 8, OFFSET_COMMIT),
    shape(
        ApiKey::OffsetFetch,
        1,
        7,
        6,
        &[all(Text), all(List(&[all(Text), all(Row(&Fixed(4)))])), since(7, Fixed(1))],
    ),
    shape(ApiKey::FindCoordinator, 0, 3, 3, &[all(Text), since(1, Fixed(1))]),
    shape(ApiKey::JoinGroup, 0, 7, 6, JOIN_GROUP),
    shape(ApiKey::Heartbeat, 0, 4, 4, &[all(Text), all(Fixed(4)), all(Text), since(3, Text)]),
    shape(
        ApiKey::LeaveGroup,
        0,
        5,
        4,
        &[all(Text), until(2, Text), since(3, List(&[all(Text), all(Text), since(5, Text)]))],
    ),
    shape(ApiKey::SyncGroup, 0, 5, 4, SYNC_GROUP),
    shape(ApiKey::DescribeGroups, 0, 5, 5, &[all(Row(&Text)), since(3, Fixed(1))]),
    shape(ApiKey::ListGroups, 0, 5, 3, &[since(4, Row(&Text)), since(5, Row(&Text))]),
    shape(ApiKey::ApiVersions, 0, 4, 3, &[since(3, Text), since(3, Text)]),
    shape(ApiKey::CreateTopics, 2, 7, 5, &[all(List(CREATE_TOPIC)), all(Fixed(4 + 1))]),
    shape(
        ApiKey::DeleteTopics,
        1,
        6,
        4,
        &[until(5, Row(&Text)), since(6, List(&[all(Text), all(Fixed(16))])), all(Fixed(4))],
    ),
    shape(ApiKey::InitProducerId, 0, 4, 2, &[all(Text), all(Fixed(4)), since(3, Fixed(8 + 2))]),
    // From version 4 on AddPartitionsToTxn is for brokers, and the others are for transactions in which every
    // end gives the producer another epoch: whoever offers those has to do so.
    shape(
        ApiKey::AddPartitionsToTxn,
        0,
        3,
        3,
        &[all(Text), all(Fixed(8 + 2)), all(List(&[all(Text), all(Row(&Fixed(4)))]))],
    ),
    shape(ApiKey::AddOffsetsToTxn, 0, 3, 3, &[all(Text), all(Fixed(8 + 2)), all(Text)]),
    shape(ApiKey::EndTxn, 0, 3, 3, &[all(Text), all(Fixed(8 + 2 + 1))]),
    shape(ApiKey::TxnOffsetCommit, 0, 3, 3, TXN_OFFSET_COMMIT),
    shape(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        &[all(List(&[all(Fixed(1)), all(Text), all(Row(&Text))])), all(Fixed(1)), since(3, Fixed(1))],
    ),
    shape(ApiKey::CreatePartitions, 0, 3, 2, CREATE_PARTITIONS),
    shape(ApiKey::DeleteGroups, 0, 2, 2, &[all(Row(&Text))]),
    shape(
        ApiKey::DeleteRecords,
        0,
        2,
        2,
        &[all(List(&[all(Text), all(List(&[all(Fixed(4 + 8))]))])), all(Fixed(4))],
    ),
    shape(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        1,
        &[
            all(List(&[all(Fixed(1)), all(Text), all(List(&[all(Text), all(Fixed(1)), all(Text)]))])),
            all(Fixed(1)),
        ],
    ),
];
