//! Numbers drawn from a seed: the same seed draws the same.

/// A stream of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream of this seed. Different purposes take different streams of one seed, so that one more draw
    /// for the one does not change the other.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut numbers = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        numbers.any();
        numbers
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 if there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.any().checked_rem(limit).unwrap_or(0)
    }

    /// A number from the first to the last.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// Takes one out of a list; none if it is empty.
    pub fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let at = usize::try_from(self.below(u64::try_from(from.len()).ok()?)).ok()?;
        (at < from.len()).then(|| from.remove(at))
    }
}

/// Ranks drawn with Zipf's weights: rank n comes with weight 1/n.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The sums of the weights up to each rank, as whole numbers.
    sums: Vec<u64>,
}

impl Zipf {
    /// So many ranks.
    #[must_use]
    pub fn new(ranks: u64) -> Self {
        const UNIT: u64 = 1_000_000;
        let add = |sum: &mut u64, rank: u64| {
            *sum += UNIT / rank;
            Some(*sum)
        };
        Self { sums: (1..=ranks).scan(0, add).collect() }
    }

    /// A rank from 0.
    pub fn draw(&self, numbers: &mut Numbers) -> usize {
        let drawn = numbers.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let draw = |seed, purpose| {
            let mut numbers = Numbers::new(seed, purpose);
            (0..5).map(|_| numbers.any()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(8, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
    }

    #[test]
    fn the_first_ranks_come_most_and_every_rank_comes() {
        let (zipf, mut numbers) = (Zipf::new(50), Numbers::new(1, 1));
        let mut drawn = [0; 50];
        (0..10_000).for_each(|_| drawn[zipf.draw(&mut numbers)] += 1);
        assert!(drawn[0] > 2 * drawn[4] && drawn[4] > drawn[40] && drawn.iter().all(|count| *count > 0));
    }

    #[test]
    fn what_is_taken_is_gone() {
        let (mut from, mut numbers) = (vec![1, 2, 3], Numbers::new(3, 1));
        let mut taken: Vec<_> = (0..3).map(|_| numbers.take(&mut from).unwrap()).collect();
        taken.sort_unstable();
        assert_eq!((taken, numbers.take(&mut from)), (vec![1, 2, 3], None));
    }
}
