//! Listing, describing and deleting groups.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::groups::GroupInfo;

use super::{Check, check};
use crate::clients::{
    PATIENCE, admin, consumer, new_topic, patient, producer, read, send_numbers, until, wait,
};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[check(
    "groups_are_listed_described_and_deleted",
    groups,
    &[
        "listed: Stable consumer range, 1 members",
        "described: Stable range 1",
        "deleted while in use: 68",
        "after it left: Empty, 0 members",
        "deleted: 0",
        "deleted again: 69",
        "deleted by the admin client: NonEmptyGroup",
        "described after: Dead",
        "listed after: false",
        "its offset is gone: Invalid",
    ],
)];

fn groups(target: &Target) -> anyhow::Result<Observed> {
    let group = "groups";
    new_topic(target, group, 1)?;
    send_numbers(&producer(target, &[])?, group, 1, 1)?;
    let member = consumer(target, group, &[("partition.assignment.strategy", "range")])?;
    member.subscribe(&[group])?;
    read(&member, 1)?;
    member.commit_consumer_state(CommitMode::Sync)?;
    let mut seen = listed(&member, group)?;
    let mut raw = Raw::connect(target)?;
    let (state, protocol, members) = raw.describe_group(group)?;
    seen.push(format!("described: {state} {protocol} {members}"));
    seen.push(format!("deleted while in use: {}", raw.delete_group(group)?));
    let by_admin = wait(admin(target)?.delete_groups(&[group], &patient()))??;
    member.unsubscribe();
    until("an empty group", || {
        let _events = member.poll(Duration::from_millis(10));
        Ok(raw.describe_group(group)?.0 == "Empty")
    })?;
    let (state, _, members) = raw.describe_group(group)?;
    seen.push(format!("after it left: {state}, {members} members"));
    drop(member);
    seen.push(format!("deleted: {}", raw.delete_group(group)?));
    seen.push(format!("deleted again: {}", raw.delete_group(group)?));
    let by_admin = by_admin.into_iter().next().and_then(Result::err).map(|(_, code)| format!("{code:?}"));
    seen.push(format!("deleted by the admin client: {}", by_admin.unwrap_or_default()));
    seen.push(format!("described after: {}", raw.describe_group(group)?.0));
    let reader = consumer(target, group, &[])?;
    seen.push(format!("listed after: {}", !listed(&reader, group)?.is_empty()));
    let mut list = TopicPartitionList::new();
    list.add_partition(group, 0);
    let committed = reader.committed_offsets(list, PATIENCE)?;
    let offset = committed.find_partition(group, 0).map(|e| format!("{:?}", e.offset()));
    seen.push(format!("its offset is gone: {}", offset.unwrap_or_default()));
    Ok(seen)
}

/// What the list of groups says of this one.
fn listed(client: &BaseConsumer, group: &str) -> anyhow::Result<Observed> {
    let all = client.fetch_group_list(None, PATIENCE)?;
    let shown = |g: &GroupInfo| {
        format!("listed: {} {} {}, {} members", g.state(), g.protocol_type(), g.protocol(), g.members().len())
    };
    Ok(all.groups().iter().filter(|g| g.name() == group).map(shown).collect())
}
