//! Email: writes a worker one mail for each payout.
//!
//! There is one mail for a worker and a day. It is kept when it is first written, and a repeat sends
//! what was kept: the same text under the same Message-ID, so that a mailbox knows it as one mail.
//!
//! What a mail says is decided in [`letter`], over the trait [`letter::Mails`]; [`sql`] implements it,
//! and `component` joins both to the world.

mod component;
pub mod letter;
pub mod sql;
