-- What was done, in the order in which it was.
CREATE TABLE done (
    partition INTEGER NOT NULL,
    record_offset INTEGER NOT NULL
);
