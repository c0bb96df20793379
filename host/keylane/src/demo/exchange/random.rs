//! Random numbers from a seed, and the skew of real keys.

/// A generator of random numbers (splitmix64). The same seed gives the same numbers everywhere.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::draw::splitmix64(self.0)
    }

    /// A number from 0 up to, and without, `end`. The bias of the remainder is far below what a demo shows.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A fraction from 0 up to, and without, 1.
    pub(super) fn fraction(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A waiting time of this mean, in seconds: most are short, a few are long.
    pub(super) fn wait_s(&mut self, mean_s: f64) -> u64 {
        (-mean_s * (1.0 - self.fraction()).ln()) as u64
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

/// Zipf's law: the second of a rank is drawn half as often as the first, the third a third as often.
#[derive(Debug, Clone)]
pub(super) struct Skew {
    /// For each rank, the share of all draws that fall on it or an earlier one.
    up_to: Vec<f64>,
}

impl Skew {
    pub(super) fn new(ranks: usize) -> Self {
        let weights = (1..=ranks).map(|rank| 1.0 / rank as f64);
        let whole: f64 = weights.clone().sum();
        let mut sum = 0.0;
        let up_to = weights.map(|weight| {
            sum += weight / whole;
            sum
        });
        Self { up_to: up_to.collect() }
    }

    /// A rank, from 0.
    pub(super) fn rank(&self, random: &mut Random) -> usize {
        let drawn = random.fraction();
        // The last share may be a hair below 1, so a draw may fall past all of them.
        self.up_to.partition_point(|share| *share <= drawn).min(self.up_to.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_comes_twice_as_often_as_the_second() {
        let (skew, mut random) = (Skew::new(500), Random::new(1));
        let mut drawn = vec![0_u32; 500];
        for _ in 0..100_000 {
            drawn[skew.rank(&mut random)] += 1;
        }
        let ratio = f64::from(drawn[0]) / f64::from(drawn[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(drawn.iter().all(|times| *times > 0), "nobody is left out of so many");
    }

    #[test]
    fn waits_have_their_mean_and_fractions_stay_in_bounds() {
        let mut random = Random::new(2);
        let mean = (0..100_000).map(|_| random.wait_s(9_000.0)).sum::<u64>() / 100_000;
        assert!((8_900..9_100).contains(&mean), "{mean}");
        assert!((0..100_000).map(|_| random.fraction()).all(|drawn| (0.0..1.0).contains(&drawn)));
    }

    #[test]
    fn a_shuffle_keeps_everybody() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
