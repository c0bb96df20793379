//! Checks `[delivery]`: each number within its bounds, and no two that contradict each other.

use std::time::Duration;

use toml::Spanned;

use super::Checked;
use super::guarantee::{guarantee, transaction_interval};
use crate::bounds::{self, Bounds};
use crate::document::Document;
use crate::manifest::{Caps, Delivery, Flood, Grants, NullKeys, Order, Then};
use crate::quantity::{Count, Time};
use crate::raw::{RawCaps, RawDelivery, RawFlood};

/// The share at which a flood is never noticed, because no more than all events can end badly.
const NEVER_A_FLOOD: Count = Count(100);

/// Checks how events are delivered to a handler with these grants.
pub(super) fn delivery(document: &Document, raw: RawDelivery, grants: &Grants) -> Checked<Delivery> {
    let order = raw.order.unwrap_or(Order::Key);
    let attempts = bounds::ATTEMPTS.check(document, raw.attempts)?;
    let (backoff, backoff_max) = waits(document, raw.backoff, raw.backoff_max)?;
    let then = raw.then.unwrap_or(Then::DeadLetter);
    let guarantee = guarantee(document, raw.guarantee, grants)?;
    Ok(Delivery {
        guarantee,
        transaction_interval: transaction_interval(document, raw.transaction_interval, guarantee, grants)?,
        order,
        null_keys: null_keys(document, order, raw.null_keys)?,
        attempts: small(attempts),
        caps: caps(document, raw.caps, attempts)?,
        backoff: backoff.duration(),
        backoff_max: backoff_max.duration(),
        max_age: max_age(document, raw.max_age, backoff)?,
        then,
        flood: flood(document, raw.flood, then)?,
    })
}

/// Records without a key have an order of their own only where order goes by key.
fn null_keys(document: &Document, order: Order, given: Option<Spanned<NullKeys>>) -> Checked<NullKeys> {
    let Some(given) = given else { return Ok(NullKeys::Unordered) };
    let problem = match (order, given.get_ref()) {
        (Order::Partition, NullKeys::Unordered) => {
            "`order` is \"partition\": then records without a key are ordered as well"
        }
        (Order::None, NullKeys::Ordered) => "`order` is \"none\": then nothing is ordered",
        _ => return Ok(given.into_inner()),
    };
    Err(document.refuse(given.span(), problem).with_hint("leave `null-keys` out, or write order = \"key\""))
}

fn waits(
    document: &Document,
    backoff: Option<Spanned<Time>>,
    backoff_max: Option<Spanned<Time>>,
) -> Checked<(Time, Time)> {
    let longest_at = backoff_max.as_ref().or(backoff.as_ref()).map(Spanned::span);
    let backoff = bounds::BACKOFF.check(document, backoff)?;
    let backoff_max = bounds::BACKOFF_MAX.check(document, backoff_max)?;
    if let Some(span) = longest_at
        && backoff > backoff_max
    {
        let problem = format!("the first wait, {backoff}, is longer than the longest, {backoff_max}");
        return Err(document
            .refuse(span, problem)
            .with_hint("`backoff` is the first wait, `backoff-max` the longest"));
    }
    Ok((backoff, backoff_max))
}

fn max_age(document: &Document, given: Option<Spanned<Time>>, backoff: Time) -> Checked<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    let max_age = bounds::within(document, &given, bounds::MAX_AGE_LEAST, bounds::MAX_AGE_MOST)?;
    if max_age < backoff {
        let problem =
            format!("an event may be tried for {max_age}, but its first wait is {backoff} (`backoff`)");
        return Err(document
            .refuse(given.span(), problem)
            .with_hint("raise `max-age`, lower `backoff`, or write attempts = 1 for no second attempt"));
    }
    Ok(Some(max_age.duration()))
}

/// The caps of the classes. One that is given may not be above `attempts`, which would end the event
/// before; one that is not given gives way to it.
fn caps(document: &Document, raw: RawCaps, attempts: Count) -> Checked<Caps> {
    let cap = |default: Count, given: Option<Spanned<Count>>| {
        let span = given.as_ref().map(Spanned::span);
        let cap = Bounds { default: default.min(attempts), ..bounds::CLASS_CAP }.check(document, given)?;
        match span {
            Some(span) if cap > attempts => Err(document
                .refuse(span, format!("an event ends after {attempts} failures of any kind (`attempts`), so this cap is never reached"))
                .with_hint(format!("write {attempts} at most, or raise `attempts`"))),
            _ => Ok(small(cap)),
        }
    };
    let usual = bounds::CLASS_CAP.default;
    Ok(Caps {
        retry: cap(attempts, raw.retry)?,
        trap: cap(usual, raw.trap)?,
        timeout: cap(usual, raw.timeout)?,
        memory: cap(usual, raw.memory)?,
        effects: small(bounds::EFFECTS_CAP.check(document, raw.effects)?),
    })
}

/// What counts as a flood of dead letters, where there can be any.
fn flood(document: &Document, raw: Option<Spanned<RawFlood>>, then: Then) -> Checked<Option<Flood>> {
    if then != Then::DeadLetter {
        let Some(raw) = raw else { return Ok(None) };
        let problem = "a flood is one of dead letters, but `delivery.then` sends nothing there";
        return Err(document
            .refuse(raw.span(), problem)
            .with_hint("leave [delivery.flood] out, or write then = \"dead-letter\""));
    }
    let RawFlood { share, events } = raw.map(Spanned::into_inner).unwrap_or_default();
    let share = bounds::FLOOD_SHARE.check(document, share)?;
    let events = bounds::FLOOD_EVENTS.check(document, events)?.get();
    let share_percent = u8::try_from(share.0).unwrap_or(u8::MAX);
    Ok((share < NEVER_A_FLOOD).then_some(Flood { share_percent, events }))
}

/// A count whose bounds fit 32 bits.
fn small(count: Count) -> u32 {
    u32::try_from(count.0).unwrap_or(u32::MAX)
}
