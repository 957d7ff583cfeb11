//! What the rows find: the probe, a root for it, and processes to enter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use nix::unistd::{Pid, getpgrp, getsid};
use tests::{Running, TempDir, Who, copy_program};

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Where one caller's rows run.
pub struct World {
    who: Who,
    dir: TempDir,
    /// What stands for what in a row.
    values: BTreeMap<&'static str, String>,
    /// Namespaces by their inodes.
    namespaces: BTreeMap<String, String>,
    /// Their processes end with this; no one uses them, so that the lock is for the compiler.
    targets: Mutex<Vec<Running>>,
}

impl World {
    /// A new one; everything in it goes with the value.
    pub fn new(who: &Who) -> Self {
        // Others enter it as well: commands of root that changed their ids.
        let dir = TempDir::new(std::env::temp_dir(), who);
        fs::set_permissions(&*dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let tools = PathBuf::from(std::env::var_os("NSTOOLS_BIN").expect("NSTOOLS_BIN is not set: run tests/run"));
        for (side, unshare, nsenter) in [
            ("ours", tools.join("isolate"), tools.join("inject")),
            ("debian", "/usr/bin/unshare".into(), "/usr/bin/nsenter".into()),
        ] {
            fs::create_dir(dir.join(side)).unwrap();
            symlink(unshare, dir.join(side).join("unshare")).unwrap();
            symlink(nsenter, dir.join(side).join("nsenter")).unwrap();
        }
        copy_program(env!("CARGO_BIN_EXE_probe"), dir.join("probe"));
        make_root(who, &dir.join("root"));
        fs::write(dir.join("text"), "no program\n").unwrap();
        fs::create_dir(dir.join("empty")).unwrap();
        let mut world = Self {
            who: who.clone(),
            dir,
            values: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            targets: Mutex::default(),
        };
        world.name_namespaces("caller", Path::new("/proc/self/ns"));
        world.values.extend([
            ("UID", who.uid.to_string()),
            ("GID", who.gid.to_string()),
            ("NAME", who.name.clone()),
            ("HOME", who.home.display().to_string()),
            ("DIR", world.dir.display().to_string()),
            ("ROOT", world.dir.join("root").display().to_string()),
            // Larger than any: /proc/sys/kernel/pid_max is at most this.
            ("NOPID", (1 << 22).to_string()),
            ("SELF", std::process::id().to_string()),
            ("ALLCAPS", all_capabilities()),
        ]);
        if !who.is_root() {
            let (uids, gids) = (who.first_subuid(), first_subgid(who));
            let numbers = [
                ("SUB", uids),
                ("SUB+5", uids + 5),
                ("SUB+UID", uids + who.uid),
                ("UID+1", who.uid + 1),
                ("65536-UID", 65536 - who.uid),
                ("SUBGID", gids),
                ("SUBGID+GID", gids + who.gid),
                ("GID+1", who.gid + 1),
                ("65536-GID", 65536 - who.gid),
            ];
            world.values.extend(numbers.map(|(name, number)| (name, number.to_string())));
        }
        world.start_targets();
        world
    }

    fn start_targets(&mut self) {
        let wait = "cd /usr && export TARGET=yes && echo ready && read word";
        let all = ["-m", "-u", "-i", "-n", "-p", "-f", "-C", "-T", "--kill-child", "--mount-proc"];
        // A single gid in the map would deny setgroups(2), which entering calls.
        let ids = if self.who.is_root() { &["-Ur"][..] } else { &["-Ur", "--map-auto"] };
        let mut full = self.who.command("/usr/bin/unshare");
        full.args(if self.who.is_root() { &[] } else { ids }).args(all).args(["sh", "-c", wait]);
        self.target("FULL", full, true);
        let mut own_ids = self.who.command("/usr/bin/unshare");
        own_ids.args(ids).args(all).args(["sh", "-c", wait]);
        self.target("IDS", own_ids, true);
        let mut deny = self.who.command("/usr/bin/unshare");
        deny.arg("-Ur").args(all).args(["sh", "-c", wait]);
        self.target("DENY", deny, true);
        // Shares what -n does not make.
        let mut some = self.who.command("/usr/bin/unshare");
        some.args(ids).args(["-n", "sh", "-c", wait]);
        self.target("SOME", some, false);
        let mut plain = self.who.command("/bin/sh");
        plain.args(["-c", wait]).env("PLAIN", "1").env_remove("HOME");
        self.target("PLAIN", plain, false);
        let mut chroot = self.who.command("/usr/bin/unshare");
        chroot.args(if self.who.is_root() { &[] } else { ids }).args([
            "-m",
            "-R",
            &self.values["ROOT"],
            "/bin/sh",
            "-c",
            "cd /tmp && echo ready && read word",
        ]);
        self.target("CHROOT", chroot, false);
        let mut time = self.who.command("/usr/bin/unshare");
        time.args(ids).args(["-T", "--monotonic=1000", "--boottime=2000", "-f", "--kill-child", "sh", "-c", wait]);
        self.target("CLOCK", time, true);
    }

    /// Starts a process to enter: the command's, or with `forks` its child.
    fn target(&mut self, name: &'static str, mut command: Command, forks: bool) {
        let running = Running::ready(&mut command);
        let pid = if forks { running.guard().expect("it forked") } else { running.pid() as i32 };
        self.values.insert(name, pid.to_string());
        self.name_namespaces(&name.to_lowercase(), &PathBuf::from(format!("/proc/{pid}/ns")));
        self.targets.get_mut().unwrap().push(running);
    }

    fn name_namespaces(&mut self, owner: &str, dir: &Path) {
        for namespace in NAMESPACES {
            let inode = fs::metadata(dir.join(namespace)).unwrap().ino().to_string();
            self.namespaces.entry(inode).or_insert_with(|| owner.to_owned());
        }
    }

    /// A row's text with the values in it.
    pub fn expand(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| text.replace(&format!("{{{name}}}"), value);
        self.values.iter().fold(text.to_owned(), fill)
    }

    /// `under TOOL ARGS`, the tool being found in the directory of its side.
    pub fn command(&self, side: &str, under: &[String], tool: &str, args: &[String]) -> Command {
        let probe = self.dir.join("probe").display().to_string();
        let args = args.iter().map(|arg| if arg == "@" { probe.clone() } else { arg.replace("@@", &probe) });
        let mut command = match under {
            [program, rest @ ..] => {
                let mut command = self.who.command(program);
                command.args(rest).arg(tool);
                command
            }
            [] => self.who.command(tool),
        };
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.dir.join(side).display());
        command.args(args).env("PATH", path);
        command
    }

    /// What the probe said, with names for what differs from run to run.
    pub fn observation(&self, text: &str, side: &str, spawned: u32) -> BTreeMap<String, String> {
        let text = self.without_side(text, side);
        let Some(lines) = text.strip_prefix("probe\n") else {
            return BTreeMap::from([("out".to_owned(), text)]);
        };
        let mut new = Vec::new();
        let mut seen = BTreeMap::new();
        for line in lines.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let value = match key {
                key if key.starts_with("ns.") && value != "none" => {
                    self.namespaces.get(value).cloned().unwrap_or_else(|| numbered(&mut new, value))
                }
                "pid" | "ppid" | "sid" | "pgid" => pid_name(value, spawned),
                "root.file" | "cwd.file" => self.file_name(value),
                _ => value.to_owned(),
            };
            seen.insert(key.to_owned(), value);
        }
        seen
    }

    /// A text without the directory of the side that it comes from.
    pub fn without_side(&self, text: &str, side: &str) -> String {
        text.replace(&*self.dir.join(side).to_string_lossy(), "{BIN}")
    }

    fn file_name(&self, value: &str) -> String {
        for (name, path) in [("host's /", Path::new("/")), ("the new root", &self.dir.join("root"))] {
            let meta = fs::metadata(path).unwrap();
            if value == format!("{}:{}", meta.dev(), meta.ino()) {
                return name.to_owned();
            }
        }
        value.to_owned()
    }
}

/// The first id of his range in /etc/subgid.
fn first_subgid(who: &Who) -> u32 {
    let text = fs::read_to_string("/etc/subgid").expect("/etc/subgid can be read");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{}:", who.name)));
    let first = line.and_then(|line| line.split(':').next()?.parse().ok());
    first.unwrap_or_else(|| panic!("{} has no subordinate groups: run tests/run", who.name))
}

/// What the first process of a user namespace has.
fn all_capabilities() -> String {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("there is a /proc");
    format!("{:x}", (2u64 << last.trim().parse::<u32>().expect("it is a number")) - 1)
}

/// One name for each namespace that is no one's but the command's.
fn numbered(new: &mut Vec<String>, inode: &str) -> String {
    let at = new.iter().position(|known| known == inode).unwrap_or_else(|| {
        new.push(inode.to_owned());
        new.len() - 1
    });
    format!("new {}", at + 1)
}

fn pid_name(value: &str, spawned: u32) -> String {
    let number: i32 = value.parse().unwrap_or(-1);
    let name = match number {
        0 | 1 => return value.to_owned(),
        pid if pid == spawned as i32 => "the tool's",
        pid if Pid::from_raw(pid) == Pid::this() => "the caller's",
        pid if getsid(None) == Ok(Pid::from_raw(pid)) => "the session's",
        pid if getpgrp() == Pid::from_raw(pid) => "the group's",
        _ => "other",
    };
    name.to_owned()
}

/// A root with busybox and the probe, which the caller may enter.
fn make_root(who: &Who, root: &Path) {
    for dir in ["", "bin", "proc", "tmp", "etc", "dev"] {
        fs::create_dir(root.join(dir)).unwrap();
        who.give(root.join(dir));
    }
    copy_program("/bin/busybox", root.join("bin/busybox"));
    for applet in ["sh", "pwd", "cat"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    copy_program(env!("CARGO_BIN_EXE_probe"), root.join("probe"));
}
