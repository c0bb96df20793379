//! Mistakes that others made, built into the poller on purpose: each must be caught by the checker that
//! is there for it (`tests/mutations.rs`). If one is not, the simulation proves nothing of that promise.

/// A mistake of the poller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The final commit of a revoke tells the highest offset that was delivered.
    HighestSeenAfterRevoke,
    /// A commit is made of whatever was last known of the partition, under whichever assignment.
    IgnoresToken,
    /// Owners are started before any commit has proven the membership, and the lease is renewed by hope.
    SkipsProofOfLife,
    /// A revoke is answered at once; what runs ends when it ends.
    DoesNotDrain,
    /// Offset and payload of a commit are read at different moments.
    TornSnapshot,
    /// Metadata that cannot be read counts as everything done that was delivered before.
    UnreadableIsProgress,
    /// What was lost is committed all the same, once the host is a member again.
    CommitsTheLost,
    /// Inboxes of revoked partitions are kept.
    LeaksInboxes,
}
