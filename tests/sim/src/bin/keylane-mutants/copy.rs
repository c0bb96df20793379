//! The copy in which things are broken, so that the repository stays as it is. It stays from run to run, and
//! what is heavy is built for it once.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where it lies in the repository, unless another place is asked for.
pub const PLACE: &str = "target/mutants";
/// Components are not broken, and not built again.
const COMPONENTS: &str = "wasm32-wasip2";

/// The copy, for one run at a time.
pub struct Copy {
    tree: PathBuf,
    _lock: File,
}

impl Copy {
    /// Makes the copy, or makes it equal to the repository again.
    pub fn of(root: &Path, place: &Path) -> Result<Self> {
        let tree = place.join("tree");
        std::fs::create_dir_all(tree.join("target"))?;
        let lock = File::create(place.join("lock"))?;
        lock.try_lock().with_context(|| format!("another run works in {}", place.display()))?;
        // Build outputs and whatever git keeps are no sources.
        make_equal(root, &tree, &|name| name == "target" || name.to_string_lossy().starts_with('.'))?;
        let components = tree.join("target").join(COMPONENTS);
        if !components.is_symlink() {
            std::os::unix::fs::symlink(root.join("target").join(COMPONENTS), components)?;
        }
        Ok(Self { tree, _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.tree
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.tree.join(file)
    }
}

/// Makes a folder equal to another. What is equal already keeps its times, or all of it would be built anew.
fn make_equal(from: &Path, to: &Path, is_left_out: &dyn Fn(&OsString) -> bool) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let mut wanted = BTreeSet::new();
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if is_left_out(&entry.file_name()) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            make_equal(&source, &target, &|_| false)?;
        } else {
            let bytes = std::fs::read(&source).with_context(|| source.display().to_string())?;
            if std::fs::read(&target).ok().as_ref() != Some(&bytes) {
                // With its permissions: there are scripts among them.
                std::fs::copy(&source, &target)?;
            }
        }
        wanted.insert(entry.file_name());
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        let name = entry.file_name();
        if wanted.contains(&name) || is_left_out(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_copy_is_made_equal_again_and_what_is_equal_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (root, place) = (folder.path().join("root"), folder.path().join("place"));
        for file in ["Cargo.toml", "host/a.rs", "host/b.rs", "target/no", ".git/no"] {
            write(&root, file, file);
        }
        let copy = Copy::of(&root, &place).unwrap();
        assert!(Copy::of(&root, &place).is_err(), "one run at a time");
        assert!(!copy.path("target/no").exists() && !copy.path(".git").exists());
        let modified = |file| std::fs::metadata(copy.path(file)).unwrap().modified().unwrap();
        let before = modified("host/b.rs");
        std::fs::write(copy.path("host/a.rs"), "broken, and left so").unwrap();
        write(copy.root(), "host/of-no-use/c.rs", "c");
        write(copy.root(), "target/debug/built", "built");
        let tree = copy.root().to_owned();
        let (b, built) = (tree.join("host/b.rs"), tree.join("target/debug/built"));
        drop(copy);
        let copy = Copy::of(&root, &place).unwrap();
        assert_eq!(std::fs::read_to_string(copy.path("host/a.rs")).unwrap(), "host/a.rs");
        assert!(!copy.path("host/of-no-use").exists());
        assert!(built.exists(), "what was built stays");
        assert_eq!(std::fs::metadata(b).unwrap().modified().unwrap(), before);
    }
}
