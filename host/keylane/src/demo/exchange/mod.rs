//! The task exchange, simulated: its workers and tasks, what happens to them, and the books that a
//! right host must end up with.
//!
//! Everything here is pure and comes from a seed. The books are kept by the rules that
//! `handlers/events/README.md` writes down, without the handlers' code, so that a check against them
//! means something.

mod books;
mod calendar;
mod draw;
mod fact;
mod random;
mod stream;
mod titles;

#[cfg(test)]
mod tests;

pub(super) use books::{Books, Dearest, RecordKind};
pub(super) use calendar::{DAYS, DAYS_CLOSED};
pub(super) use fact::{Broken, closing_record};
pub(super) use stream::{Exchange, Plan};
