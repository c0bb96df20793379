//! Accounting: charges a worker for an assigned task, credits them for a completed one, and pays what
//! they hold when a day closes. Every movement is kept by double entry.
//!
//! The rules, in the order of the story:
//!
//! - A task's fee and reward are drawn once, from the task's id ([`draw`]).
//! - A task has one fee and one reward: its first assignment is charged, and a later one, to the same
//!   worker or another, changes nothing. A completion is credited even if no assignment was seen.
//! - A closed day is paid page by page ([`book`]): one payout for each worker and day, of what the
//!   ledger then holds, if that is positive. Debts carry over.
//!
//! Nothing here guards against repeats: the host has each event's statements and publications happen
//! once, together.
//!
//! Decisions are plain functions over the trait [`ledger::Ledger`]; [`sql`] implements it, and
//! `component` joins both to the world.

pub mod book;
mod component;
pub mod draw;
pub mod events;
pub mod ledger;
pub mod names;
pub mod publication;
pub mod sql;
