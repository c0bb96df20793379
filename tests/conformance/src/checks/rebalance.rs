//! What members of a group are told when others come and go: cooperative ones lose only what moves, and a
//! static one that is restarted disturbs nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};

use super::{Check, check};
use crate::clients::{consumer_config, error_name, leave, new_topic, until};
use crate::{Observed, Target};

/// Long enough that nobody is evicted while a busy machine restarts a client.
const SESSION_MS: &str = "30000";

pub(super) const CHECKS: &[Check] = &[
    check(
        "a_revoke_takes_only_what_moves",
        cooperative,
        &[
            "alone, first: +12",
            "second came, first: -6",
            "second came, second: +6",
            "third came, first: -2",
            "third came, second: -2",
            "third came, third: +4",
            "every partition has one owner: true",
            "third left, first and second: +2 +2",
        ],
    ),
    check(
        "a_static_member_is_restarted_and_doubled",
        static_members,
        &[
            "6 and 6: true",
            "restarted, it has the same ones: true",
            "the other one was told: nothing",
            "doubled, the former: FencedInstanceId",
            "and the newcomer has the same ones: true",
        ],
    ),
];

/// Writes down what a member is told: `+n` for partitions it gets, `-n` for partitions it loses.
#[derive(Clone, Default)]
struct Witness {
    told: Arc<Mutex<Vec<String>>>,
}

impl ClientContext for Witness {}

impl ConsumerContext for Witness {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (sign, partitions) = match rebalance {
            Rebalance::Assign(partitions) => ('+', partitions.count()),
            Rebalance::Revoke(partitions) => ('-', partitions.count()),
            Rebalance::Error(_) => return,
        };
        // A cooperative member is told of nothing as well.
        if partitions > 0 {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{sign}{partitions}"));
        }
    }
}

/// A member and what it was told since it was last asked.
struct Member {
    consumer: BaseConsumer<Witness>,
    witness: Witness,
}

impl Member {
    fn new(target: &Target, topic: &str, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let settings = [&[("session.timeout.ms", SESSION_MS)], extra].concat();
        let witness = Witness::default();
        let consumer: BaseConsumer<Witness> =
            consumer_config(target, topic, &settings).create_with_context(witness.clone())?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer, witness })
    }

    fn told(&self) -> String {
        let told = std::mem::take(&mut *self.witness.told.lock().unwrap_or_else(PoisonError::into_inner));
        if told.is_empty() { "nothing".to_owned() } else { told.join(" ") }
    }

    fn owns(&self) -> anyhow::Result<Vec<i32>> {
        let assignment = self.consumer.assignment()?;
        let mut owned: Vec<i32> = assignment.elements().iter().map(|element| element.partition()).collect();
        owned.sort_unstable();
        Ok(owned)
    }
}

/// Polls all members until each owns so many partitions.
fn until_each_owns(members: &[&Member], counts: &[usize]) -> anyhow::Result<()> {
    until(&format!("{counts:?} partitions"), || {
        for member in members {
            let _event = member.consumer.poll(Duration::from_millis(10)).transpose()?;
        }
        let owned = members.iter().map(|m| Ok(m.owns()?.len())).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(owned == counts)
    })
}

fn cooperative(target: &Target) -> anyhow::Result<Observed> {
    let topic = "cooperative";
    new_topic(target, topic, 12)?;
    let first = Member::new(target, topic, &[])?;
    until_each_owns(&[&first], &[12])?;
    let mut seen = vec![format!("alone, first: {}", first.told())];
    let second = Member::new(target, topic, &[])?;
    until_each_owns(&[&first, &second], &[6, 6])?;
    seen.push(format!("second came, first: {}", first.told()));
    seen.push(format!("second came, second: {}", second.told()));
    let third = Member::new(target, topic, &[])?;
    until_each_owns(&[&first, &second, &third], &[4, 4, 4])?;
    for (name, member) in [("first", &first), ("second", &second), ("third", &third)] {
        seen.push(format!("third came, {name}: {}", member.told()));
    }
    let mut all = [first.owns()?, second.owns()?, third.owns()?].concat();
    all.sort_unstable();
    seen.push(format!("every partition has one owner: {}", all.iter().copied().eq(0..12)));
    leave(&third.consumer)?;
    until_each_owns(&[&first, &second], &[6, 6])?;
    seen.push(format!("third left, first and second: {} {}", first.told(), second.told()));
    leave(&first.consumer)?;
    leave(&second.consumer)?;
    Ok(seen)
}

fn static_members(target: &Target) -> anyhow::Result<Observed> {
    let topic = "static-pair";
    new_topic(target, topic, 12)?;
    let stays = Member::new(target, topic, &[("group.instance.id", "host-1")])?;
    let goes = Member::new(target, topic, &[("group.instance.id", "host-2")])?;
    until_each_owns(&[&stays, &goes], &[6, 6])?;
    let owned = goes.owns()?;
    stays.told();
    let mut seen = vec![format!("6 and 6: {}", owned.len() == 6)];
    drop(goes);
    let back = Member::new(target, topic, &[("group.instance.id", "host-2")])?;
    until_each_owns(&[&stays, &back], &[6, 6])?;
    seen.push(format!("restarted, it has the same ones: {}", back.owns()? == owned));
    seen.push(format!("the other one was told: {}", stays.told()));
    let double = Member::new(target, topic, &[("group.instance.id", "host-2")])?;
    let mut fenced = None;
    until("the former is fenced", || {
        let _event = stays.consumer.poll(Duration::from_millis(10)).transpose()?;
        let _event = double.consumer.poll(Duration::from_millis(10)).transpose()?;
        fenced = back.consumer.poll(Duration::from_millis(10)).and_then(Result::err);
        Ok(fenced.is_some())
    })?;
    let fenced = fenced.as_ref().map(error_name).context("no error")?;
    seen.push(format!("doubled, the former: {fenced}"));
    until_each_owns(&[&stays, &double], &[6, 6])?;
    seen.push(format!("and the newcomer has the same ones: {}", double.owns()? == owned));
    leave(&double.consumer)?;
    leave(&stays.consumer)?;
    Ok(seen)
}
