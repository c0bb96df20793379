//! How answers look: figures as people read them, calm tables, and lines on standard output.

use std::io::Write as _;

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

/// No lines but the one under the head.
const CALM: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Writes lines to standard output.
///
/// # Errors
/// When nobody reads them.
pub(crate) fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}

/// A number with a comma after each third digit.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same for an amount that may be negative.
pub(crate) fn signed(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(amount.unsigned_abs()))
}

/// What stands in a column, which decides on which side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Words, on the left.
    Words,
    /// Figures, on the right.
    Figures,
}

/// A table whose first column is words and whose others are figures.
pub(crate) fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut first = true;
    let head =
        head.map(|name| (name, if std::mem::take(&mut first) { Column::Words } else { Column::Figures }));
    columns(head, rows)
}

/// A table that says of each column what stands in it.
pub(crate) fn columns<const COLUMNS: usize>(
    head: [(&str, Column); COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(CALM).set_header(head.map(|(name, _)| name)).add_rows(rows);
    for ((place, column), (_, kind)) in table.column_iter_mut().enumerate().zip(head) {
        column.set_padding((if place == 0 { 0 } else { 3 }, 0));
        if kind == Column::Figures {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("  {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let written = [0, 7, 999, 1_000, 12_345, 123_456, 1_234_567].map(grouped);
        assert_eq!(written, ["0", "7", "999", "1,000", "12,345", "123,456", "1,234,567"]);
        assert_eq!([-1_234, 0, 56].map(signed), ["-1,234", "0", "56"]);
    }

    #[test]
    fn figures_stand_under_each_other() {
        let rows = [["one".to_owned(), "1".to_owned()], ["thousand".to_owned(), "1,000".to_owned()]];
        let drawn = table(["word", "figure"], rows);
        assert_eq!(
            drawn,
            "  word        figure\n  ──────────────────\n  one              1\n  thousand     1,000"
        );
    }
}
