//! Analytics: keeps what the management asks, from the facts that others publish: the company's take
//! of each day, the workers in the red, and the dearest completed task of each day, week and month.
//!
//! The facts are kept as they come, by their natural keys, and the three questions are views over them
//! (`migrations/`). So the topics may run ahead of one another.
//!
//! [`projection`] turns events into rows, with the weeks and months of [`calendar`]; [`sql`] keeps
//! them, and `component` joins both to the world.

pub mod calendar;
mod component;
pub mod projection;
pub mod sql;
