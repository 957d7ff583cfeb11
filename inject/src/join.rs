//! Enter the namespaces that are named, and become a command there: what
//! nsenter(1) does.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use isolate::called::Called;
use isolate::fork::{Starting, fork};
use isolate::named::{Named, not_yours};
use isolate::namespace::{self, Namespace};
use isolate::{credentials, process};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::setgroups;
use pseudo::{Caller, IdMap};
use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::process::{PidfdGetfdFlags, chdir, chroot, fchdir, pidfd_getfd};
use seal::exec::Environment;
use seal::{Context, Error, caps};

use crate::options::{Dir, Options, Source};
use crate::{cgroup, follow};

/// The process whose namespaces are entered.
struct Process {
    pid: i32,
    pidfd: OwnedFd,
    /// Its directory in /proc.
    dir: OwnedFd,
}

/// What is entered.
struct Joins {
    /// CLONE_NEW* flags of what is entered by the pidfd.
    of_process: u64,
    others: Vec<(&'static Namespace, OwnedFd)>,
}

/// Becomes the command, or waits for it where it is a child; then gives its status.
pub fn run(options: &mut Options, called: &Called) -> Result<u8, Error> {
    let target = options.target.as_deref().map(Named::parse).transpose()?;
    let target = target.map(|named| Process::open(named, !called.theirs)).transpose()?;
    let target = target.as_ref();
    let process = target.map(|target| &target.dir);
    let mut joins = Joins::open(options, target)?;
    if options.user_parent {
        joins.take_owner(target)?;
    }
    let flags = joins.flags();
    let enters_user = flags & namespace::USER.flag != 0;
    // There a command that is a link to /proc/self/exe, and whoever may look at
    // processes, finds this program.
    let shows = namespace::PID.flag | namespace::MNT.flag;
    let is_seen = flags & shows != 0;
    // Of who is in a namespace only the map of a process in it tells.
    let seen_by_file = joins.others.iter().any(|(one, _)| one.flag & shows != 0);
    let must_hide = is_seen || enters_user;
    if is_seen && (seen_by_file || exposes_own_program(flags, target)?) {
        seal::own::ensure_sealed()?;
    }
    // Of a user namespace that is entered, CMD has all.
    let capabilities = if enters_user { caps::ALL } else { caps::permitted()? };
    if let Some(status) = options.sealing.prepare(called.name, capabilities, true)? {
        return Ok(status);
    }
    let options = &*options;
    let root = options.root.as_ref().map(|dir| open_dir(dir, "root", process)).transpose()?;
    let wd = options.wd.as_ref().map(|dir| open_dir(dir, "cwd", process)).transpose()?;
    let environment = if options.environment {
        follow::environment(&required(target, "env")?.dir)?
    } else {
        Environment::inherited()
    };
    let cgroups =
        if options.join_cgroup { cgroup::open_procs(required(target, "join-cgroup")?.pid)? } else { Vec::new() };
    if options.context {
        follow::context(&required(target, "follow-context")?.dir)?;
    }
    let sets_ids = enters_user && !options.preserve;
    // The kernel may allow it only here, or only there. With --all, which leaves
    // out what is not allowed, groups that cannot be dropped are kept.
    let drops_groups = sets_ids || enters_user && options.gid.is_some();
    // nsenter minds only a second failure.
    let is_first = !sets_ids && called.theirs;
    let groups_dropped = drops_groups && setgroups(&[]).is_ok() || is_first || options.all && options.gid.is_none();
    if must_hide {
        // From its fork on CMD is to be seen inside, where nobody may look into
        // what has not become it yet (CVE-2016-9962).
        undumpable()?;
    }
    joins.enter(target)?;
    enter_dirs(options, root, wd)?;
    cgroup::join(&cgroups)?;
    let become_command = |starting: Option<&Starting>| {
        if let Err(error) = take_ids(options, process, enters_user, groups_dropped) {
            return error;
        }
        if must_hide && let Err(error) = undumpable() {
            return error;
        }
        starting.iter().for_each(|starting| starting.before_exec());
        called.exec_by(|argv, environment| options.sealing.exec(argv, environment), &options.command, &environment)
    };
    let tied = options.ties.kill_child.is_some() || options.ties.forward;
    if options.no_fork || !tied && flags & namespace::PID.flag == 0 {
        return Err(become_command(None));
    }
    if called.theirs {
        // nsenter gives SIGCHLD its default where it forks, for its command too.
        seal::forget_ignored_children();
    }
    let parent = fork(options.ties, &[], false, |starting| called.report(&become_command(Some(starting))))?;
    Ok(called.end_as(parent.wait()?))
}

/// Changes to the root and the working directory that were opened before.
fn enter_dirs(options: &Options, root: Option<OwnedFd>, mut wd: Option<OwnedFd>) -> Result<(), Error> {
    if let Some(root) = root {
        // Where we are, unless another place is named.
        if wd.is_none() && options.cwd.is_none() {
            wd = Some(
                open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .tried(|| "cannot open the working directory")?,
            );
        }
        let cannot = || match &options.root {
            Some(Dir::Path(path)) => format!("cannot change the root to {path:?}"),
            _ => "cannot change to the root of the process".to_owned(),
        };
        fchdir(&root).tried(cannot)?;
        chroot(".").tried(cannot)?;
    }
    if let Some(dir) = &options.cwd {
        chdir(dir).tried(|| format!("cannot change to the working directory {dir:?}"))?;
    } else if let Some(wd) = &wd {
        fchdir(wd).tried(|| match &options.wd {
            Some(Dir::Path(path)) => format!("cannot change to the working directory {path:?}"),
            Some(Dir::Its) => "cannot change to the working directory of the process".to_owned(),
            None => "cannot change back to the working directory".to_owned(),
        })?;
    }
    Ok(())
}

/// Those asked for, else 0 and 0 of a user namespace that was entered.
fn take_ids(
    options: &Options,
    process: Option<&OwnedFd>,
    enters_user: bool,
    groups_dropped: bool,
) -> Result<(), Error> {
    let sets_ids = enters_user && !options.preserve;
    let (uid, gid) = follow::ids(options, process, sets_ids.then_some(0))?;
    credentials::set(uid, gid, groups_dropped, options.keep_caps).map_err(|error| match error.errno() {
        libc::EINVAL | libc::EPERM if sets_ids && options.uid.or(options.gid).is_none() => {
            error.hint("--preserve-credentials leaves ids and groups as they are, where they cannot be changed")
        }
        _ => error,
    })?;
    if options.keep_caps && enters_user { credentials::keep_capabilities() } else { Ok(()) }
}

impl Process {
    /// Under its own name the tool takes the PID of a supervisor for its container.
    fn open(named: Named, of_container: bool) -> Result<Self, Error> {
        let candidates = if of_container { named.candidates()? } else { vec![named.pid] };
        let mut refused = None;
        for pid in candidates {
            let cannot = || format!("cannot look at process {pid}");
            let open = || -> Result<Self, Error> {
                let pidfd = process::pidfd(pid).tried(cannot)?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = open(format!("/proc/{pid}"), flags, Mode::empty()).tried(cannot)?;
                if of_container {
                    stat(format!("/proc/{pid}/ns/user")).tried(cannot)?;
                }
                Ok(Self { pid, pidfd, dir })
            };
            match open() {
                Ok(process) if process::has_ended(&process.pidfd) || process::has_ended(&named.pidfd) => {}
                Ok(process) => return Ok(process),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(named.refused(refused.unwrap_or_else(|| Error::new("").because(Errno::ESRCH))))
    }
}

impl Joins {
    fn open(options: &Options, target: Option<&Process>) -> Result<Self, Error> {
        let mut joins = Self { of_process: options.namespaces, others: Vec::new() };
        for (namespace, from) in &options.files {
            let fd = match from {
                Source::Path(path) => open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .tried(|| format!("cannot open the {} namespace {path:?}", namespace.name))?,
                Source::Id(id) => namespace.by_id(*id).map_err(|source| {
                    Error::new(format!("cannot find the {} namespace {id}", namespace.name))
                        .because(source)
                        .hint("namespaces have numbers since Linux 6.18; before 6.19 one is found by a process in it")
                })?,
            };
            joins.others.push((namespace, fd));
        }
        if let Some(number) = options.socket {
            let target = required(target, "net-socket")?;
            let cannot = || format!("cannot take the network namespace of fd {number} of process {}", target.pid);
            let socket = pidfd_getfd(&target.pidfd, number, PidfdGetfdFlags::empty()).tried(cannot)?;
            let fd = namespace::of_socket(&socket).map_err(|errno| {
                let hint = (errno == Errno::ENOTTY).then_some("it is no socket");
                Error::new(cannot()).because(errno).maybe_hint(hint)
            })?;
            joins.others.retain(|(namespace, _)| namespace.flag != namespace::NET.flag);
            joins.others.push((&namespace::NET, fd));
        }
        if options.all {
            joins.add_all(required(target, "all")?)?;
        }
        if joins.of_process != 0 && target.is_none() {
            let missing =
                namespace::ALL.iter().find(|one| joins.of_process & one.flag != 0).map_or("", |one| one.option());
            return Err(Error::new(format!("--{missing} without FILE needs a target PID")).hint("give --target PID"));
        }
        // What is entered by a file is not entered by the PID, too.
        for (namespace, _) in &joins.others {
            joins.of_process &= !namespace.flag;
        }
        Ok(joins)
    }

    fn add_all(&mut self, target: &Process) -> Result<(), Error> {
        let caller = Caller::current()?;
        let privileged = caller.privileged && caller.initial;
        for namespace in namespace::ALL {
            let its = match namespace.inode(Some(target.pid.unsigned_abs())) {
                Ok(inode) => inode,
                // A kernel without.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(rustix::io::Errno::ACCESS) => return Err(not_yours(target.pid)),
                inode => inode
                    .tried(|| format!("cannot look at the {} namespace of process {}", namespace.name, target.pid))?,
            };
            // One's own: of the user namespace the kernel refuses it to all
            // (EINVAL), of the others to who has no rights over it (EPERM).
            let may_be_own = privileged && namespace.flag != namespace::USER.flag;
            if may_be_own || namespace.inode(None) != Ok(its) {
                self.of_process |= namespace.flag;
            }
        }
        Ok(())
    }

    fn flags(&self) -> u64 {
        self.others.iter().fold(self.of_process, |flags, (namespace, _)| flags | namespace.flag)
    }

    /// Replaces the user namespace by the owner of the first one given.
    fn take_owner(&mut self, target: Option<&Process>) -> Result<(), Error> {
        let given = namespace::ALL.iter().find(|one| self.flags() & one.flag != 0).unwrap_or(&&namespace::USER);
        let cannot = || format!("cannot find the user namespace that owns the {} namespace", given.name);
        let file = self.others.iter().find(|(namespace, _)| namespace.flag == given.flag);
        let owner = match (file, target) {
            (Some((_, fd)), _) => namespace::owner(fd),
            (None, Some(target)) => {
                namespace::owner(follow::open(&target.dir, &format!("ns/{}", given.name), OFlags::RDONLY)?)
            }
            (None, None) => return Err(Error::new("--user-parent needs a namespace or a target PID")),
        };
        let owner = owner.map_err(|errno| {
            let above = errno == Errno::EPERM;
            let hint = above.then_some("the initial user namespace has none above it, and one's own none to be seen");
            Error::new(cannot()).because(errno).maybe_hint(hint)
        })?;
        self.of_process &= !namespace::USER.flag;
        self.others.retain(|(namespace, _)| namespace.flag != namespace::USER.flag);
        self.others.push((&namespace::USER, owner));
        Ok(())
    }

    /// All of them; the user namespace last, if the others can be entered from
    /// here, which takes rights away, else first, which gives them.
    fn enter(&self, target: Option<&Process>) -> Result<(), Error> {
        let user = namespace::USER.flag;
        let of_process = target.map(|target| (target.pidfd.as_fd(), self.of_process));
        let others = self.others.iter().map(|(namespace, fd)| (fd.as_fd(), namespace.flag));
        let mut joins: Vec<_> = of_process.into_iter().chain(others).filter(|(_, flags)| *flags != 0).collect();
        if self.flags() & user != 0 {
            for (fd, flags) in &mut joins {
                if *flags & !user != 0 && set(*fd, *flags & !user).is_ok() {
                    *flags &= user;
                }
            }
            joins.sort_by_key(|(_, flags)| flags & user == 0);
        }
        let mut left = joins.into_iter().filter(|(_, flags)| *flags != 0);
        left.try_for_each(|(fd, flags)| set(fd, flags).map_err(|errno| refused(flags, errno)))
    }
}

fn set(fd: impl AsFd, flags: u64) -> Result<(), Errno> {
    setns(fd, CloneFlags::from_bits_retain(flags as i32))
}

fn refused(flags: u64, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EPERM if flags & namespace::USER.flag == 0 => {
            Some("only root may do that, or who owns the user namespace above them: enter that, too (--user)")
        }
        Errno::EPERM => Some("only root may do that, or who owns that user namespace"),
        Errno::EINVAL if flags & namespace::USER.flag != 0 => Some("one's own user namespace cannot be entered again"),
        Errno::EINVAL => Some("a file is no namespace of that type, or the kernel has none of it"),
        _ => None,
    };
    Error::new(format!("cannot enter the {}", namespace::names(flags))).because(errno).maybe_hint(hint)
}

fn required<'a>(target: Option<&'a Process>, option: &str) -> Result<&'a Process, Error> {
    target.ok_or_else(|| Error::new(format!("--{option} needs a target PID")).hint("give --target PID"))
}

/// Opens the directory, whose name among the files of the process is `its`.
pub fn open_dir(dir: &Dir, its: &str, process: Option<&OwnedFd>) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match dir {
        Dir::Its => {
            let process = process.ok_or_else(|| Error::new(format!("there is no process whose {its} to take")));
            follow::open(process.map_err(|error| error.hint("give --target PID"))?, its, flags)
        }
        Dir::Path(path) => {
            open(path, flags | OFlags::CLOEXEC, Mode::empty()).tried(|| format!("cannot open the directory {path:?}"))
        }
    }
}

/// Whether someone who sees us in the PID or mount namespace of the target could
/// write to this program's file, if he found it in /proc (CVE-2019-5736).
fn exposes_own_program(flags: u64, target: Option<&Process>) -> Result<bool, Error> {
    let Some(target) = target else { return Ok(true) };
    let inode = |fd: &OwnedFd| fstat(fd).map(|stat| stat.st_ino).ok();
    let open = |name: &str| follow::open(&target.dir, name, OFlags::RDONLY);
    // Who may not look will be told so when he enters.
    let Ok(user) = open("ns/user") else { return Ok(true) };
    // Of a namespace between it and ours, or of one that owns what is entered,
    // the target's map would tell nothing.
    let parent = namespace::owner(&user).ok().as_ref().and_then(inode);
    let own = namespace::USER.inode(None).ok();
    let mut seen_in = [&namespace::PID, &namespace::MNT].into_iter().filter(|one| flags & one.flag != 0);
    let is_its_own = |one: &Namespace| {
        let owner = open(&format!("ns/{}", one.name)).ok().and_then(|fd| namespace::owner(fd).ok());
        owner.as_ref().and_then(inode) == inode(&user)
    };
    if parent != own || !seen_in.all(is_its_own) {
        return Ok(true);
    }
    let map = |file: &str| {
        let path = PathBuf::from(format!("/proc/{}/{file}", target.pid));
        fs::read_to_string(&path).map(|text| IdMap::from_proc(&text)).tried(|| format!("cannot read {path:?}"))
    };
    let (uids, gids) = (map("uid_map")?, map("gid_map")?);
    seal::own::is_exposed(|uid| uids.has_outside(uid), |gid| gids.has_outside(gid))
}

/// Nobody may look into this process; each change of credentials sets this to
/// fs.suid_dumpable.
pub fn undumpable() -> Result<(), Error> {
    nix::sys::prctl::set_dumpable(false).tried(|| "cannot become undumpable")
}
