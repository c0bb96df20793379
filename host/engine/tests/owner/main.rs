//! Owners and their inboxes, driven as the intake drives them, with doubles for the other ports and with
//! virtual time: nothing here waits for a wall clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bench;
mod bounds;
mod claimed;
mod conflicts;
mod cuts;
mod database;
mod handover;
mod leases;
mod operator;
mod order;
mod overtaken;
mod pruned;
mod revoked;
mod scripted;
mod shown;
mod stopped;
