//! Group membership, request by request: generations, silence, static members, refusals.

use kafka_protocol::messages::JoinGroupResponse;

use super::{Check, check};
use crate::clients::{new_topic, until};
use crate::raw::{Raw, join_request, text};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "what_cannot_join",
        refused,
        &[
            "new member: 79, an id: true",
            "no group name: 24",
            "session too short: 26",
            "session too long: 26",
            "unknown member: 25",
            "no protocols: 23",
            "another assignor: 23",
            "another kind: 23",
        ],
    ),
    check(
        "one_member",
        one_member,
        &[
            "joined: 0, generation 1, leads: true, 1 members, range",
            "synced: 0, its own: true",
            "heartbeat: 0",
            "commit: 0",
            "rejoin changes the generation: 2",
            "left: 0",
            "left again: 25",
            "heartbeat after: 25",
            "commit after: 25",
            "group: Empty",
        ],
    ),
    check(
        "a_stale_generation_is_refused",
        stale,
        &[
            "while the second joins, heartbeat: 27",
            "while the second joins, sync: 27",
            "both in generation 2: true",
            "before the assignment, commit: 27",
            "old generation, heartbeat: 22",
            "old generation, commit: 22",
            "old generation, sync: 22",
            "this generation, commit: 0",
            "outside the group, commit: 25",
            "follower got its own: true",
        ],
    ),
    check(
        "a_silent_member_is_evicted",
        evicted,
        &["the second leads alone: true, generation 2", "the first, heartbeat: 25", "the first, commit: 25"],
    ),
    check(
        "a_static_member_comes_back",
        static_member,
        &[
            "restarted: 0, same generation: true, another id: true",
            "it follows: true",
            "keeps its assignment: true",
            "the old id is fenced, heartbeat: 82",
            "the new id, heartbeat: 0",
        ],
    ),
];

/// Joins as a new member and waits until the group is complete.
fn enter(raw: &mut Raw, group: &str) -> anyhow::Result<JoinGroupResponse> {
    raw.await_coordinator(group)?;
    let id = raw.new_member(group)?;
    raw.join(group, &id)
}

fn refused(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let group = "refused";
    raw.await_coordinator(group)?;
    let told = raw.join(group, "")?;
    let mut seen = vec![format!("new member: {}, an id: {}", told.error_code, !told.member_id.is_empty())];
    let asked = join_request(group, "");
    let cases = [
        ("no group name", asked.clone().with_group_id(text("").into())),
        ("session too short", asked.clone().with_session_timeout_ms(5_999)),
        ("session too long", asked.clone().with_session_timeout_ms(1_800_001)),
        ("unknown member", asked.clone().with_member_id(text("nobody"))),
        ("no protocols", asked.clone().with_protocols(Vec::new())),
    ];
    for (what, request) in cases {
        seen.push(format!("{what}: {}", raw.join_with(request)?.error_code));
    }
    raw.join(group, &told.member_id)?;
    let other = kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("something-else"))
        .with_metadata(asked.protocols.first().map(|p| p.metadata.clone()).unwrap_or_default());
    let error = raw.join_with(asked.clone().with_protocols(vec![other]))?.error_code;
    seen.push(format!("another assignor: {error}"));
    let error = raw.join_with(asked.with_protocol_type(text("connect")))?.error_code;
    seen.push(format!("another kind: {error}"));
    Ok(seen)
}

fn one_member(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "one-member", 1)?;
    let group = "one-member";
    let mut raw = Raw::connect(target)?;
    let joined = enter(&mut raw, group)?;
    let id = joined.member_id.to_string();
    let protocol = joined.protocol_name.clone().unwrap_or_default();
    let leads = joined.leader == joined.member_id;
    let mut seen = vec![format!(
        "joined: {}, generation {}, leads: {leads}, {} members, {protocol}",
        joined.error_code,
        joined.generation_id,
        joined.members.len()
    )];
    let (error, assignment) = raw.sync(group, &id, 1, &[&id])?;
    seen.push(format!("synced: {error}, its own: {}", assignment == id));
    seen.push(format!("heartbeat: {}", raw.heartbeat(group, &id, None, 1)?));
    seen.push(format!("commit: {}", raw.commit(group, (&id, 1), (group, 0), 1)?));
    let again = raw.join(group, &id)?;
    seen.push(format!("rejoin changes the generation: {}", again.generation_id));
    seen.push(format!("left: {}", raw.leave(group, &id)?));
    seen.push(format!("left again: {}", raw.leave(group, &id)?));
    seen.push(format!("heartbeat after: {}", raw.heartbeat(group, &id, None, 2)?));
    seen.push(format!("commit after: {}", raw.commit(group, (&id, 2), (group, 0), 1)?));
    seen.push(format!("group: {}", raw.describe_group(group)?.0));
    Ok(seen)
}

fn stale(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "stale", 1)?;
    let group = "stale";
    let place = (group, 0);
    let mut raw = Raw::connect(target)?;
    let first = enter(&mut raw, group)?.member_id.to_string();
    raw.sync(group, &first, 1, &[&first])?;
    // The second member's join is answered only when the first one has come again.
    let for_second = target.clone();
    let second = std::thread::spawn(move || enter(&mut Raw::connect(&for_second)?, "stale"));
    until("a rebalance", || Ok(raw.heartbeat(group, &first, None, 1)? != 0))?;
    let mut seen = vec![
        format!("while the second joins, heartbeat: {}", raw.heartbeat(group, &first, None, 1)?),
        format!("while the second joins, sync: {}", raw.sync(group, &first, 1, &[])?.0),
    ];
    let again = raw.join(group, &first)?;
    let second = second.join().map_err(|_panic| anyhow::anyhow!("the second member panicked"))??;
    let both = (again.generation_id, second.generation_id) == (2, 2);
    seen.push(format!("both in generation 2: {both}"));
    let second = second.member_id.to_string();
    let leader = again.leader.to_string();
    let follower = if leader == first { second.clone() } else { first.clone() };
    seen.push(format!("before the assignment, commit: {}", raw.commit(group, (&first, 2), place, 1)?));
    seen.push(format!("old generation, heartbeat: {}", raw.heartbeat(group, &first, None, 1)?));
    seen.push(format!("old generation, commit: {}", raw.commit(group, (&first, 1), place, 1)?));
    seen.push(format!("old generation, sync: {}", raw.sync(group, &first, 1, &[])?.0));
    raw.sync(group, &leader, 2, &[&first, &second])?;
    seen.push(format!("this generation, commit: {}", raw.commit(group, (&first, 2), place, 1)?));
    seen.push(format!("outside the group, commit: {}", raw.commit(group, ("", -1), place, 1)?));
    seen.push(format!("follower got its own: {}", raw.sync(group, &follower, 2, &[])?.1 == follower));
    Ok(seen)
}

fn evicted(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "evicted", 1)?;
    let group = "evicted";
    let mut raw = Raw::connect(target)?;
    let first = enter(&mut raw, group)?.member_id.to_string();
    raw.sync(group, &first, 1, &[&first])?;
    // From here on the first member is silent. The join is answered when its session has ended.
    let second = enter(&mut raw, group)?;
    let alone = second.leader == second.member_id && second.members.len() == 1;
    Ok(vec![
        format!("the second leads alone: {alone}, generation {}", second.generation_id),
        format!("the first, heartbeat: {}", raw.heartbeat(group, &first, None, 1)?),
        format!("the first, commit: {}", raw.commit(group, (&first, 1), (group, 0), 1)?),
    ])
}

fn static_member(target: &Target) -> anyhow::Result<Observed> {
    let group = "static";
    let mut raw = Raw::connect(target)?;
    raw.await_coordinator(group)?;
    let asked = join_request(group, "").with_group_instance_id(Some(text("host-1")));
    let first = raw.join_with(asked.clone())?;
    let old = first.member_id.to_string();
    raw.sync(group, &old, first.generation_id, &[&old])?;
    let again = raw.join_with(asked)?;
    let new = again.member_id.to_string();
    let generation = again.generation_id;
    let mut seen = vec![format!(
        "restarted: {}, same generation: {}, another id: {}",
        again.error_code,
        generation == first.generation_id,
        new != old
    )];
    seen.push(format!("it follows: {}", again.leader != again.member_id));
    seen.push(format!("keeps its assignment: {}", raw.sync(group, &new, generation, &[])?.1 == old));
    let fenced = raw.heartbeat(group, &old, Some("host-1"), generation)?;
    seen.push(format!("the old id is fenced, heartbeat: {fenced}"));
    let known = raw.heartbeat(group, &new, Some("host-1"), generation)?;
    seen.push(format!("the new id, heartbeat: {known}"));
    Ok(seen)
}
