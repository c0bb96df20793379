//! Email: writes a worker one mail for each payout.
//!
//! What a mail says is decided in [`letter`]; `component` joins it to the world. A mail is committed with
//! its event and sent from there, so nothing here remembers what was sent.

mod component;
pub mod letter;
