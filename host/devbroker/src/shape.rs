//! The shape of every request this broker takes, walked before the codec sees the bytes.
//!
//! The codec allocates an array by the length the wire claims, so four hostile bytes could ask for
//! gigabytes and end the process. This walk allocates nothing: a claimed length must fit into the
//! bytes that are there, and all array elements of a request together have a limit.

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

/// What a field is on the wire.
enum Wire {
    /// A number, a flag or an id of this many bytes.
    Fixed(usize),
    /// A string, which may be null.
    Text,
    /// Bytes, which may be null.
    Blob,
    /// An array of structures; it may be null.
    List(&'static [Field]),
    /// An array of plain values; it may be null.
    Row(&'static Wire),
}

struct Field {
    since: i16,
    until: i16,
    wire: Wire,
}

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

use Wire::{Blob, Fixed, List, Row, Text};

/// A request this broker takes.
pub(crate) struct Shape {
    pub(crate) key: ApiKey,
    /// The versions it takes.
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// From this version on, lengths are variable and structures end with tagged fields.
    flexible: i16,
    fields: &'static [Field],
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
    shape(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        &[all(List(&[all(Fixed(1)), all(Text), all(Row(&Text))])), all(Fixed(1)), since(3, Fixed(1))],
    ),
    shape(ApiKey::CreatePartitions, 0, 3, 2, CREATE_PARTITIONS),
    shape(ApiKey::DeleteGroups, 0, 2, 2, &[all(Row(&Text))]),
];

/// The shape of a request in this version, if the broker takes it.
pub(crate) fn find(key: ApiKey, version: i16) -> Option<&'static Shape> {
    SHAPES.iter().find(|s| s.key == key && (s.min..=s.max).contains(&version))
}

/// Why a body does not have its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A length that is negative or goes past the end.
    Length,
    /// More array elements than the limit.
    Elements,
}

impl Shape {
    /// Walks a body. Answers how many bytes it left over.
    pub(crate) fn check(&self, version: i16, body: &[u8], max_elements: usize) -> Result<usize, Misfit> {
        let flexible = version >= self.flexible;
        let mut walk = Walk { rest: body, version, flexible, elements_left: max_elements };
        walk.structure(self.fields)?;
        Ok(walk.rest.len())
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Misfit> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.value(&field.wire)?;
            }
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn value(&mut self, wire: &Wire) -> Result<(), Misfit> {
        match wire {
            Fixed(bytes) => self.skip(*bytes),
            Text => {
                let length = if self.flexible { self.compact()? } else { self.length_16()? };
                self.skip(length)
            }
            Blob => {
                let length = if self.flexible { self.compact()? } else { self.length_32()? };
                self.skip(length)
            }
            List(fields) => (0..self.elements()?).try_for_each(|_| self.structure(fields)),
            Row(wire) => (0..self.elements()?).try_for_each(|_| self.value(wire)),
        }
    }

    fn elements(&mut self) -> Result<usize, Misfit> {
        let count = if self.flexible { self.compact()? } else { self.length_32()? };
        self.elements_left = self.elements_left.checked_sub(count).ok_or(Misfit::Elements)?;
        Ok(count)
    }

    fn tags(&mut self) -> Result<(), Misfit> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Misfit> {
        self.rest = self.rest.get(bytes..).ok_or(Misfit::Length)?;
        Ok(())
    }

    /// A length before a string; -1 is null.
    fn length_16(&mut self) -> Result<usize, Misfit> {
        let length = self.rest.try_get_i16().map_err(|_short| Misfit::Length)?;
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_negative| Misfit::Length) }
    }

    /// A length before bytes or an array; -1 is null.
    fn length_32(&mut self) -> Result<usize, Misfit> {
        let length = self.rest.try_get_i32().map_err(|_short| Misfit::Length)?;
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_negative| Misfit::Length) }
    }

    /// A length plus one; 0 is null.
    fn compact(&mut self) -> Result<usize, Misfit> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Misfit> {
        let mut value = 0_usize;
        for shift in (0..32).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_short| Misfit::Length)?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Misfit::Length)
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
