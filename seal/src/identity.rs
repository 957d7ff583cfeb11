//! The user and groups that a command runs as.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::{Context, Error, cli, passwd};

/// What `--as` asks for: `NAME|UID[:GROUP|GID]`.
#[derive(Clone, Debug)]
pub struct Wanted {
    text: OsString,
    user: String,
    group: Option<String>,
}

/// A user, and where the user's home is.
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// As /etc/passwd has it, if the user is there.
    pub home: Option<PathBuf>,
}

impl Wanted {
    /// Parses it; names are looked up where the command runs.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let invalid = || Error::new(format!("--as {text:?} is no NAME|UID[:GROUP|GID]"));
        let valid = text.to_str().ok_or_else(invalid)?;
        let (user, group) = match valid.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (valid, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(invalid());
        }
        Ok(Self { text: text.to_owned(), user: user.to_owned(), group: group.map(str::to_owned) })
    }

    /// Looks the names up in /etc/passwd and /etc/group of the present root.
    /// The supplementary groups are those that the user is a member of there.
    pub fn find(&self) -> Result<Identity, Error> {
        let bad = |why: String| Error::new(format!("--as {:?}: {why}", self.text));
        let (passwd, group) = (Path::new("/etc/passwd"), Path::new("/etc/group"));
        let number = |text: &str| cli::number(text, 10).filter(|&id| id != u32::MAX);
        // A number is an id, whatever a container calls its users (CVE-2016-3697).
        let entry = match number(&self.user) {
            Some(uid) => passwd::by_uid(passwd, uid),
            None => Some(
                passwd::by_name(passwd, &self.user)
                    .ok_or_else(|| bad(format!("no user {:?} in /etc/passwd", self.user)))?,
            ),
        };
        let gid = match &self.group {
            Some(name) => number(name)
                .or_else(|| passwd::id(group, name))
                .ok_or_else(|| bad(format!("no group {name:?} in /etc/group")))?,
            None => entry.as_ref().map(|entry| entry.gid).ok_or_else(|| {
                bad(format!("no user {} in /etc/passwd", self.user)).hint(format!("name a group: {}:GID", self.user))
            })?,
        };
        let uid = entry.as_ref().map_or_else(|| number(&self.user), |entry| Some(entry.uid)).unwrap_or(u32::MAX);
        let mut groups = entry.as_ref().map_or_else(Vec::new, |entry| passwd::groups_of(group, &entry.name));
        if !groups.contains(&gid) {
            groups.insert(0, gid);
        }
        // For setresuid(2) that means to change nothing, and a file may say it.
        if uid == u32::MAX || groups.contains(&u32::MAX) {
            return Err(bad(format!("{} is no id", u32::MAX)));
        }
        Ok(Identity { uid, gid, groups, home: entry.map(|entry| entry.home.into()) })
    }
}

impl Identity {
    /// Becomes it. What capabilities are permitted stays so, and none is effective
    /// if the uid is not 0.
    pub fn take(&self) -> Result<(), Error> {
        let groups: Vec<Gid> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        setgroups(&groups).map_err(|errno| {
            let unmapped = self.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let hint = match errno {
                Errno::EINVAL => Some(format!("this user namespace does not map all of the groups {unmapped}")),
                Errno::EPERM => Some(
                    "that is for root, or in a user namespace for its root where newgidmap has mapped the groups"
                        .into(),
                ),
                _ => None,
            };
            Error::new("cannot set the supplementary groups").because(errno).maybe_hint(hint)
        })?;
        let refused = |kind: &str, id: u32, errno: Errno| {
            let hint = (errno == Errno::EINVAL).then(|| format!("this user namespace does not map {id}"));
            Error::new(format!("cannot set the {kind} id to {id}")).because(errno).maybe_hint(hint)
        };
        let gid = Gid::from_raw(self.gid);
        setresgid(gid, gid, gid).map_err(|errno| refused("group", self.gid, errno))?;
        rustix::thread::set_keep_capabilities(true).tried(|| "cannot keep the capabilities")?;
        let uid = Uid::from_raw(self.uid);
        setresuid(uid, uid, uid).map_err(|errno| refused("user", self.uid, errno))
    }
}
