//! The lists of mutants.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

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
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// Reads a list, and checks that each mutant still fits its file.
pub fn read(root: &Path, list: &str) -> Result<Vec<Mutant>> {
    let text = std::fs::read_to_string(root.join(list)).with_context(|| list.to_owned())?;
    let List { mutant: mutants } = toml::from_str(&text).with_context(|| list.to_owned())?;
    for mutant in &mutants {
        let Mutant { name, file, find, replace, .. } = mutant;
        let source =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("{list}: {name}: {file}"))?;
        let places = source.matches(find.as_str()).count();
        ensure!(places == 1, "{list}: {name}: its text stands in {file} {places} times, not once:\n{find}");
        ensure!(find != replace, "{list}: {name} changes nothing");
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::LISTS;

    #[test]
    fn every_mutant_fits_its_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let mutants: Vec<Mutant> = LISTS.iter().flat_map(|list| read(root, list).unwrap()).collect();
        assert!(mutants.len() > 50, "only {} mutants", mutants.len());
        let names: BTreeSet<&str> = mutants.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), mutants.len(), "two mutants have one name");
    }
}
