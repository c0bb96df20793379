//! Which machine this is. Locks and the shared memory of a SQLite file reach as far as one running system does,
//! so that is what counts; the name is for the time after it was started again.
//!
//! Containers of one machine have names of their own, which change with each container, but one system: a host in
//! another container than the last one's is let in. After a restart of the machine the name decides alone.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::DatabaseConfig;

/// Where the machine's name may stand, the best one first.
const NAMES: &[&str] = &["etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname"];
/// What stands there in an image that no machine was started from yet.
const NOT_YET: &str = "uninitialized";
/// Where the running system's number stands: new with each start, and the same in all containers.
const BOOT: &str = "proc/sys/kernel/random/boot_id";

/// A machine. Digests, because systemd wants its machine id kept from strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// What it is called.
    pub name: String,
    /// The running system, where it says which it is and the name was not given by an operator.
    pub boot: Option<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn of(config: &DatabaseConfig) -> Self {
        match &config.machine {
            Some(name) => Self { name: digest(name), boot: None },
            None => Self::under(Path::new("/")),
        }
    }

    /// The one whose files these are.
    fn under(root: &Path) -> Self {
        let read = |place: &&str| std::fs::read_to_string(root.join(place)).ok();
        let known = |name: &String| !name.trim().is_empty() && name.trim() != NOT_YET;
        let name = NAMES.iter().filter_map(read).find(known).unwrap_or_default();
        Self { name: digest(&name), boot: read(&BOOT).filter(known).map(|boot| digest(&boot)) }
    }

    /// Whether a file that was last used there was last used here.
    pub(crate) fn is(&self, name: &str, boot: Option<&str>) -> bool {
        self.name == name || (self.boot.is_some() && self.boot.as_deref() == boot)
    }
}

fn digest(name: &str) -> String {
    let digest = Sha256::digest(format!("keylane {}", name.trim()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (place, text) in files {
            let place = root.path().join(place);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        }
        Machine::under(root.path())
    }

    fn same(one: &Machine, other: &Machine) -> bool {
        one.is(&other.name, other.boot.as_deref())
    }

    #[test]
    fn a_new_container_on_the_same_machine_is_let_in() {
        let container = |id, boot| machine(&[("etc/machine-id", ""), ("etc/hostname", id), (BOOT, boot)]);
        let first = container("4c01db0b339c\n", "boot one\n");
        assert!(same(&first, &container("8f2a11c0de77\n", "boot one\n")), "the container is another one");
        assert!(same(&first, &container("4c01db0b339c\n", "boot two\n")), "the machine was started again");
        assert!(!same(&first, &container("8f2a11c0de77\n", "boot two\n")), "nothing speaks for it");
    }

    #[test]
    fn an_image_that_was_never_started_has_no_name() {
        let image = |host| machine(&[("etc/machine-id", "uninitialized\n"), ("etc/hostname", host)]);
        assert!(!same(&image("one"), &image("two")));
        assert!(same(&image("one"), &image("one")));
    }

    #[test]
    fn what_is_not_known_is_not_the_same() {
        let named = |name: &str| Machine { name: digest(name), boot: None };
        assert!(!same(&named("one"), &named("two")));
        assert!(!same(&machine(&[(BOOT, " \n")]), &named("two")));
    }
}
