//! What SQLite itself lets a statement do, by what it asks when it prepares one: an allow list, the first
//! guard, behind which stands the check of the text.
//!
//! A trigger or a view that a handler's migration made is asked for as part of the statement that runs it,
//! so it reaches no further than the statement could.

use libsqlite3_sys as ffi;

/// For whom a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The host: anything.
    Host = 0,
    /// A guest: data of its own tables, in a transaction that is not its own.
    Guest = 1,
    /// A handler's migration: its own tables, and no transaction, setting or other file.
    Migration = 2,
}

impl Mode {
    /// The mode of a number; an unknown one is the one with the fewest rights.
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Host,
            2 => Self::Migration,
            _ => Self::Guest,
        }
    }
}

/// What SQLite asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The action's code.
    pub action: i32,
    /// Its first name: for most actions a table.
    pub first: &'a str,
    /// Its second name: a column, a function, the table of an index or a trigger.
    pub second: &'a str,
    /// The database file, by its name in the connection.
    pub database: &'a str,
}

/// Beginnings of the names of the host's tables, and of tables that show settings.
const HOST_PREFIX: &str = "keylane_";
const SETTINGS_PREFIX: &str = "pragma_";
const SCHEMA_PREFIX: &str = "sqlite_";
/// Tables of SQLite's own that show what lies under the data.
const TABLES_REFUSED: &[&str] = &["dbstat", "bytecode", "tables_used", "fts3tokenize"];
/// Functions that reach beyond the data. A migration may use any other.
const FUNCTIONS_REFUSED: &[&str] = &["load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"];
/// Functions that a guest may use.
const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "auxdata",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_insert",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_array_insert",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "subtype",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Whether a statement may do what SQLite asks for.
pub(crate) fn allows(mode: Mode, asked: Asked<'_>) -> bool {
    match mode {
        Mode::Host => true,
        Mode::Guest => allows_guest(asked),
        Mode::Migration => allows_migration(asked),
    }
}

fn allows_guest(asked: Asked<'_>) -> bool {
    match asked.action {
        ffi::SQLITE_SELECT | ffi::SQLITE_RECURSIVE => true,
        ffi::SQLITE_READ | ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
            own_table(asked.first) && !begins(asked.first, SCHEMA_PREFIX) && own_file(asked.database)
        }
        ffi::SQLITE_FUNCTION => FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(asked.second)),
        // The full-text index asks for it itself when it is read. A guest has no way to say PRAGMA.
        ffi::SQLITE_PRAGMA => asked.first == "data_version" && asked.second.is_empty(),
        _ => false,
    }
}

fn allows_migration(asked: Asked<'_>) -> bool {
    match asked.action {
        ffi::SQLITE_TRANSACTION | ffi::SQLITE_SAVEPOINT | ffi::SQLITE_ATTACH | ffi::SQLITE_DETACH => false,
        ffi::SQLITE_PRAGMA => asked.first == "data_version" && asked.second.is_empty(),
        ffi::SQLITE_FUNCTION => {
            !FUNCTIONS_REFUSED.iter().any(|refused| refused.eq_ignore_ascii_case(asked.second))
        }
        ffi::SQLITE_CREATE_TEMP_INDEX
        | ffi::SQLITE_CREATE_TEMP_TABLE
        | ffi::SQLITE_CREATE_TEMP_TRIGGER
        | ffi::SQLITE_CREATE_TEMP_VIEW => false,
        _ => own_table(asked.first) && own_table(asked.second),
    }
}

fn own_table(name: &str) -> bool {
    !begins(name, HOST_PREFIX)
        && !begins(name, SETTINGS_PREFIX)
        && !TABLES_REFUSED.iter().any(|refused| refused.eq_ignore_ascii_case(name))
}

fn own_file(database: &str) -> bool {
    database.is_empty() || database == "main"
}

fn begins(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}
