//! The callers: root, and an ordinary user with subordinate ids.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Root, TempDir, copy_program};

/// The ordinary user that `tests/run` makes.
const USER: &str = "nstools-test";

/// A caller of the tools.
#[derive(Clone, Debug)]
pub struct Who {
    /// His name.
    pub name: String,
    /// His user id.
    pub uid: u32,
    /// His group id.
    pub gid: u32,
    /// His home directory.
    pub home: PathBuf,
}

/// Runs a test as root and as the ordinary user.
pub fn both(test: impl Fn(&Who)) {
    as_root(&test);
    as_user(&test);
}

/// Runs a test as root alone; the test says why.
pub fn as_root(test: impl Fn(&Who)) {
    println!("as root");
    test(&Who::named("root"));
}

/// Runs a test as the ordinary user alone; the test says why.
pub fn as_user(test: impl Fn(&Who)) {
    println!("as {USER}");
    test(&Who::named(USER));
}

impl Who {
    fn named(name: &str) -> Self {
        let user = nix::unistd::User::from_name(name).expect("/etc/passwd can be read");
        let user = user.unwrap_or_else(|| panic!("there is no user {name}: run tests/run"));
        assert!(nix::unistd::geteuid().is_root(), "the tests start as root: run tests/run");
        Self { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }
    }

    /// Whether this is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The first id of his range in /etc/subuid.
    pub fn first_subuid(&self) -> u32 {
        let text = std::fs::read_to_string("/etc/subuid").expect("/etc/subuid can be read");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{}:", self.name)));
        let line = line.unwrap_or_else(|| panic!("{} has no subordinate ids: run tests/run", self.name));
        line.split(':').next().and_then(|first| first.parse().ok()).expect("a range starts with a number")
    }

    /// A command that he runs: a clean environment, his home as the working
    /// directory, nothing on stdin.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", bin().display());
        command.env_clear().env("PATH", path).env("HOME", &self.home).env("LC_ALL", "C");
        command.uid(self.uid).gid(self.gid).current_dir(&self.home).stdin(Stdio::null());
        command
    }

    /// One of the tools, by name.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = self.command(bin().join(name));
        command.arg0(name);
        command
    }

    /// `seal OPTIONS`, to be followed by a command.
    pub fn seal(&self, options: &[&str]) -> Command {
        let mut command = self.tool("seal");
        command.args(options);
        command
    }

    /// A copy of a program, where every user may execute it.
    pub fn program_for_all(&self, from: impl AsRef<Path>) -> (TempDir, PathBuf) {
        let dir = self.dir();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let path = dir.join(from.as_ref().file_name().unwrap());
        copy_program(from, &path);
        (dir, path)
    }

    /// A script of this caller.
    pub fn script(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        self.give(path);
    }

    /// `contain OPTIONS ROOT sh -c SCRIPT`.
    pub fn contain(&self, root: impl AsRef<Path>, options: &[&str], script: &str) -> Command {
        let mut command = self.tool("contain");
        command.args(options).arg(root.as_ref()).args(["sh", "-c", script]);
        command
    }

    /// A directory of his that goes with the value. Root's may be entered by
    /// root alone, as a writable ROOT must be.
    pub fn dir(&self) -> TempDir {
        TempDir::new(std::env::temp_dir(), self)
    }

    /// A new root with busybox and nothing else.
    pub fn busybox(&self) -> Root {
        Root::busybox(self)
    }

    /// The Debian root that `tests/run` unpacked for him; all tests share it.
    pub fn debian(&self) -> PathBuf {
        let roots = std::env::var_os("NSTOOLS_ROOTS").expect("NSTOOLS_ROOTS is not set: run tests/run");
        let root = Path::new(&roots).join(if self.is_root() { "root" } else { "user" }).join("debian");
        assert!(root.join("usr/bin/dpkg").exists(), "there is no Debian in {root:?}: run tests/run");
        root
    }

    /// Makes him the owner of a file.
    pub fn give(&self, path: impl AsRef<Path>) {
        std::os::unix::fs::lchown(path.as_ref(), Some(self.uid), Some(self.gid)).expect("root can chown");
    }
}

/// Where the tools are.
fn bin() -> PathBuf {
    std::env::var_os("NSTOOLS_BIN").expect("NSTOOLS_BIN is not set: run tests/run").into()
}
