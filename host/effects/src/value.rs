//! What is bound to a statement and what a query answers, the same for every database.

/// One value. A database that has no such kind keeps the nearest one and says so in its driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// 64 bits with a sign.
    Integer(i64),
    /// A double.
    Float(f64),
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// An exact decimal number, as text.
    Decimal(String),
}

impl Value {
    /// What the value weighs against a limit, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const SCALAR_BYTES: usize = 8;
        match self {
            Self::Text(text) | Self::Decimal(text) => SCALAR_BYTES.saturating_add(text.len()),
            Self::Bytes(bytes) => SCALAR_BYTES.saturating_add(bytes.len()),
            _ => SCALAR_BYTES,
        }
    }
}

/// What a query answers. The columns are named also where there is no row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Their names, in order.
    pub columns: Vec<String>,
    /// One list of values for each row, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
}

/// How much one query may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultLimits {
    /// Rows.
    pub rows: usize,
    /// All values together, in bytes.
    pub bytes: usize,
}

/// Rows being collected under their limits.
pub(crate) struct Collected {
    limits: ResultLimits,
    bytes: usize,
    /// What has come so far.
    pub rows: Rows,
}

impl Collected {
    pub(crate) fn new(limits: ResultLimits) -> Self {
        Self { limits, bytes: 0, rows: Rows::default() }
    }

    /// Adds one row, or says which limit it passes.
    pub(crate) fn push(&mut self, row: Vec<Value>) -> Result<(), String> {
        if self.rows.rows.len() >= self.limits.rows {
            return Err(format!("the query answers more than {} rows (rows-max)", self.limits.rows));
        }
        self.bytes = row.iter().map(Value::size_bytes).fold(self.bytes, usize::saturating_add);
        if self.bytes > self.limits.bytes {
            return Err(format!("the query answers more than {} bytes", self.limits.bytes));
        }
        self.rows.rows.push(row);
        Ok(())
    }
}
