-- Every mail as it was first written. Appended to and never changed, so that a repeat is the same mail.
CREATE TABLE mails (
    worker    TEXT NOT NULL,
    day       TEXT NOT NULL, -- YYYY-MM-DD, the day that was paid
    identity  TEXT NOT NULL, -- what the Message-ID is made from
    recipient TEXT NOT NULL, -- the address
    subject   TEXT NOT NULL,
    body      TEXT NOT NULL, -- plain text
    PRIMARY KEY (worker, day)
);
