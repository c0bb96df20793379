//! The rules of the house as ordinary tests: which room may know which, how large a file or function may
//! grow, what each file opens with. There is no production code here.
//!
//! Each rule is a function from text to a list of what breaks it, with two tests: one on a text that does
//! break it, so that the rule is known to bite, and one on the repository.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod arrows;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod crates;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod source;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod vendors;
