//! The lists of mutants, one for each room.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The rooms that have one.
pub const ROOMS: [Room; 5] = [
    Room { name: "lanes", judges: Judges::Own { package: "keylane-lanes", is_first: true } },
    Room { name: "engine", judges: Judges::Own { package: "keylane-engine", is_first: false } },
    Room { name: "effects", judges: Judges::Named },
    Room { name: "guest", judges: Judges::Named },
    Room { name: "kafka", judges: Judges::Named },
];

/// A room of `host/`, with its list in `mutants.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The name of its folder.
    pub name: &'static str,
    pub judges: Judges,
}

/// Who is to notice its mutants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judges {
    /// All of the room's tests, and the simulation; which of them are quicker is asked first.
    Own { package: &'static str, is_first: bool },
    /// The tests that the mutant itself names: all of them would take minutes each time.
    Named,
}

impl Room {
    pub fn list(&self) -> String {
        format!("host/{}/mutants.toml", self.name)
    }
}

/// One deliberate break.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// The file it changes, relative to the repository.
    pub file: String,
    /// What is replaced. It occurs exactly once in the file.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
    /// The promise that it breaks.
    pub invariant: String,
    /// Who is to notice, where the mutant names that: a test binary of the workspace, or `lib` for the tests inside
    /// the rooms, then, after a space, a part of the names of its tests.
    pub by: Option<String>,
}

impl Mutant {
    /// The test binary that is to notice, and the part of its tests' names.
    pub fn named(&self) -> Result<(&str, &str)> {
        let by = self.by.as_deref().with_context(|| format!("{} does not say by which test", self.name))?;
        Ok(by.split_once(' ').unwrap_or((by, "")))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// The rooms with these names; all of them if there are none.
pub fn rooms(names: &[String]) -> Result<Vec<Room>> {
    for name in names {
        if !ROOMS.iter().any(|room| room.name == name) {
            bail!("no list is called {name:?}; there are {}", ROOMS.map(|room| room.name).join(", "));
        }
    }
    let is_asked_for = |room: &Room| names.is_empty() || names.iter().any(|name| name == room.name);
    Ok(ROOMS.into_iter().filter(is_asked_for).collect())
}

/// Reads a room's list.
pub fn read(root: &Path, room: Room) -> Result<Vec<Mutant>> {
    let list = room.list();
    let text = std::fs::read_to_string(root.join(&list)).with_context(|| list.clone())?;
    let List { mutant: mutants } = toml::from_str(&text).with_context(|| list.clone())?;
    for Mutant { name, find, replace, by, .. } in &mutants {
        ensure!(find != replace, "{list}: {name} changes nothing");
        ensure!(by.is_some() == (room.judges == Judges::Named), "{list}: {name}: `by` does not fit the list");
    }
    Ok(mutants)
}

/// Whether a mutant still fits its file.
pub fn check(root: &Path, mutant: &Mutant) -> Result<()> {
    let Mutant { name, file, find, .. } = mutant;
    let source = std::fs::read_to_string(root.join(file)).with_context(|| format!("{name}: {file}"))?;
    let places = source.matches(find.as_str()).count();
    ensure!(places == 1, "{name}: its text stands in {file} {places} times, not once:\n{find}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mutant_fits_its_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let mutants: Vec<Mutant> = ROOMS.into_iter().flat_map(|room| read(root, room).unwrap()).collect();
        assert!(mutants.len() > 50, "only {} mutants", mutants.len());
        let unfit: Vec<_> = mutants.iter().filter_map(|mutant| check(root, mutant).err()).collect();
        assert!(unfit.is_empty(), "{unfit:#?}");
        let names: BTreeSet<&str> = mutants.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), mutants.len(), "two mutants have one name");
    }

    #[test]
    fn lists_go_by_their_names() {
        assert_eq!(rooms(&[]).unwrap(), ROOMS);
        assert_eq!(rooms(&["guest".to_owned()]).unwrap(), [ROOMS[3]]);
        let refused = rooms(&["kafak".to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("kafak") && refused.contains("effects"), "{refused}");
    }
}
