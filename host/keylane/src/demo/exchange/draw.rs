//! What a task costs and what it earns, by accounting's rule: a hash of the purpose, a zero byte and the
//! task's id (FNV-1a, finished as splitmix64 does), its upper half taken modulo the number of choices.
//!
//! Written a second time, apart from accounting's own code: the demo's expectations must not come from
//! what they judge.

/// The fee of a task, in whole units: 10 to 20.
pub(super) fn fee(task: &str) -> i64 {
    drawn("fee", task, 10, 20)
}

/// The reward of a task, in whole units: 20 to 40.
pub(super) fn reward(task: &str) -> i64 {
    drawn("reward", task, 20, 40)
}

fn drawn(purpose: &str, task: &str, least: i64, most: i64) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in purpose.bytes().chain([0]).chain(task.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let upper_half = splitmix64(hash.wrapping_add(0x9e37_79b9_7f4a_7c15)) >> 32;
    least + upper_half as i64 % (most - least + 1)
}

/// The finishing steps of splitmix64: every bit of the result depends on every bit given.
pub(super) fn splitmix64(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures are those that accounting promises never to change: they are money.
    #[test]
    fn the_rule_gives_the_promised_figures() {
        let drawn = ["t-1", "t-2", "a task", "4711", "ünïcode"].map(|task| (fee(task), reward(task)));
        assert_eq!(drawn, [(10, 20), (13, 31), (19, 40), (12, 27), (11, 31)]);
    }
}
