//! Small root file systems.

use std::fs::{self, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Run, TempDir, Who};

/// A root file system of one caller, removed when this is dropped.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    owner: Who,
    _dir: TempDir,
}

impl Root {
    /// Busybox with its applets, and empty directories.
    pub fn busybox(who: &Who) -> Self {
        let dir = who.dir();
        let path = dir.join("root");
        let root = Self { path, owner: who.clone(), _dir: dir };
        root.dir("");
        for name in ["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp"] {
            root.dir(name);
        }
        fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
        root.copy("/bin/busybox", "bin/busybox");
        let applets = who.command("busybox").arg("--list").ran().out();
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            let link = root.join("bin").join(applet);
            symlink("busybox", &link).unwrap();
            who.give(link);
        }
        root
    }

    /// A new directory in it.
    pub fn dir(&self, path: &str) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(&path).unwrap();
        self.owner.give(&path);
        path
    }

    /// A new file in it.
    pub fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.join(path);
        fs::write(&path, text).unwrap();
        self.owner.give(&path);
        path
    }

    /// A copy of a file of the host, at a path in it.
    pub fn copy(&self, from: impl AsRef<Path>, to: &str) -> PathBuf {
        let to = self.join(to);
        copy_program(&from, &to);
        self.owner.give(&to);
        to
    }

    /// What a file in it holds.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Copies a file that is to be executed. Another process writes it: a fork of
/// another test's would else hold it open for writing until its own exec, and the
/// kernel executes no such file (ETXTBSY).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(copied.is_ok_and(|status| status.success()), "{:?} cannot be copied", from.as_ref());
}

impl Deref for Root {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Root {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}
