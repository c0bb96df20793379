//! The payload of a commit: what has ended above the committed offset, as text for the commit's metadata.
//!
//! ```text
//! 1             the version of this form
//! - r b R B     the codec: nothing ended above; runs; bits; deflated runs; deflated bits
//! 22 characters the topic's id (KIP-516), URL-safe base64 without padding
//! 6 characters  the check; it and what follows are missing where nothing ended above
//! the rest      the codec's bytes, URL-safe base64 without padding
//! ```
//!
//! Everything is relative to the offset that the payload is committed with. A payload that came to stand
//! beside another one (a torn snapshot, a tool that moved the offset and kept the metadata) would tell of
//! events that never ended, so the check covers the offset too: FNV-1a, 32 bits, over the offset (eight
//! bytes, most significant first) and all other characters of the payload. What is not ours, damaged or
//! out of its place counts as nothing done above the offset: its events are done again, none is lost.
//!
//! Beside a handler's database the commit is a report, and what has ended stands in the database. Its payload
//! names that and nothing else: `D` and 32 hexadecimal digits.
//!
//! A broker takes 4,096 UTF-16 units of metadata (`offset.metadata.max.bytes`, which counts the units of
//! a Java string; measured), and these characters are one unit each. Of a gap set that does not fit, the
//! first ranges are told, and the rest is done again. Of one for a cut what was told before comes first, since
//! records are committed with it.

mod bits;
mod keeping;
mod runs;
pub(crate) mod text;

use std::ops::Range;
use std::sync::Arc;

use keylane_lanes::GapSet;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

pub(crate) use self::keeping::payload_keeping;
use crate::assignment::TopicId;

/// The most UTF-16 units of a payload.
pub const PAYLOAD_UNITS_MAX: usize = 4_096;
/// Above this many units, three quarters, a partition takes in nothing new.
pub const PAYLOAD_UNITS_HIGH: usize = PAYLOAD_UNITS_MAX / 4 * 3;

/// The most bytes of a codec before deflating and after inflating: bounds memory and work on both ways.
const CODED_BYTES_MAX: usize = 64 * 1024;
/// A payload that was cut and is at least this long, fifteen sixteenths, need not tell more.
const PAYLOAD_UNITS_ENOUGH: usize = PAYLOAD_UNITS_MAX / 16 * 15;
/// Fewer bytes do not get shorter by deflating.
const DEFLATE_FROM_BYTES: usize = 32;
/// Compression against time: zlib's own middle.
const DEFLATE_LEVEL: u8 = 6;

const VERSION: u8 = b'1';
const OF_DATABASE: u8 = b'D';
const NOTHING: u8 = b'-';
const RUNS: u8 = b'r';
const BITS: u8 = b'b';
const DEFLATED_RUNS: u8 = b'R';
const DEFLATED_BITS: u8 = b'B';

const TOPIC_ID_UNITS: usize = 22;
const CHECK_UNITS: usize = 6;
const DATABASE_ID_UNITS: usize = 32;
/// What is left for the codec's text.
const ROOM_UNITS: usize = PAYLOAD_UNITS_MAX - 2 - TOPIC_ID_UNITS - CHECK_UNITS;

/// A payload, and whether it tells less than there is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Payload {
    text: String,
    truncated: bool,
}

/// What an assignment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Reading starts at its base; what it says has ended is not done again.
    pub gap: GapSet,
    /// Where that comes from.
    pub note: RestoredNote,
}

/// What was found beside a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoredNote {
    /// A payload of ours.
    Ours,
    /// Nothing: committed by another tool, or by nobody.
    Empty,
    /// Something that is not ours, is damaged, or belongs to another offset: nothing above the offset
    /// counts as done.
    Unreadable,
    /// A payload of a topic that had the same name and this id: the offset says nothing of this topic,
    /// which begins at 0.
    OtherTopic(TopicId),
    /// A report: progress stands in the database with this id, and the commit counts only for that.
    /// Nothing above the offset counts as done.
    OfDatabase(Arc<str>),
}

/// The payload of a partition where nothing above the watermark has ended.
pub(crate) fn without_gap(topic_id: TopicId) -> String {
    head(NOTHING, topic_id)
}

/// The payload of a gap set, and whether it tells less than there is. Outside of this room only for a
/// commit that is made before there is an owner. The gap set must be sound ([`GapSet::is_sound`]).
#[must_use]
pub fn payload_of(gap: &GapSet, topic_id: TopicId) -> (Arc<str>, bool) {
    let Payload { text, truncated } = encode(gap, topic_id);
    (text.into(), truncated)
}

/// The payload of a commit that is a report, beside the database with this id
/// ([`crate::Claims::database`]).
///
/// # Panics
/// Where the id is not 32 hexadecimal digits in lower case, which the database's own never is.
#[must_use]
pub fn payload_beside(database: &str) -> Arc<str> {
    assert!(is_database_id(database.as_bytes()), "{database:?} is no id of a database");
    format!("{}{database}", char::from(OF_DATABASE)).into()
}

/// The shortest payload that tells of the gap set, or of as many of its first ranges as fit: one more would
/// not, or the payload is [`PAYLOAD_UNITS_ENOUGH`] long. Where to cut is searched by halving, since no
/// proportion holds: the first ranges may deflate to nothing and the last ones not at all.
fn encode(gap: &GapSet, topic_id: TopicId) -> Payload {
    assert!(gap.is_sound(), "a gap set is out of order: {gap:?}");
    let most = runs::count_within(gap.base, &gap.ended, CODED_BYTES_MAX);
    let of_first = |told: usize| shortest(gap.base, gap.ended.get(..told).unwrap_or_default());
    let (mut told, mut too_many) = (most, most + 1);
    let (mut codec, mut text) = of_first(most);
    if text.len() > ROOM_UNITS {
        (told, too_many) = (0, most);
        (codec, text) = of_first(0);
    }
    while too_many - told > 1 && text.len() < PAYLOAD_UNITS_ENOUGH {
        let middle = told + (too_many - told) / 2;
        let tried = of_first(middle);
        if tried.1.len() <= ROOM_UNITS {
            (told, (codec, text)) = (middle, tried);
        } else {
            too_many = middle;
        }
    }
    Payload { truncated: told < gap.ended.len(), text: assemble(codec, topic_id, gap.base, &text) }
}

/// Reads what was committed. Never fails: whatever the bytes are, the answer tells of nothing that was not
/// encoded for this topic and this offset. Work and memory are bounded.
#[must_use]
pub fn restore(committed: i64, metadata: &[u8], topic: TopicId) -> Restored {
    let base = committed.max(0);
    let nothing_above = |note| Restored { gap: GapSet::at(base), note };
    if metadata.is_empty() {
        return nothing_above(RestoredNote::Empty);
    }
    if let Some(database) = database_of(metadata) {
        return nothing_above(RestoredNote::OfDatabase(database));
    }
    let Some((codec, topic_id, rest)) = split(metadata) else {
        return nothing_above(RestoredNote::Unreadable);
    };
    if topic_id.contradicts(&topic) {
        return Restored { gap: GapSet::at(0), note: RestoredNote::OtherTopic(topic_id) };
    }
    match ended_above(base, codec, topic_id, rest) {
        Some(ended) => Restored { gap: GapSet { base, ended }, note: RestoredNote::Ours },
        None => nothing_above(RestoredNote::Unreadable),
    }
}

/// Codec and bytes in text, whichever is shortest.
fn shortest(base: i64, ended: &[Range<i64>]) -> (u8, String) {
    if ended.is_empty() {
        return (NOTHING, String::new());
    }
    let mut candidates = vec![(RUNS, runs::encode(base, ended))];
    candidates.extend(bits::encode(base, ended, CODED_BYTES_MAX).map(|bytes| (BITS, bytes)));
    let deflated: Vec<(u8, Vec<u8>)> = candidates
        .iter()
        .filter(|(_, bytes)| bytes.len() >= DEFLATE_FROM_BYTES)
        .map(|(codec, bytes)| {
            let codec = if *codec == RUNS { DEFLATED_RUNS } else { DEFLATED_BITS };
            (codec, compress_to_vec(bytes, DEFLATE_LEVEL))
        })
        .collect();
    let shortest = candidates.into_iter().chain(deflated).min_by_key(|(_, bytes)| bytes.len());
    shortest.map_or((NOTHING, String::new()), |(codec, bytes)| (codec, text::encode(&bytes)))
}

fn head(codec: u8, topic_id: TopicId) -> String {
    format!("{}{}{}", char::from(VERSION), char::from(codec), text::encode(topic_id.bytes()))
}

fn assemble(codec: u8, topic_id: TopicId, base: i64, text: &str) -> String {
    let head = head(codec, topic_id);
    if codec == NOTHING {
        return head;
    }
    let check = check(base, head.as_bytes(), text.as_bytes());
    format!("{head}{check}{text}")
}

/// Which database a report names.
fn database_of(metadata: &[u8]) -> Option<Arc<str>> {
    let database = metadata.strip_prefix(&[OF_DATABASE])?;
    let text = std::str::from_utf8(database).ok()?;
    is_database_id(database).then(|| text.into())
}

fn is_database_id(bytes: &[u8]) -> bool {
    bytes.len() == DATABASE_ID_UNITS && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Codec, topic id and what follows them.
fn split(metadata: &[u8]) -> Option<(u8, TopicId, &[u8])> {
    let ([VERSION, codec], rest) = metadata.split_first_chunk::<2>()? else { return None };
    let known = [NOTHING, RUNS, BITS, DEFLATED_RUNS, DEFLATED_BITS].contains(codec);
    let (topic_id, rest) = rest.split_at_checked(TOPIC_ID_UNITS)?;
    let topic_id = text::decode(topic_id)?.try_into().ok()?;
    (known && metadata.len() <= PAYLOAD_UNITS_MAX).then_some((*codec, TopicId::new(topic_id), rest))
}

/// None unless every character is as it was encoded, beside the offset that it was encoded for.
fn ended_above(base: i64, codec: u8, topic_id: TopicId, rest: &[u8]) -> Option<Vec<Range<i64>>> {
    if codec == NOTHING {
        return rest.is_empty().then(Vec::new);
    }
    let (found, text) = rest.split_at_checked(CHECK_UNITS)?;
    if found != check(base, head(codec, topic_id).as_bytes(), text).as_bytes() {
        return None;
    }
    let bytes = text::decode(text)?;
    let bytes = match codec {
        DEFLATED_RUNS | DEFLATED_BITS => decompress_to_vec_with_limit(&bytes, CODED_BYTES_MAX).ok()?,
        _ => bytes,
    };
    let ended = match codec {
        RUNS | DEFLATED_RUNS => runs::decode(base, &bytes)?,
        _ => bits::decode(base, &bytes)?,
    };
    GapSet { base, ended: ended.clone() }.is_sound().then_some(ended)
}

/// FNV-1a (Fowler, Noll, Vo), 32 bits, in text. It finds accidents, not forgers: who may commit to the
/// group may move its offset anyway.
fn check(base: i64, head: &[u8], text: &[u8]) -> String {
    let offset = base.to_be_bytes();
    let covered = offset.iter().chain(head).chain(text);
    let hash =
        covered.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    text::encode(&hash.to_be_bytes())
}

#[cfg(test)]
mod tests;
