//! The topics of the task exchange, as `handlers/events/README.md` has them, and how wide the demo makes
//! each.

/// What happens to tasks; the key is the task.
pub(super) const TASK_LIFECYCLE: &str = "task-lifecycle";
/// What happens to days; the key is the day.
pub(super) const DAY_LIFECYCLE: &str = "day-lifecycle";
/// What accounting tells itself to do.
pub(super) const ACCOUNTING_COMMANDS: &str = "accounting-commands";
/// Entries of the ledger; the key is the worker.
pub(super) const ACCOUNT_ENTRIES: &str = "account-entries";
/// Payouts; the key is the worker.
pub(super) const PAYOUTS: &str = "payouts";

/// Every topic and its partitions.
pub(super) const TOPICS: [(&str, i32); 5] =
    [(TASK_LIFECYCLE, 12), (DAY_LIFECYCLE, 1), (ACCOUNTING_COMMANDS, 6), (ACCOUNT_ENTRIES, 12), (PAYOUTS, 6)];
