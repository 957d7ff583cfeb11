//! A cgroup from systemd: a transient scope unit around this process.
//!
//! Under systemd the cgroups are the manager's, which may put each back as it
//! thinks it should be, but for those it has delegated
//! (<https://systemd.io/CGROUP_DELEGATION>). What `systemd-run --scope` asks it
//! for is asked here over its private socket, which is there without a D-Bus
//! daemon.

mod dbus;

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{geteuid, getpid};
use rustix::rand::{GetRandomFlags, getrandom};
use seal::{Context, Error};

use dbus::{Connection, Message, Reader, Writer};

/// How long a manager may take, from the connection to the scope.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether systemd is the init here, as sd_booted(3) has it.
pub fn runs() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
}

/// Whether the system's manager has delegated the cgroup directory `dir` to the
/// caller. It marks the units with `Delegate=yes`, since systemd 251 so that a
/// user can read it. The manager of a user marks none.
pub fn is_delegated(dir: &Path) -> bool {
    let marked = |name: &str| {
        let mut value = [0; 8];
        rustix::fs::getxattr(dir, name, &mut value).is_ok_and(|length| &value[..length] == b"1")
    };
    rustix::fs::stat(dir).is_ok_and(|found| found.st_uid == geteuid().as_raw())
        && (marked("trusted.delegate") || marked("user.delegate"))
}

/// Puts this process into a new scope unit with `Delegate=yes`, in the slice
/// that it is in: on return its cgroup is the scope's and belongs to the caller,
/// with every controller that the manager has. The scope ends with the last
/// process in it. Root asks the system's manager, another user his own.
pub fn scope() -> Result<(), Error> {
    let uid_map = read_to_string("/proc/self/uid_map").tried(|| "cannot read \"/proc/self/uid_map\"")?;
    let uid = above(&uid_map, geteuid().as_raw());
    let own = read_to_string("/proc/self/cgroup").tried(|| "cannot read \"/proc/self/cgroup\"")?;
    let init = read_to_string("/proc/1/cgroup").unwrap_or_default();
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::INSECURE).tried(|| "cannot get random bytes")?;
    // Not named as the cgroups that the next run sweeps.
    let unit = format!("run-limit-{}-{:016x}.scope", getpid().as_raw_nonzero(), u64::from_ne_bytes(random));
    let request = start_transient_unit(&unit, slice(&own, &init, uid).as_deref());
    start(reach(uid)?, &unit, &request)
}

/// The uid that `uid` is in the user namespace above, where the manager is.
fn above(uid_map: &str, uid: u32) -> u32 {
    let extent = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, lower, count) = (words.next()??, words.next()??, words.next()??);
        uid.checked_sub(inside).filter(|&offset| offset < count)?.checked_add(lower)
    };
    uid_map.lines().find_map(extent).unwrap_or(uid)
}

/// The slice unit that a process with this /proc/PID/cgroup is in, as the manager
/// of `uid` knows it: `systemd-run --slice-inherit` does the same. None where it
/// is not one of that manager's. `init` is the /proc/PID/cgroup of PID 1, which
/// tells where the system's manager has its own.
fn slice(own: &str, init: &str, uid: u32) -> Option<String> {
    let own = group(own)?;
    let below = if uid == 0 {
        own.strip_prefix(group(init)?.trim_end_matches("/init.scope").trim_end_matches('/'))?
    } else {
        own.split_once(&format!("/user@{uid}.service"))?.1
    };
    let slices = below.strip_prefix('/')?.split('/').take_while(|name| name.ends_with(".slice"));
    // An underscore keeps apart what would be a file of the kernel's.
    slices.last().map(|name| name.strip_prefix('_').unwrap_or(name).to_owned())
}

/// The path in systemd's own hierarchy of these lines of a /proc/PID/cgroup.
fn group(lines: &str) -> Option<&str> {
    let of = |name: &str| lines.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(name));
    of("name=systemd:").or_else(|| of(":"))
}

/// Connects to the manager of `uid`. XDG_RUNTIME_DIR counts first, but may be
/// another user's: su(1) leaves it as it was.
fn reach(uid: u32) -> Result<Connection, Error> {
    let deadline = Instant::now() + PATIENCE;
    let usual = if uid == 0 { PathBuf::from("/run") } else { format!("/run/user/{uid}").into() };
    let told = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| uid != 0 && !dir.is_empty()).map(PathBuf::from);
    let open = |dir: &Path| Connection::open(&dir.join("systemd/private"), deadline);
    if let Some(manager) = told.and_then(|dir| open(&dir).ok()) {
        return Ok(manager);
    }
    open(&usual).map_err(|error| {
        let hint = match uid {
            0 => "systemd lets in only root of the system it runs".to_owned(),
            _ => format!(
                "a login starts one, and so does loginctl enable-linger {uid}; XDG_RUNTIME_DIR says where it is"
            ),
        };
        let socket = usual.join("systemd/private");
        Error::new(format!("no systemd manager answers at {socket:?}")).because(error).hint(hint)
    })
}

/// Sends the request and waits until the unit has started, or has not.
fn start(mut manager: Connection, unit: &str, request: &[u8]) -> Result<(), Error> {
    manager.log_in()?;
    manager.send(request)?;
    loop {
        let message = manager.receive()?;
        let no_scope =
            |why: String| Error::new(format!("the systemd manager at {:?} makes no scope: {why}", manager.socket));
        if message.kind == dbus::ERROR {
            let text = Reader::new(&message.body).string().unwrap_or_default();
            return Err(no_scope(format!("{text} ({})", message.error)));
        }
        match job_result(&message, unit).as_deref() {
            None => {}
            Some("done") => return Ok(()),
            Some(result) => {
                let hint = format!("journalctl -u {unit}, or --user-unit for a user's own, says why");
                return Err(no_scope(format!("its job is {result}")).hint(hint));
            }
        }
    }
}

/// The message that asks for the scope.
fn start_transient_unit(unit: &str, slice: Option<&str>) -> Vec<u8> {
    let mut body = Writer::default();
    body.string(unit);
    body.string("fail"); // should a job for it be queued
    body.array(8, |properties| {
        properties.property("Description", "s", |value| value.string("What limit runs"));
        properties.property("Delegate", "b", |value| value.number(1));
        // Forgotten when it has ended, however it did.
        properties.property("CollectMode", "s", |value| value.string("inactive-or-failed"));
        // 0 is the sender, whatever his number is in the manager's PID namespace.
        properties.property("PIDs", "au", |value| value.array(4, |pids| pids.number(0)));
        if let Some(slice) = slice {
            properties.property("Slice", "s", |value| value.string(slice));
        }
    });
    body.array(8, |_| {}); // no further units
    dbus::call("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
}

/// How the job of `unit` has ended, if this is the signal that says so: its
/// number, path, unit and result.
fn job_result(message: &Message, unit: &str) -> Option<String> {
    if (message.kind, message.member.as_str()) != (dbus::SIGNAL, "JobRemoved") {
        return None;
    }
    let mut reader = Reader::new(&message.body);
    let (_number, _path, of) = (reader.number()?, reader.string()?, reader.string()?);
    if of == unit { reader.string() } else { None }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_slice_is_the_last_before_the_unit() {
        let system = |path: &str| slice(&format!("0::{path}\n"), "0::/init.scope\n", 0);
        assert_eq!(system("/system.slice/cron.service").as_deref(), Some("system.slice"));
        assert_eq!(system("/user.slice/user-1000.slice/session-3.scope").as_deref(), Some("user-1000.slice"));
        assert_eq!(
            system("/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope").as_deref(),
            Some("user-1000.slice"),
            "what is below is another manager's"
        );
        assert_eq!(system("/_cpu.slice/a.service").as_deref(), Some("cpu.slice"));
        assert_eq!(system("/init.scope"), None);
        assert_eq!(system("/"), None);
    }

    #[test]
    fn a_users_slice_is_below_his_manager() {
        let of = |path: &str| slice(&format!("0::{path}\n"), "0::/init.scope\n", 1000);
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(of(&format!("{manager}/app.slice/app-a.slice/b.scope")).as_deref(), Some("app-a.slice"));
        assert_eq!(of(&format!("{manager}/init.scope")), None);
        assert_eq!(of("/user.slice/user-1000.slice/session-3.scope"), None);
        assert_eq!(of("/user.slice/user-1001.slice/user@1001.service/app.slice/a.scope"), None);
    }

    #[test]
    fn the_managers_own_cgroup_does_not_count() {
        let init = "0::/machine.slice/box.service/payload/init.scope\n";
        let own = "0::/machine.slice/box.service/payload/system.slice/a.service\n";
        assert_eq!(slice(own, init, 0).as_deref(), Some("system.slice"));
        assert_eq!(slice("0::/other.slice/a.service\n", init, 0), None);
    }

    #[test]
    fn systemds_own_hierarchy_comes_first() {
        let lines = "3:memory:/elsewhere.slice\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(slice(lines, "1:name=systemd:/init.scope\n0::/\n", 0).as_deref(), Some("system.slice"));
    }

    #[test]
    fn the_uid_is_the_one_above() {
        assert_eq!(above("         0          0 4294967295\n", 1000), 1000);
        assert_eq!(above("         0       1000          1\n         1     100000      65536\n", 0), 1000);
        assert_eq!(above("         0       1000          1\n         1     100000      65536\n", 33), 100_032);
        assert_eq!(above("", 5), 5);
    }

    #[test]
    fn only_the_job_of_the_unit_counts() {
        let mut body = b"\x01\0\0\0\x02\0\0\0/j\0\0\x07\0\0\0a.scope\0\x04\0\0\0done\0".to_vec();
        if cfg!(target_endian = "big") {
            [0, 4, 12, 24].into_iter().for_each(|at| body[at..at + 4].reverse());
        }
        let mut message = Message { kind: dbus::SIGNAL, member: "JobRemoved".into(), body, ..Message::default() };
        assert_eq!(job_result(&message, "a.scope").as_deref(), Some("done"));
        assert_eq!(job_result(&message, "b.scope"), None);
        message.member = "JobNew".into();
        assert_eq!(job_result(&message, "a.scope"), None);
    }

    /// What a manager that says this, and hears everything, makes of a request.
    #[cfg(target_endian = "little")]
    fn met(says: &[u8], more_to_come: bool, patience: Duration) -> String {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(says).unwrap();
        if !more_to_come {
            theirs.shutdown(Shutdown::Write).unwrap();
        }
        let manager = Connection::over(ours, Path::new("/private"), Instant::now() + patience);
        let result = start(manager, "a.scope", &start_transient_unit("a.scope", None));
        result.map_or_else(|error| error.render("limit"), |()| "done".to_owned())
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn every_answer_has_its_own_message() {
        let after_login = |message: &[u8]| met(&[b"DATA\r\nOK 0123\r\n", message].concat(), false, PATIENCE);
        let removed = |unit: &[u8; 7], result: &[u8; 4]| {
            let body = [b"\x01\0\0\0\x02\0\0\0/j\0\0\x07\0\0\0", &unit[..], b"\0\x04\0\0\0", result, b"\0"].concat();
            let fields = b"\x03\x01s\0\x0a\0\0\0JobRemoved\0\0\0\0\0\0";
            [&b"l\x04\x01\x01\x21\0\0\0\x05\0\0\0\x13\0\0\0"[..], fields, &body].concat()
        };
        assert_eq!(after_login(&removed(b"a.scope", b"done")), "done");
        let failed = after_login(&[removed(b"b.scope", b"done"), removed(b"a.scope", b"fail")].concat());
        assert!(
            failed.starts_with("limit: the systemd manager at \"/private\" makes no scope: its job is fail\n"),
            "{failed}"
        );
        assert_eq!(
            after_login(
                b"l\x03\x01\x01\x08\0\0\0\x05\0\0\0\x0c\0\0\0\x04\x01s\0\x03\0\0\0a.B\0\0\0\0\0\x03\0\0\0no!\0"
            ),
            "limit: the systemd manager at \"/private\" makes no scope: no! (a.B)\n"
        );
        assert_eq!(after_login(&[b'x'; 16]), "limit: cannot understand the systemd manager at \"/private\"\n");
        assert_eq!(
            met(b"REJECTED\r\n", false, PATIENCE),
            "limit: the systemd manager at \"/private\" does not let this user in: \"REJECTED\"\n"
        );
        let no_answer = "limit: no answer from the systemd manager at \"/private\": ";
        assert_eq!(after_login(b""), format!("{no_answer}Connection reset by peer\n"));
        assert_eq!(met(b"DATA\r\n", true, Duration::from_millis(10)), format!("{no_answer}Connection timed out\n"));
    }
}
