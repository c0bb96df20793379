-- The ledger. Every table is appended to and never changed: a balance is a sum, so that no row is hot.

-- What happened: one fee and one reward for each task, one payout for each worker and day.
CREATE TABLE entries (
    entry  TEXT   NOT NULL PRIMARY KEY, -- natural key: fee/<task>, reward/<task>, payout/<day>/<worker>
    kind   TEXT   NOT NULL CHECK (kind IN ('fee', 'reward', 'payout')),
    worker TEXT   NOT NULL,
    task   TEXT,                        -- none for a payout
    day    TEXT   NOT NULL,             -- YYYY-MM-DD, the day it counts for
    amount BIGINT NOT NULL              -- what the worker's account gains, in whole units
);

-- Who gained and who gave: the postings of an entry sum to zero.
CREATE TABLE postings (
    entry   TEXT   NOT NULL REFERENCES entries (entry),
    account TEXT   NOT NULL,            -- worker:<id>, company or cash
    amount  BIGINT NOT NULL,            -- positive: what the account gains
    PRIMARY KEY (entry, account)
);

-- Answers a balance without touching the table.
CREATE INDEX postings_by_account ON postings (account, amount);

-- Everybody who has an account.
CREATE TABLE workers (
    worker TEXT NOT NULL PRIMARY KEY
);

-- For people and tools: what each account holds. All of them together hold 0.
CREATE VIEW balances AS
SELECT account, CAST(SUM(amount) AS BIGINT) AS balance
FROM postings
GROUP BY account;
