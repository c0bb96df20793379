//! Mistakes that others made, built into the models on purpose: each must be caught by the checker that
//! is there for it (`tests/mutations.rs`). If one is not, the simulation proves nothing of that promise.

/// A mistake: of the poller, of its cuts, of the host that starts an engine, of the component's side of a run's
/// transaction, or of the database.
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
    /// A partition is read from the group's committed offset, and not from what the database says.
    BelievesTheGroup,
    /// The database lets everybody write.
    NoEpochCheck,
    /// An epoch is its count; after a restore that repeats.
    CountWithoutNonce,
    /// A connection that broke is made anew, and what was remembered of the database is believed.
    TrustsReconnection,
    /// A take looks at the claims before it waits for the former owner's runs.
    ReadsClaimsFirst,
    /// Claims are deleted and the floor stays where it is.
    PrunesWithoutFloor,
    /// A dead letter is written, and its event is not claimed.
    NoClaimForLetter,
    /// A statement failed, the run goes on, and its commit is said to be well.
    CommitsAfterError,
    /// A statement ended the transaction, and what follows commits by itself.
    Autocommits,
    /// Outputs leave when they are made.
    ProducesBeforeCommit,
    /// What a failed event wrote is not undone.
    KeepsTheFailed,
    /// An event that failed is left out when its run is done once more; what stands behind it in its lane is not.
    LeavesOutTheFailed,
    /// Events that must wait for each other are given out at once.
    IgnoresLanes,
    /// What comes while the inbox is full is passed over.
    PassesOverTheFull,
    /// Whoever stands in a run beside an event that fails is charged too.
    ChargesNeighbours,
    /// An owner that was overtaken gives the partition up and does not take it again.
    OvertakenForGood,
    /// A cut is sent as the member that this is by then, not as the one that it was made by.
    FreshMetadata,
    /// What an owner told is cut without a look whether it still owns the partition.
    CutWithoutToken,
    /// The offsets of a cut are committed after its transaction and not in it.
    OffsetsBesideTheCut,
    /// Of what a partition has ended the first is left for the cut after.
    CutsNoPrefix,
    /// A transaction of which nobody knows whether it was committed counts as failed.
    DoubtIsFailure,
    /// A revoke forgets that a cut of its partitions is in doubt when it makes the last one.
    ForgetsTheDoubt,
    /// Where cuts are small, partitions that are kept do not hear of the transaction that they had a part in.
    DeafensTheKept,
    /// The membership is proven by what was known before a cut in doubt.
    ProvesTheDoubtful,
    /// Where partitions start is read though a transaction may be about to change it.
    ReadsUnstableOffsets,
    /// A cut and a plain commit are under way at once.
    CutsAmidCommits,
    /// A cut begins though a plain commit failed on its way, and may be carried out yet.
    CutsBehindAStray,
    /// A partition that takes nothing for now counts as a topic that is not there.
    SilenceIsFault,
}
