//! A task's fee and reward: drawn once, from the task's id alone, so that every replay, host and
//! revision draws the same.
//!
//! The hash is written out here because its results are money: FNV-1a over the purpose and the id,
//! and then the finishing steps of splitmix64, since FNV's low bits are weak for short ids. It must
//! never change; a new way to draw would need a new purpose.

use crate::names::Id;

/// What a worker is charged for an assigned task, in whole units: 10 to 20.
#[must_use]
pub fn fee(task: &Id) -> i64 {
    drawn("fee", task, 10, 20)
}

/// What a worker is credited for a completed task, in whole units: 20 to 40.
#[must_use]
pub fn reward(task: &Id) -> i64 {
    drawn("reward", task, 20, 40)
}

fn drawn(purpose: &str, task: &Id, least: i64, most: i64) -> i64 {
    let choices = most - least + 1;
    let hash = splitmix64(fnv1a(purpose.bytes().chain([0]).chain(task.as_str().bytes())));
    // Half of the hash is enough for so few choices, and always fits.
    least + i64::from((hash >> 32) as u32) % choices
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn splitmix64(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn draws_stay_as_they_are() {
        let drawn = ["t-1", "t-2", "a task", "4711", "ünïcode"].map(|task| {
            let task = Id::new(task).unwrap();
            (fee(&task), reward(&task))
        });
        assert_eq!(drawn, [(10, 20), (13, 31), (19, 40), (12, 27), (11, 31)]);
    }

    #[test]
    fn draws_cover_their_ranges_and_nothing_else() {
        let tasks: Vec<Id> = (0..2_000).map(|task| Id::new(format!("t-{task}")).unwrap()).collect();
        let fees: BTreeSet<i64> = tasks.iter().map(fee).collect();
        let rewards: BTreeSet<i64> = tasks.iter().map(reward).collect();
        assert_eq!(fees, (10..=20).collect());
        assert_eq!(rewards, (20..=40).collect());
    }
}
