//! Who is asked about a mutant, and what they say.

use anyhow::Result;

use crate::list::{Judges, Mutant, Room};

/// Whether somebody noticed, and who.
#[derive(Debug)]
pub enum Catch {
    /// Tests.
    Tests,
    /// The simulation, with the words of the checker.
    Simulation(String),
    /// It does not come to an end.
    Hangs(&'static str),
    /// Nobody, of those that are named.
    Missed(&'static str),
    /// It does not compile, which says nothing of the tests.
    Unbuilt(String),
    /// Who is to notice complains without the mutant, too.
    Harmed(String),
}

impl Catch {
    pub fn has_caught(&self) -> bool {
        !matches!(self, Self::Missed(_) | Self::Unbuilt(_) | Self::Harmed(_))
    }
}

impl std::fmt::Display for Catch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tests => write!(f, "caught by the tests"),
            Self::Simulation(checker) => write!(f, "caught by the simulation ({checker})"),
            Self::Hangs(who) => write!(f, "caught: {who} come to no end"),
            Self::Missed(who) => write!(f, "NOT caught by {who}"),
            Self::Unbuilt(words) => write!(f, "does not compile:\n{words}"),
            Self::Harmed(words) => write!(f, "NOT tried; without any mutant: {words}"),
        }
    }
}

/// Somebody who is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    /// All tests of a package.
    Package(&'static str),
    /// Those tests of a binary whose names have this part.
    Named(String, String),
    /// Seeds of the simulation.
    Simulation,
}

impl Judge {
    /// In the order in which they are asked.
    pub fn of(room: Room, mutant: &Mutant) -> Result<Vec<Self>> {
        Ok(match room.judges {
            Judges::Own { package, is_first: true } => vec![Self::Package(package), Self::Simulation],
            Judges::Own { package, is_first: false } => vec![Self::Simulation, Self::Package(package)],
            Judges::Named => {
                let (binary, part) = mutant.named()?;
                vec![Self::Named(binary.to_owned(), part.to_owned())]
            }
        })
    }
}
