//! What lies on disk: one append-only log per partition, one description per topic, one journal of offsets.
//!
//! Every write goes to the system before its request is answered, so a killed broker loses nothing
//! it acknowledged. Nothing is forced to the disk itself: a power cut may take the last seconds.
//! An end torn by a crash is cut at start; damage anywhere else refuses to start.

mod catalog;
mod journal;
mod log;

pub(crate) use catalog::{Described, Folder};
pub(crate) use journal::{Entry, Journal};
pub(crate) use log::LogFile;
