//! Chaos: three brokers of Apache Kafka, three hosts, an independent producer, and faults drawn from a seed.
//! After each round an independent checker reads what lies in Kafka. It shares no code with the host: what
//! it believes comes from the input topic, from what the handlers' own records tell, from the dead letters,
//! from the committed offsets, and from the log of the faults.
//!
//! With `EFFECTS` the handlers write rows and send records and mails, which must all happen once: then the
//! checker compares the input with those too, and nothing excuses a repeat.
//!
//! - [`plan`] draws a round, [`fate`] is what a value makes its handler do, [`numbers`] draws everything.
//! - [`cluster`] runs the brokers, [`fleet`] the hosts ([`place`] finds their parts), [`traffic`] writes.
//! - [`effects`] is what stands beside the hosts, [`ledger`] the database that the handlers write to.
//! - [`stage`] holds all of them, [`play`] does to them what the plan says, [`faults`] is its log.
//! - [`losses`] is what hosts say of partitions that they lost, [`given_up`] what of those that the database took
//!   from them, [`clock`] the time of day.
//! - [`onlooker`] asks the brokers, [`samples`] asks them all the time, [`evidence`] is all they answered.
//! - [`check`] judges the evidence, [`rounds`] runs rounds, [`report`] tells.

pub mod check;
pub mod clock;
pub mod cluster;
pub mod effects;
pub mod evidence;
pub mod fate;
pub mod faults;
pub mod fleet;
pub mod given_up;
pub mod ledger;
pub mod losses;
pub mod numbers;
pub mod onlooker;
pub mod place;
pub mod plan;
pub mod play;
pub mod report;
pub mod rounds;
pub mod samples;
pub mod stage;
pub mod traffic;
