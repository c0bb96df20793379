//! What a query answers: rows, read by column name.

use crate::error::Error;
use crate::sql::{FromValue, Value};

/// The rows that a query answered, in the query's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(crate) fn new(columns: Vec<String>, rows: Vec<Vec<Value>>) -> Rows {
        Rows { columns, rows }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first one, if there is any.
    #[must_use]
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'rows> {
    columns: &'rows [String],
    values: &'rows [Value],
}

impl Row<'_> {
    /// The value of this column, as the type that is asked for.
    ///
    /// # Errors
    /// [`Error::Column`] if there is no such column, or if its value is of another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Error> {
        let refused = |problem: String| Error::Column { column: column.to_owned(), problem };
        let value = self.columns.iter().zip(self.values).find(|(name, _)| *name == column);
        match value {
            Some((_, value)) => T::from_value(value).map_err(refused),
            None => Err(refused(format!("no such column; there are {}", self.columns.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        Rows::new(
            vec!["worker".into(), "balance".into(), "task".into(), "paid".into()],
            vec![vec![Value::Text("w-1".into()), Value::Integer(-7), Value::Null, Value::Integer(1)]],
        )
    }

    #[test]
    fn values_are_read_by_column_and_type() {
        let rows = rows();
        let row = rows.first().unwrap();
        assert_eq!(row.get::<String>("worker").unwrap(), "w-1");
        assert_eq!(row.get::<i64>("balance").unwrap(), -7);
        assert_eq!(row.get::<Option<String>>("task").unwrap(), None);
        assert!(row.get::<bool>("paid").unwrap());
    }

    #[test]
    fn a_wrong_column_or_type_is_named() {
        let rows = rows();
        let row = rows.first().unwrap();
        let missing = row.get::<i64>("amount").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "column \"amount\": no such column; there are worker, balance, task, paid"
        );
        let other = row.get::<i64>("worker").unwrap_err();
        assert_eq!(other.to_string(), "column \"worker\": expected an integer, found text");
        assert!(!other.can_retry());
    }
}
