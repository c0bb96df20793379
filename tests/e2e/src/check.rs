//! The checks: each compares what a part of the system left behind with what it must be.

pub mod analytics;
pub mod books;
pub mod dead_letters;
pub mod facts;
pub mod mail;
pub mod order;

use std::fmt::Debug;

use anyhow::{Result, ensure};

/// How many differences a message shows.
const SHOWN: usize = 5;

/// Two sorted collections must hold the same; says what is missing and what is too much.
///
/// # Errors
/// When they do not.
pub fn same<T: Ord + Debug>(what: &str, found: &[T], expected: &[T]) -> Result<()> {
    let missing: Vec<_> = expected.iter().filter(|item| found.binary_search(item).is_err()).collect();
    let surplus: Vec<_> = found.iter().filter(|item| expected.binary_search(item).is_err()).collect();
    let first = |items: &[&T]| format!("{:?}", items.iter().take(SHOWN).collect::<Vec<_>>());
    ensure!(
        missing.is_empty() && surplus.is_empty() && found.len() == expected.len(),
        "{what}: {} found, {} expected; {} missing: {}; {} too much: {}",
        found.len(),
        expected.len(),
        missing.len(),
        first(&missing),
        surplus.len(),
        first(&surplus),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn differences_are_named() {
        same("numbers", &[1, 2], &[1, 2]).unwrap();
        let told = same("numbers", &[1, 3], &[1, 2]).unwrap_err().to_string();
        assert!(told.contains("1 missing: [2]") && told.contains("1 too much: [3]"), "{told}");
        assert!(same("numbers", &[1, 1], &[1]).is_err());
    }
}
