-- Nothing is unique in what was booked: a repeat adds a row.
CREATE TABLE account (
    name TEXT NOT NULL
);
INSERT INTO account (name) VALUES ('open');
CREATE TABLE booked (
    payment INTEGER NOT NULL,
    account TEXT    NOT NULL -- a payment to an account that is not there fails
);
