//! Owners and their inboxes, driven as the intake drives them, with doubles for the other ports and with
//! virtual time: nothing here waits for a wall clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bench;
mod bounds;
mod handover;
mod leases;
mod log;
mod operator;
mod order;
mod revoked;
mod shown;
mod stopped;
