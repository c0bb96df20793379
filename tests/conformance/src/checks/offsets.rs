//! Committed offsets and their metadata, looking offsets up, and starting again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::{Check, check};
use crate::clients::{
    Outgoing, PATIENCE, consumer, error_name, new_topic, producer, read, send, send_numbers,
};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "commit_with_metadata",
        commit_metadata,
        &[
            "before: Invalid",
            r#"after: Offset(5) "v1:{\"gaps\":[7]}\tä""#,
            r#"committed again: Offset(6) """#,
            "other partition: Invalid",
        ],
    ),
    check(
        "metadata_up_to_4096_units",
        metadata_limit,
        &[
            "4096 letters: ok",
            "4097 letters: OffsetMetadataTooLarge",
            "4096 two-byte letters: ok",
            "2048 astral letters: ok",
            "2049 astral letters: OffsetMetadataTooLarge",
        ],
    ),
    check(
        "metadata_that_is_not_utf_8",
        foreign_metadata,
        &[
            r#"stray bytes: 0 "a\u{fffd}\u{fffd}b""#,
            r#"cut short: 0 "\u{fffd}""#,
            r#"cut in the middle: 0 "\u{fffd}x""#,
            r#"overlong: 0 "\u{fffd}\u{fffd}""#,
            r#"half a surrogate pair: 0 "\u{fffd}y""#,
            "4096 stray bytes: 0, 4096 letters",
            "4097 stray bytes: 12",
        ],
    ),
    check("only_the_oversized_partition_fails", mixed_commit, &["[0, 12, 0]", "committed: [1, -1, 1]"]),
    check(
        "commits_without_membership",
        bare_commits,
        &["outside a group: 0", "a generation of nobody: 22", "no group name, a generation: 22"],
    ),
    check("resume_after_a_restart", resume, &["100 then 140", "240 places of 240"]),
    check(
        "offset_look_up",
        look_up,
        &[
            "watermarks (0, 100)",
            "before all: Offset(0)",
            "between: Offset(43)",
            "exactly: Offset(42)",
            "after all: End",
            "earliest: (0, 0, -1)",
            "latest: (0, 100, -1)",
            "by time: (0, 43, 1700000043000)",
            "by a time after all: (0, -1, -1)",
        ],
    ),
];

fn one_partition(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}

fn commit(target: &Target, group: &str, topic: &str, offset: i64, metadata: &str) -> anyhow::Result<String> {
    let list = one_partition(topic, 0);
    {
        let mut element = list.find_partition(topic, 0).context("no partition")?;
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
    }
    let committed = consumer(target, group, &[])?.commit(&list, CommitMode::Sync);
    Ok(committed.map_or_else(|error| error_name(&error), |()| "ok".to_owned()))
}

fn committed(target: &Target, group: &str, topic: &str, partition: i32) -> anyhow::Result<(String, String)> {
    let reader = consumer(target, group, &[])?;
    let list = reader.committed_offsets(one_partition(topic, partition), PATIENCE)?;
    let element = list.find_partition(topic, partition).context("no partition")?;
    Ok((format!("{:?}", element.offset()), element.metadata().to_owned()))
}

fn commit_metadata(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "metadata", 2)?;
    let group = "metadata-group";
    let mut seen = vec![format!("before: {}", committed(target, group, "metadata", 0)?.0)];
    commit(target, group, "metadata", 5, "v1:{\"gaps\":[7]}\tä")?;
    let (offset, metadata) = committed(target, group, "metadata", 0)?;
    seen.push(format!("after: {offset} {metadata:?}"));
    commit(target, group, "metadata", 6, "")?;
    let (offset, metadata) = committed(target, group, "metadata", 0)?;
    seen.push(format!("committed again: {offset} {metadata:?}"));
    seen.push(format!("other partition: {}", committed(target, group, "metadata", 1)?.0));
    Ok(seen)
}

fn metadata_limit(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "metadata-limit", 1)?;
    let cases = [
        ("4096 letters", "x".repeat(4096)),
        ("4097 letters", "x".repeat(4097)),
        ("4096 two-byte letters", "ä".repeat(4096)),
        ("2048 astral letters", "\u{1F600}".repeat(2048)),
        ("2049 astral letters", "\u{1F600}".repeat(2049)),
    ];
    let mut seen = Vec::new();
    for (what, metadata) in cases {
        let result = commit(target, "metadata-limit", "metadata-limit", 1, &metadata)?;
        seen.push(format!("{what}: {result}"));
    }
    Ok(seen)
}

fn foreign_metadata(target: &Target) -> anyhow::Result<Observed> {
    let name = "foreign-metadata";
    new_topic(target, name, 1)?;
    let mut raw = Raw::connect(target)?;
    raw.commit_from_outside(name, name, 1)?;
    let cases: [(&str, &[u8]); 5] = [
        ("stray bytes", b"a\xff\xfeb"),
        ("cut short", b"\xe2\x82"),
        ("cut in the middle", b"\xf0\x9f\x98x"),
        ("overlong", b"\xc0\xaf"),
        ("half a surrogate pair", b"\xed\xa0\x80y"),
    ];
    let mut seen = Vec::new();
    for (what, bytes) in cases {
        let code = raw.commit_bytes(name, name, 1, bytes)?;
        seen.push(format!("{what}: {code} \"{}\"", raw.committed(name, name, 0)?.1.escape_default()));
    }
    let code = raw.commit_bytes(name, name, 2, &[0xff; 4096])?;
    let (_, metadata) = raw.committed(name, name, 0)?;
    seen.push(format!("4096 stray bytes: {code}, {} letters", metadata.chars().count()));
    seen.push(format!("4097 stray bytes: {}", raw.commit_bytes(name, name, 3, &[0xff; 4097])?));
    Ok(seen)
}

fn mixed_commit(target: &Target) -> anyhow::Result<Observed> {
    let name = "mixed-commit";
    new_topic(target, name, 3)?;
    let mut raw = Raw::connect(target)?;
    raw.commit_from_outside(name, name, 1)?;
    raw.delete_group(name)?;
    let metadata = ["x".repeat(4096), "x".repeat(4097), "\u{4e2d}".repeat(4096)];
    let mut seen = vec![format!("{:?}", raw.commit_several(name, name, &metadata)?)];
    let committed: Vec<i64> =
        (0..3).map(|n| Ok(raw.committed(name, name, n)?.0)).collect::<anyhow::Result<_>>()?;
    seen.push(format!("committed: {committed:?}"));
    Ok(seen)
}

fn bare_commits(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "bare", 1)?;
    let mut raw = Raw::connect(target)?;
    raw.commit_from_outside("bare", "bare", 1)?;
    Ok(vec![
        format!("outside a group: {}", raw.commit("bare", ("", -1), ("bare", 0), 1)?),
        format!("a generation of nobody: {}", raw.commit("bare-unknown", ("somebody", 3), ("bare", 0), 1)?),
        format!("no group name, a generation: {}", raw.commit("", ("", 3), ("bare", 0), 1)?),
    ])
}

fn resume(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "resume", 12)?;
    send_numbers(&producer(target, &[])?, "resume", 12, 240)?;
    let first = consumer(target, "resume", &[])?;
    first.subscribe(&["resume"])?;
    let before = read(&first, 100)?;
    let mut next = BTreeMap::new();
    for record in &before {
        next.insert(record.partition, record.offset + 1);
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in next {
        list.add_partition_offset("resume", partition, Offset::Offset(offset))?;
    }
    first.commit(&list, CommitMode::Sync)?;
    drop(first);
    let second = consumer(target, "resume", &[])?;
    second.subscribe(&["resume"])?;
    let after = read(&second, 140)?;
    let places: BTreeSet<_> = before.iter().chain(&after).map(|r| (r.partition, r.offset)).collect();
    Ok(vec![format!("{} then {}", before.len(), after.len()), format!("{} places of 240", places.len())])
}

fn look_up(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "look-up", 1)?;
    let at = |i: i64| Outgoing {
        topic: "look-up",
        value: Some(b"v"),
        timestamp: Some(1_700_000_000_000 + i * 1000),
        ..Outgoing::default()
    };
    send(&producer(target, &[])?, &(0..100).map(at).collect::<Vec<_>>())?;
    let reader = consumer(target, "look-up", &[])?;
    let mut seen = vec![format!("watermarks {:?}", reader.fetch_watermarks("look-up", 0, PATIENCE)?)];
    let times = [
        ("before all", 1_600_000_000_000),
        ("between", 1_700_000_042_500),
        ("exactly", 1_700_000_042_000),
        ("after all", 1_800_000_000_000),
    ];
    for (what, time) in times {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("look-up", 0, Offset::Offset(time))?;
        let found = reader.offsets_for_times(list, PATIENCE)?;
        let element = found.find_partition("look-up", 0).context("no partition")?;
        seen.push(format!("{what}: {:?}", element.offset()));
    }
    let mut raw = Raw::connect(target)?;
    seen.push(format!("earliest: {:?}", raw.list_offset("look-up", -2)?));
    seen.push(format!("latest: {:?}", raw.list_offset("look-up", -1)?));
    seen.push(format!("by time: {:?}", raw.list_offset("look-up", 1_700_000_042_500)?));
    seen.push(format!("by a time after all: {:?}", raw.list_offset("look-up", 1_800_000_000_000)?));
    Ok(seen)
}
