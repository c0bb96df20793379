//! Chance: a small generator, seeded, and the same everywhere.

/// A splitmix64 generator (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// A generator of its own for whatever these numbers identify. What is drawn for one thing so does
    /// not depend on how much was drawn for another.
    pub fn of(parts: &[u64]) -> Self {
        let mut draw = Self(0x006B_6579_6C61_6E65);
        for part in parts {
            draw.0 = draw.next() ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        draw
    }

    /// Any number.
    #[allow(clippy::should_implement_trait, reason = "it never ends, and nobody wants its adapters")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, of_thousand: u64) -> bool {
        self.below(1_000) < of_thousand
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { items.get(self.below(items.len() as u64) as usize).copied() }
    }

    /// A number below `bound` where small ones come more often, the more so the higher `skew` (0: all
    /// alike).
    pub fn skewed(&mut self, bound: u64, skew: u32) -> u64 {
        (0..skew).fold(self.below(bound), |least, _| least.min(self.below(bound)))
    }
}
