-- What was told, by natural keys. Both tables are appended to and never changed, and it does not matter
-- which of two facts about a task comes first.

CREATE TABLE entries (
    entry          TEXT   NOT NULL PRIMARY KEY, -- the ledger's own key
    kind           TEXT   NOT NULL,             -- fee, reward, payout
    worker         TEXT   NOT NULL,
    task           TEXT,                        -- none for a payout
    day            TEXT   NOT NULL,             -- YYYY-MM-DD
    worker_amount  BIGINT NOT NULL,             -- what the worker's account gained, in whole units
    company_amount BIGINT NOT NULL              -- what the company's account gained, in whole units
);

CREATE TABLE completions (
    task   TEXT NOT NULL PRIMARY KEY,
    worker TEXT NOT NULL,
    title  TEXT,                                -- if the event carried one
    day    TEXT NOT NULL,                       -- 2026-11-21
    week   TEXT NOT NULL,                       -- 2026-W47, by ISO 8601
    month  TEXT NOT NULL                        -- 2026-11
);

-- How much the company took on a day: fees less rewards. Columns: day, take (whole units, may be negative).
CREATE VIEW company_take AS
SELECT day, CAST(SUM(company_amount) AS BIGINT) AS take
FROM entries
WHERE kind IN ('fee', 'reward')
GROUP BY day;

-- Who owes the company. Columns: worker, balance (whole units, always negative).
CREATE VIEW workers_in_the_red AS
SELECT worker, CAST(SUM(worker_amount) AS BIGINT) AS balance
FROM entries
GROUP BY worker
HAVING SUM(worker_amount) < 0;

-- The completed task with the highest reward of each day, week and month; of several the one whose id
-- sorts first. Columns: span ('day', 'week', 'month'), period (as in completions), task, title (may be
-- null), worker, reward (whole units).
CREATE VIEW dearest_tasks AS
SELECT span, period, task, title, worker, reward
FROM (
    SELECT span, period, task, title, worker, reward,
           ROW_NUMBER() OVER (PARTITION BY span, period ORDER BY reward DESC, task) AS place
    FROM (
        SELECT 'day' AS span, c.day AS period, c.task AS task, c.title AS title, c.worker AS worker,
               e.worker_amount AS reward
        FROM completions c JOIN entries e ON e.task = c.task AND e.kind = 'reward'
        UNION ALL
        SELECT 'week' AS span, c.week AS period, c.task AS task, c.title AS title, c.worker AS worker,
               e.worker_amount AS reward
        FROM completions c JOIN entries e ON e.task = c.task AND e.kind = 'reward'
        UNION ALL
        SELECT 'month' AS span, c.month AS period, c.task AS task, c.title AS title, c.worker AS worker,
               e.worker_amount AS reward
        FROM completions c JOIN entries e ON e.task = c.task AND e.kind = 'reward'
    ) AS completed
) AS placed
WHERE place = 1;

-- Finds the reward of a completed task.
CREATE INDEX entries_by_task ON entries (task, kind, worker_amount);
