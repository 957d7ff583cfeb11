//! The files, ports and scopes that a command may reach (landlock(7)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::{Context, Error, cli, sys};

/// What `--files`, `--ports` and `--scope` ask for.
#[derive(Default)]
pub struct Access {
    files: Option<Vec<(BitFlags<AccessFs>, PathBuf)>>,
    ports: Option<Vec<(AccessNet, u16)>>,
    scopes: BitFlags<Scope>,
}

/// The first version that has what is asked for. Files need the right to cut
/// one short, without which what is read-only could still be emptied.
const FILES: i32 = 3;
const PORTS: i32 = 4;
const SCOPE: i32 = 6;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

impl Access {
    /// Adds `ro:PATH`, `rw:PATH`, `rx:PATH` or `rwx:PATH`, or with `none` nothing.
    pub fn add_files(&mut self, text: &OsStr) -> Result<(), Error> {
        let files = self.files.get_or_insert_default();
        let bytes = text.as_bytes();
        let rights = match bytes.get(..3) {
            Some(b"ro:") => READ,
            Some(b"rx:") => READ | AccessFs::Execute,
            Some(b"rw:") => AccessFs::from_all(ABI::V5) & !AccessFs::Execute,
            Some(b"rwx") if bytes.get(3) == Some(&b':') => AccessFs::from_all(ABI::V5),
            _ if bytes == b"none" => return Ok(()),
            _ => {
                return Err(Error::new(format!("--files {text:?}")).hint(
                    "it is ro:PATH to read, rw:PATH to write too, rx:PATH to read and execute, rwx:PATH, or none",
                ));
            }
        };
        let path = bytes.splitn(2, |&byte| byte == b':').nth(1).unwrap_or_default();
        if path.is_empty() {
            return Err(Error::new(format!("--files {text:?} has no path")));
        }
        files.push((rights, OsString::from(OsStr::from_bytes(path)).into()));
        Ok(())
    }

    /// Adds `bind:N` and `connect:N`, with commas, or with `none` nothing.
    pub fn add_ports(&mut self, text: &str) -> Result<(), Error> {
        let ports = self.ports.get_or_insert_default();
        for word in text.split(',').filter(|word| *word != "none") {
            let (kind, port) = word.split_once(':').unwrap_or((word, ""));
            let right = match kind {
                "bind" => AccessNet::BindTcp,
                "connect" => AccessNet::ConnectTcp,
                _ => return Err(Error::new(format!("--ports {word:?}")).hint("it is bind:N or connect:N, or none")),
            };
            let number = cli::number(port, 10).and_then(|port| u16::try_from(port).ok());
            let port = number.ok_or_else(|| Error::new(format!("--ports {word:?}: {port:?} is no port")))?;
            ports.push((right, port));
        }
        Ok(())
    }

    /// Adds `signal` and `unix`, with commas.
    pub fn add_scope(&mut self, text: &str) -> Result<(), Error> {
        for word in text.split(',') {
            self.scopes |= match word {
                "signal" => Scope::Signal,
                "unix" => Scope::AbstractUnixSocket,
                _ => {
                    return Err(
                        Error::new(format!("--scope: unknown scope {word:?}")).hint("there are signal and unix")
                    );
                }
            };
        }
        Ok(())
    }

    /// Whether files were asked for.
    pub fn limits_files(&self) -> bool {
        self.files.is_some()
    }

    /// Whether ports were asked for, which a filter of system calls has to help with.
    pub fn limits_ports(&self) -> bool {
        self.ports.is_some()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.files.is_none() && self.ports.is_none() && self.scopes.is_empty()
    }

    /// Fails if the kernel's Landlock lacks what was asked for.
    pub fn check(&self) -> Result<i32, Error> {
        if self.is_empty() {
            return Ok(0);
        }
        // None where it is not built in or not started.
        let has = sys::landlock_version().unwrap_or(0);
        let needed = [
            ("--files", self.files.is_some(), FILES),
            ("--ports", self.ports.is_some(), PORTS),
            ("--scope", !self.scopes.is_empty(), SCOPE),
        ];
        match needed.into_iter().find(|(_, asked, needs)| *asked && has < *needs) {
            Some((option, _, needs)) => {
                let hint = "a kernel before 5.13, or lsm= on its command line does not list landlock";
                let version = if has == 0 { "none".to_owned() } else { format!("version {has}") };
                Err(Error::new(format!("{option} needs version {needs} of Landlock, this kernel has {version}"))
                    .maybe_hint((has == 0).then_some(hint)))
            }
            None => Ok(has),
        }
    }

    /// Refuses everything else to this process and what it becomes or starts.
    /// Paths are those of the present root.
    pub fn restrict(&self) -> Result<(), Error> {
        let version = self.check()?;
        if self.is_empty() {
            return Ok(());
        }
        let cannot = |error: RulesetError| Error::new(format!("cannot set up Landlock: {error}"));
        // Device ioctls, of version 5, are refused where they can be.
        let files = AccessFs::from_all(if version >= 5 { ABI::V5 } else { ABI::V3 });
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if self.files.is_some() {
            ruleset = ruleset.handle_access(files).map_err(cannot)?;
        }
        if self.ports.is_some() {
            ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4)).map_err(cannot)?;
        }
        if !self.scopes.is_empty() {
            ruleset = ruleset.scope(self.scopes).map_err(cannot)?;
        }
        let mut ruleset = ruleset.create().map_err(cannot)?;
        for (rights, path) in self.files.iter().flatten() {
            let tried = || format!("--files {path:?}");
            let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(tried)?;
            let is_dir = FileType::from_raw_mode(fstat(&file).tried(tried)?.st_mode).is_dir();
            let rights = *rights & if is_dir { files } else { files & AccessFs::from_file(ABI::V5) };
            ruleset = ruleset.add_rule(PathBeneath::new(file, rights)).map_err(cannot)?;
        }
        for (right, port) in self.ports.iter().flatten() {
            ruleset = ruleset.add_rule(NetPort::new(*port, *right)).map_err(cannot)?;
        }
        ruleset.restrict_self().map_err(cannot)?;
        Ok(())
    }
}
