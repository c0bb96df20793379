-- What the handler saw, in the order in which it saw it. Nothing is unique here: a repeat adds a row.
CREATE TABLE seen (
    n             INTEGER PRIMARY KEY AUTOINCREMENT,
    topic         TEXT    NOT NULL,
    partition     INTEGER NOT NULL,
    record_offset INTEGER NOT NULL,
    record_key    BLOB,              -- none for a record without a key
    attempt       INTEGER NOT NULL
);
