//! The host's log, by `wasi:logging`. The host adds handler, topic, partition and offset itself.

use crate::bindings::wasi::logging::logging;

pub use crate::bindings::wasi::logging::logging::Level;

/// Writes a line of this level. The context groups lines; most handlers give the event's type.
pub fn log(level: Level, context: &str, message: &str) {
    logging::log(level, context, message);
}

/// For someone who looks for a fault.
pub fn debug(context: &str, message: &str) {
    log(Level::Debug, context, message);
}

/// For someone who watches the handler.
pub fn info(context: &str, message: &str) {
    log(Level::Info, context, message);
}

/// Something that may become a fault.
pub fn warn(context: &str, message: &str) {
    log(Level::Warn, context, message);
}

/// Something that is a fault.
pub fn error(context: &str, message: &str) {
    log(Level::Error, context, message);
}
