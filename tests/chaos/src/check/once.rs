//! The rules where every effect must happen once. Nothing excuses a row, a record or a dead letter that is
//! lost, there twice or out of order; a mail may come again with its Message-ID where a fault explains it.

pub(crate) mod mails;
pub(crate) mod order;
pub(crate) mod rows;
pub(crate) mod sums;
pub(crate) mod twice;
