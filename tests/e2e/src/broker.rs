//! How the tests speak with a broker, whoever does the speaking.

use anyhow::Result;

/// A record as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The key.
    pub key: Option<String>,
    /// The value; none is a tombstone.
    pub value: Option<String>,
    /// In order.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// A record as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// How far a group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What the group has committed, if it has.
    pub committed: Option<i64>,
    /// The end of the partition.
    pub end: i64,
}

/// What a group reads.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The group.
    pub group: String,
    /// Its topics.
    pub topics: Vec<String>,
}

/// A client of a broker that is not keylane.
pub trait Broker {
    /// `host:port`.
    fn bootstrap(&self) -> &str;

    /// Makes topics of so many partitions each.
    ///
    /// # Errors
    /// When the broker refuses one.
    fn create_topics(&self, topics: &[&str], partitions: i32) -> Result<()>;

    /// Begins to write to a topic.
    ///
    /// # Errors
    /// When the client cannot be started.
    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>>;

    /// Reads a topic to its end as it is now, as a reader who sees committed transactions only. Records of
    /// one partition come in their order.
    ///
    /// # Errors
    /// When the end is not reached.
    fn read(&self, topic: &str) -> Result<Vec<Stored>>;

    /// How far groups are.
    ///
    /// # Errors
    /// When the broker does not say.
    fn positions(&self, subscriptions: &[Subscription]) -> Result<Vec<Position>>;
}

/// Writes records to one topic.
pub trait Writer {
    /// Writes records, in order.
    ///
    /// # Errors
    /// When the client does not take them.
    fn write(&mut self, records: &[Record]) -> Result<()>;

    /// Waits until all is written.
    ///
    /// # Errors
    /// When the client says that something was not.
    fn finish(self: Box<Self>) -> Result<()>;
}
