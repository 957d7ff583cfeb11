//! A directory that goes with the value.

use std::fs::{self, Permissions};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Who, mark};

/// A temporary directory, removed when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new one in `parent`, of `who`; root's is closed to others.
    pub fn new(parent: impl AsRef<Path>, who: &Who) -> Self {
        let path = parent.as_ref().join(mark());
        fs::create_dir(&path).expect("a temporary directory can be made");
        let mode = if who.is_root() { 0o700 } else { 0o755 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode can be set");
        who.give(&path);
        Self(path)
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it can be listed");
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Deref for TempDir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
