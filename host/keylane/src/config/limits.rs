//! `[limits]`: what the host may hold and how long it may take, and whether that fits with the group's session
//! and with what each handler may take.

use std::ops::Range;
use std::time::Duration;

use keylane_capability::elsewhere_most;
use keylane_deployment::{Access, Bounds, Count, Document, Size, Time};
use keylane_effects::check_times;
use toml::Spanned;

use super::check::Checked;
use super::raw::RawHostLimits;
use super::{Address, Database, Handler, HostLimits};

/// Records of one partition in the host at once.
const PARTITION_RECORDS: Bounds<Count> =
    Bounds { least: Count(1), default: Count(5_000), most: Count(1_000_000) };
/// Bytes of one partition in the host at once. The least still holds one record of Kafka's usual greatest size.
const PARTITION_BYTES: Bounds<Size> =
    Bounds { least: Size(1 << 20), default: Size(8 << 20), most: Size(1 << 30) };
/// Bytes of all partitions of all handlers in the host at once.
const HOST_BYTES: Bounds<Size> =
    Bounds { least: Size(1 << 20), default: Size(256 << 20), most: Size(1 << 40) };
/// How long running events may take to finish when the host stops. The group waits five minutes for a member
/// that drains, and so does the client before it calls its thread dead.
const DRAIN: Bounds<Time> =
    Bounds { least: Time { ms: 0 }, default: Time { ms: 30_000 }, most: Time { ms: 240_000 } };
/// How long they may take when a partition goes to another host. The group's other partitions of this host
/// are not fetched meanwhile.
const REVOKE_DRAIN: Bounds<Time> =
    Bounds { least: Time { ms: 0 }, default: Time { ms: 3_000 }, most: Time { ms: 60_000 } };

/// The session of the handlers' groups.
pub(super) struct Session {
    /// How long it lasts without a sign of life.
    pub(super) timeout: Duration,
    /// Where the file says so.
    pub(super) span: Option<Range<usize>>,
}

/// Checks `[limits]`.
pub(super) fn limits(document: &Document, raw: RawHostLimits, session: &Session) -> Checked<HostLimits> {
    let partition_bytes = PARTITION_BYTES.check(document, raw.partition_bytes)?;
    Ok(HostLimits {
        partition_records: PARTITION_RECORDS.check(document, raw.partition_records)?.get(),
        partition_bytes: partition_bytes.bytes(),
        host_bytes: host_bytes(document, raw.host_bytes, partition_bytes)?.bytes(),
        drain: DRAIN.check(document, raw.drain)?.duration(),
        revoke_drain: revoke_drain(document, raw.revoke_drain, session)?.duration(),
    })
}

fn host_bytes(document: &Document, given: Option<Spanned<Size>>, partition: Size) -> Checked<Size> {
    let span = given.as_ref().map(Spanned::span);
    let default = HOST_BYTES.default.max(partition);
    let host = Bounds { default, ..HOST_BYTES }.check(document, given)?;
    match span {
        Some(span) if host < partition => Err(document
            .refuse(span, format!("one partition may hold more, {partition}, than the whole host, {host}"))
            .with_hint("raise `host-bytes`, or lower `partition-bytes`")),
        _ => Ok(host),
    }
}

/// A partition that is given back must be so well within the session, or the group would take it first.
fn revoke_drain(document: &Document, given: Option<Spanned<Time>>, session: &Session) -> Checked<Time> {
    let most = time(session.timeout / 2);
    let span = given.as_ref().map(Spanned::span);
    let default = REVOKE_DRAIN.default.min(most);
    let revoke_drain = Bounds { default, ..REVOKE_DRAIN }.check(document, given)?;
    match span {
        Some(span) if revoke_drain > most => Err(document
            .refuse(
                span,
                format!("{revoke_drain} is more than half of the group's session, {}", time(session.timeout)),
            )
            .with_hint(format!("write {:?} at most, or raise `kafka.session-timeout`", most.to_string()))),
        _ => Ok(revoke_drain),
    }
}

/// The host looks before each event whether it may still own the partition, so one event's time, and a
/// run's slice before it, must fit into the session. Up to half a second that a run has waited for its database is left
/// out of the slice, and here too: what keeps two hosts apart is the fence, this only spares them the trouble.
pub(super) fn runs_fit(document: &Document, handler: &Handler, session: &Session) -> Checked<()> {
    let limits = &handler.manifest.limits;
    let run = limits.slice + limits.time;
    if run < session.timeout {
        return Ok(());
    }
    let problem = format!(
        "a run of handler {:?} may take {} (its `limits.slice` and `limits.time`), but its group's session lasts {}: \
         another host could own the partition before the run ends",
        handler.manifest.name,
        time(run),
        time(session.timeout)
    );
    let refused = match &session.span {
        Some(span) => document.refuse(span.clone(), problem),
        None => document.refuse_file(problem),
    };
    let hint = format!("raise `kafka.session-timeout`, or lower the limits in {}", handler.file.display());
    Err(refused.with_hint(hint))
}

/// PostgreSQL ends a run's session that is idle for too long: later than a run of the handler may leave it so,
/// and before the group gives the partition to another host, who would wait for its locks. And whatever the
/// database is, what the host writes to Kafka in a transaction is not open for longer than the session.
pub(super) fn transactions_fit(document: &Document, handler: &Handler, session: &Session) -> Checked<()> {
    let on_a_server = |database: &&Database| matches!(database.write, Some(Address::Postgres(_)));
    let server = handler.databases.values().find(on_a_server);
    let limits = &handler.manifest.limits;
    // While an event reads elsewhere, or awaits an answer by HTTP, its run's session lies idle as well.
    let reads_elsewhere = handler.databases.values().any(|database| database.access == Access::Read);
    let waits_elsewhere = reads_elsewhere || handler.manifest.grants.http.is_some();
    let elsewhere = if waits_elsewhere { elsewhere_most(limits.host_call) } else { Duration::ZERO };
    // Events that ask the database nothing may follow each other up to the end of the slice; the last of them may
    // need an instance of its own, and to make one may take as long as an event.
    let run = limits.slice + 2 * limits.time + elsewhere;
    let writes = handler.databases.values().any(|database| database.write.is_some());
    let transacts = writes || handler.manifest.is_in_cuts();
    let transaction = transacts.then(|| transaction_limit(session.timeout));
    let idle = server.map(|database| database.idle_in_transaction);
    let Err(error) = check_times(run, idle, session.timeout, transaction) else { return Ok(()) };
    let problem = format!("handler {:?}: {error}", handler.manifest.name);
    let idle_at = server.and_then(|database| database.idle_at.clone());
    let refused = match idle_at.or_else(|| session.span.clone()) {
        Some(span) => document.refuse(span, problem),
        None => document.refuse_file(problem),
    };
    if server.is_none() {
        return Err(refused.with_hint("raise `kafka.session-timeout`"));
    }
    Err(refused.with_hint(format!(
        "change `idle-in-transaction` of its database, `kafka.session-timeout`, or the limits in {}",
        handler.file.display()
    )))
}

/// After how long the brokers end a transaction of a relay that they hear nothing of. Within the session, so
/// that readers do not wait for the records of a host that is gone; the client takes no less than a second.
pub(crate) fn transaction_limit(session: Duration) -> Duration {
    (session * 3 / 4).clamp(Duration::from_secs(1), Duration::from_secs(60))
}

/// As a file writes it.
fn time(duration: Duration) -> Time {
    Time { ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }
}
