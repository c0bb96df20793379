//! Values between the seam and PostgreSQL's binary format.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{Column, Encode, Postgres, Row, Type, TypeInfo, ValueRef};

use crate::postgres::numeric;
use crate::value::Value;

/// Numbers of types, fixed in PostgreSQL's catalogue.
mod oid {
    pub const UNSPECIFIED: u32 = 0;
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const NUMERIC: u32 = 1700;
    pub const VOID: u32 = 2278;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
    /// name, json, unknown, char(n), varchar
    pub const TEXTS: [u32; 5] = [19, 114, 705, 1042, 1043];
}

/// Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A value to bind, told apart for PostgreSQL by its kind.
pub(crate) struct Parameter(pub Value);

impl Parameter {
    fn number(&self) -> u32 {
        match self.0 {
            // PostgreSQL finds out itself what the nothing is.
            Value::Null => oid::UNSPECIFIED,
            Value::Boolean(_) => oid::BOOL,
            Value::Integer(_) => oid::INT8,
            Value::Float(_) => oid::FLOAT8,
            Value::Text(_) => oid::TEXT,
            Value::Bytes(_) => oid::BYTEA,
            Value::Timestamp(_) => oid::TIMESTAMPTZ,
            Value::Decimal(_) => oid::NUMERIC,
        }
    }
}

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNSPECIFIED))
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Boolean(value) => buffer.extend_from_slice(&[u8::from(*value)]),
            Value::Integer(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Value::Float(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Value::Text(value) => buffer.extend_from_slice(value.as_bytes()),
            Value::Bytes(value) => buffer.extend_from_slice(value),
            Value::Timestamp(value) => {
                let since = value.checked_sub(EPOCH_US).ok_or("the timestamp is out of range")?;
                buffer.extend_from_slice(&since.to_be_bytes());
            }
            Value::Decimal(value) => {
                let bytes = numeric::bytes(value).ok_or_else(|| format!("{value:?} is no decimal number"))?;
                buffer.extend_from_slice(&bytes);
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.number())))
    }
}

/// The text under which a statement is kept prepared. sqlx keeps them by text alone, whatever was bound at
/// first: without the kinds in it, an integer would be sent where a text was announced. It also keeps a
/// guest's text apart from the host's.
pub(crate) fn prepared_text(text: &str, parameters: &[Value]) -> String {
    let kinds: String = parameters
        .iter()
        .map(|value| match value {
            Value::Null => 'n',
            Value::Boolean(_) => 'b',
            Value::Integer(_) => 'i',
            Value::Float(_) => 'f',
            Value::Text(_) => 't',
            Value::Bytes(_) => 'y',
            Value::Timestamp(_) => 's',
            Value::Decimal(_) => 'd',
        })
        .collect();
    format!("/*guest {kinds}*/{text}")
}

/// The names of columns.
pub(crate) fn names(columns: &[sqlx::postgres::PgColumn]) -> Vec<String> {
    columns.iter().map(|column| column.name().to_owned()).collect()
}

/// One row.
pub(crate) fn values(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    row.columns().iter().map(|column| value(row, column.ordinal(), column.name())).collect()
}

fn value(row: &PgRow, index: usize, name: &str) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().into_owned();
    let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
    decode(&kind, bytes).map_err(|source| sqlx::Error::ColumnDecode { index: format!("{name:?}"), source })
}

fn decode(kind: &PgTypeInfo, bytes: &[u8]) -> Result<Value, BoxDynError> {
    let number = kind.oid().map_or(oid::UNSPECIFIED, |oid| oid.0);
    Ok(match number {
        oid::BOOL => Value::Boolean(bytes.first() == Some(&1)),
        oid::INT2 => Value::Integer(i64::from(i16::from_be_bytes(bytes.try_into()?))),
        oid::INT4 => Value::Integer(i64::from(i32::from_be_bytes(bytes.try_into()?))),
        oid::INT8 => Value::Integer(i64::from_be_bytes(bytes.try_into()?)),
        oid::FLOAT4 => Value::Float(f64::from(f32::from_be_bytes(bytes.try_into()?))),
        oid::FLOAT8 => Value::Float(f64::from_be_bytes(bytes.try_into()?)),
        oid::BYTEA => Value::Bytes(bytes.to_vec()),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let since = i64::from_be_bytes(bytes.try_into()?);
            let endless = since == i64::MAX || since == i64::MIN;
            let value = since.checked_add(EPOCH_US).filter(|_| !endless);
            Value::Timestamp(value.ok_or("the timestamp is beyond what 64 bits of microseconds hold")?)
        }
        oid::NUMERIC => Value::Decimal(numeric::text(bytes).ok_or("the decimal is malformed")?),
        oid::UUID => Value::Text(uuid(bytes)),
        oid::JSONB => Value::Text(utf8(bytes.get(1..).unwrap_or_default())?),
        oid::VOID => Value::Null,
        oid::TEXT => Value::Text(utf8(bytes)?),
        _ if oid::TEXTS.contains(&number) || matches!(kind.kind(), PgTypeKind::Enum(_)) => {
            Value::Text(utf8(bytes)?)
        }
        _ => {
            return Err(
                format!("it is of type {}, which has no kind here: cast it to text", kind.name()).into()
            );
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<String, BoxDynError> {
    Ok(std::str::from_utf8(bytes)?.to_owned())
}

fn uuid(bytes: &[u8]) -> String {
    /// The bytes before which a hyphen stands.
    const HYPHENS: [usize; 4] = [4, 6, 8, 10];
    let byte = |(index, byte): (usize, &u8)| {
        let hyphen = if HYPHENS.contains(&index) { "-" } else { "" };
        format!("{hyphen}{byte:02x}")
    };
    bytes.iter().enumerate().map(byte).collect()
}
