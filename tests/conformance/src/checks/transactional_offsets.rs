//! Offsets committed in a transaction: when they hold, and whose they may be.

use super::{Check, check};
use crate::clients::{new_topic, until};
use crate::raw::{Raw, Txn};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "offsets_of_a_transaction",
        offsets,
        &[
            "added: 0, given: 0",
            r#"before its end: (0, -1, ""), stable only: (88, -1, "")"#,
            r#"committed: (0, 5, "m1"), stable only: (0, 5, "m1")"#,
            r#"while the next is open: (0, 5, "m1"), stable only: (88, -1, "")"#,
            r#"aborted: (0, 5, "m1")"#,
            "the same offset twice: the last one, 7",
        ],
    ),
    check(
        "offsets_of_a_transaction_and_others",
        order,
        &[
            r#"given in it, then committed outside it, then its end: (0, 9, "")"#,
            r#"the other way round: (0, 11, "")"#,
            r#"two open at once, ended the other way round: (0, 21, "")"#,
            "a group with open offsets is deleted: 0",
        ],
    ),
    check(
        "offsets_of_a_transaction_need_membership",
        membership,
        &[
            "member: 0",
            "older generation: 22",
            "newer generation: 22",
            "nobody: 25",
            "no generation: 0",
            "a generation of a group of nobody: 22",
            "while others join: 0",
            "while assignments are awaited: 0",
            "by a member that left: 25",
        ],
    ),
    check(
        "offsets_refused_in_a_transaction",
        refused,
        &[
            "metadata too large: 12",
            "an unknown topic: 3",
            "the group not added: 48",
            "another number: 49",
            "nothing came of it: -1",
        ],
    ),
];

fn offsets(target: &Target) -> anyhow::Result<Observed> {
    let (topic, group) = ("txn-offsets", "txn-offsets-group");
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    let mut seen = Vec::new();
    let added = raw.add_group(&txn, group)?;
    let given = raw.commit_in(&txn, group, None, (topic, 0), (5, "m1"))?;
    seen.push(format!("added: {added}, given: {given}"));
    let mut look = |raw: &mut Raw, what: &str| -> anyhow::Result<()> {
        let (any, stable) =
            (raw.committed_stable(group, topic, false)?, raw.committed_stable(group, topic, true)?);
        seen.push(format!("{what}: {any:?}, stable only: {stable:?}"));
        Ok(())
    };
    look(&mut raw, "before its end")?;
    raw.end(&txn, true)?;
    settled(&mut raw, group, topic)?;
    look(&mut raw, "committed")?;
    raw.add_group(&txn, group)?;
    raw.commit_in(&txn, group, None, (topic, 0), (6, "m2"))?;
    look(&mut raw, "while the next is open")?;
    raw.end(&txn, false)?;
    settled(&mut raw, group, topic)?;
    seen.push(format!("aborted: {:?}", raw.committed_stable(group, topic, true)?));
    raw.add_group(&txn, group)?;
    raw.commit_in(&txn, group, None, (topic, 0), (8, ""))?;
    raw.commit_in(&txn, group, None, (topic, 0), (7, ""))?;
    raw.end(&txn, true)?;
    settled(&mut raw, group, topic)?;
    let last = raw.committed_stable(group, topic, true)?.1;
    seen.push(format!("the same offset twice: the last one, {last}"));
    Ok(seen)
}

/// Waits until no transaction may change the group's offset any more.
fn settled(raw: &mut Raw, group: &str, topic: &str) -> anyhow::Result<()> {
    until("offsets of a transaction", || Ok(raw.committed_stable(group, topic, true)?.0 == 0))
}

fn order(target: &Target) -> anyhow::Result<Observed> {
    let (topic, group) = ("txn-order", "txn-order-group");
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let (txn, other) = (raw.begin(topic)?, raw.begin("txn-order-b")?);
    let give = |raw: &mut Raw, txn: &Txn, offset| -> anyhow::Result<()> {
        raw.add_group(txn, group)?;
        let code = raw.commit_in(txn, group, None, (topic, 0), (offset, ""))?;
        anyhow::ensure!(code == 0, "TxnOffsetCommit: {code}");
        Ok(())
    };
    let mut seen = Vec::new();
    give(&mut raw, &txn, 5)?;
    raw.commit_from_outside(group, topic, 9)?;
    raw.end(&txn, true)?;
    settled(&mut raw, group, topic)?;
    let found = raw.committed_stable(group, topic, true)?;
    seen.push(format!("given in it, then committed outside it, then its end: {found:?}"));
    raw.commit_from_outside(group, topic, 12)?;
    give(&mut raw, &txn, 11)?;
    raw.end(&txn, true)?;
    settled(&mut raw, group, topic)?;
    seen.push(format!("the other way round: {:?}", raw.committed_stable(group, topic, true)?));
    give(&mut raw, &txn, 20)?;
    give(&mut raw, &other, 21)?;
    raw.end(&other, true)?;
    raw.end(&txn, true)?;
    settled(&mut raw, group, topic)?;
    let found = raw.committed_stable(group, topic, true)?;
    seen.push(format!("two open at once, ended the other way round: {found:?}"));
    give(&mut raw, &txn, 30)?;
    seen.push(format!("a group with open offsets is deleted: {}", raw.delete_group(group)?));
    raw.end(&txn, false)?;
    Ok(seen)
}

fn membership(target: &Target) -> anyhow::Result<Observed> {
    let (topic, group) = ("txn-members", "txn-members-group");
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    raw.add_group(&txn, group)?;
    raw.add_group(&txn, "txn-members-none")?;
    until("a coordinator", || Ok(![14, 15, 16].contains(&raw.heartbeat(group, "", None, 0)?)))?;
    let member = raw.new_member(group)?;
    let joined = raw.join(group, &member)?;
    let generation = joined.generation_id;
    raw.sync(group, &member, generation, &[&member])?;
    let mut seen = Vec::new();
    let mut ask = |raw: &mut Raw, what: &str, group: &str, id: &str, generation| -> anyhow::Result<()> {
        let code = raw.commit_in(&txn, group, Some((id, generation)), (topic, 0), (1, ""))?;
        seen.push(format!("{what}: {code}"));
        Ok(())
    };
    ask(&mut raw, "member", group, &member, generation)?;
    ask(&mut raw, "older generation", group, &member, generation - 1)?;
    ask(&mut raw, "newer generation", group, &member, generation + 1)?;
    ask(&mut raw, "nobody", group, "nobody", generation)?;
    ask(&mut raw, "no generation", group, "", -1)?;
    ask(&mut raw, "a generation of a group of nobody", "txn-members-none", "nobody", 3)?;
    let mut second = Raw::connect(target)?;
    let other = second.new_member(group)?;
    let name = other.clone();
    let joining = std::thread::spawn(move || second.join(group, &name).map(|answer| (second, answer)));
    until("a rebalance", || Ok(raw.heartbeat(group, &member, None, generation)? == 27))?;
    ask(&mut raw, "while others join", group, &member, generation)?;
    let again = raw.join(group, &member)?;
    let (mut second, _) = joining.join().map_err(|_panic| anyhow::anyhow!("the member panicked"))??;
    ask(&mut raw, "while assignments are awaited", group, &member, again.generation_id)?;
    second.leave(group, &other)?;
    raw.leave(group, &member)?;
    ask(&mut raw, "by a member that left", group, &member, again.generation_id)?;
    raw.end(&txn, false)?;
    Ok(seen)
}

fn refused(target: &Target) -> anyhow::Result<Observed> {
    let (topic, group) = ("txn-offsets-refused", "txn-offsets-refused-group");
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    let here = (topic, 0);
    let mut seen = Vec::new();
    let stray = raw.commit_in(&txn, group, None, here, (1, ""))?;
    let foreign = Txn { id: txn.id + 100_000, ..txn.clone() };
    let foreign = raw.commit_in(&foreign, group, None, here, (1, ""))?;
    raw.add_group(&txn, group)?;
    let large = "x".repeat(4097);
    let code = raw.commit_in(&txn, group, None, here, (1, &large))?;
    seen.push(format!("metadata too large: {code}"));
    let code = raw.commit_in(&txn, group, None, ("txn-offsets-none", 0), (1, ""))?;
    seen.push(format!("an unknown topic: {code}"));
    seen.push(format!("the group not added: {stray}"));
    seen.push(format!("another number: {foreign}"));
    raw.end(&txn, true)?;
    seen.push(format!("nothing came of it: {}", raw.committed_stable(group, topic, false)?.1));
    Ok(seen)
}
