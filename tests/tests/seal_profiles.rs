//! Profiles in JSON: Podman's own, and each part of one.
#![forbid(unsafe_code)]

mod attempts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use attempts::{Attempts, told};
use tests::{Run, TempDir, Who, both};

/// Made once and kept, since it is fetched; `make` is a script for `$1`.
fn made_once(name: &str, make: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !path.exists() {
        let made = Command::new("sh").args(["-euc", make, "sh"]).arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "{name} cannot be made");
    }
    path
}

/// The default profile of Docker and Podman, as Debian has it.
fn podmans() -> String {
    static PROFILE: OnceLock<String> = OnceLock::new();
    let make = "temp=$(mktemp -d); cd $temp; package=golang-github-containers-common
        apt-get -qq download $package 2>/dev/null || { apt-get -qq update; apt-get -qq download $package; }
        dpkg -x ./*.deb tree; mv tree/usr/share/containers/seccomp.json $1; rm -r $temp";
    PROFILE.get_or_init(|| fs::read_to_string(made_once("seccomp.json", make)).unwrap()).clone()
}

/// A Debian with python3 and git, unpacked for the caller.
fn debian_with_git(who: &Who) -> TempDir {
    static MAKE: OnceLock<PathBuf> = OnceLock::new();
    let tar = MAKE.get_or_init(|| {
        let make =
            "mmdebstrap --quiet --variant=minbase --include=git,python3-minimal bookworm $1.new.tar; mv $1.new.tar $1";
        made_once("debian-with-git.tar", make)
    });
    let dir = who.dir();
    let unpack = "mkdir $0/root && exec tar -xf - --numeric-owner -C $0/root --exclude=./dev/*";
    let mut command = if who.is_root() { who.command("sh") } else { who.tool("pseudo") };
    let arguments: &[&str] = if who.is_root() { &[] } else { &["sh"] };
    let tar = fs::File::open(tar).unwrap();
    let status = command.args(arguments).args(["-c", unpack]).arg(&*dir).stdin(tar).status();
    assert!(status.is_ok_and(|status| status.success()), "it cannot be unpacked");
    dir
}

/// A profile whose default is to allow, with these groups.
fn allowing(groups: &str) -> String {
    format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{groups}]}}")
}

#[test]
fn podmans_profile_acts() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.file("profile.json", podmans());
        let steps = [
            "getppid",
            // NETLINK_AUDIT needs CAP_AUDIT_WRITE in the profile, and nothing in the kernel.
            "socket(16,3,9)",
            "9999",
            "child:x32:getppid",
            "child:i386:20",
            "personality(0xffffffff)",
            "personality(0x55)",
            "permit",
            "9999",
        ];
        let killed = "child killed by 31, child killed by 31";
        let none = format!("ok, EINVAL, ENOSYS, {killed}, ok, ENOSYS, ok, ENOSYS");
        let ran = attempts.seal(&["--syscalls", "profile.json", "--caps", "none"], &steps).ran();
        assert_eq!(told(&ran), none);
        let ran = attempts.seal(&["--syscalls", "profile.json"], &steps).ran();
        let with_caps = if who.is_root() { none.replacen("EINVAL", "ok", 1) } else { none };
        assert_eq!(told(&ran), with_caps);
    });
}

#[test]
fn a_debian_works_under_podmans_profile() {
    both(|who| {
        let attempts = Attempts::new(who);
        let profile = attempts.file("profile.json", podmans());
        let dir = debian_with_git(who);
        let run = |script: &str| {
            let mut command = who.tool("contain");
            command.arg("--syscalls").arg(&profile).arg(dir.join("root")).args(["sh", "-c", script]);
            command.ran().out()
        };
        assert_eq!(run("echo \"$(id -u)\" | cat; grep Seccomp: /proc/self/status"), "0\nSeccomp:\t2");
        assert!(run("apt-get --version").starts_with("apt 2."));
        assert!(run("python3 --version").starts_with("Python 3."));
        let script = "import os, socket, threading; t = threading.Thread(target=print, args=('thread',), kwargs=dict(flush=True)); t.start()
t.join(); socket.socket(); os.system('echo shell')";
        assert_eq!(run(&format!("python3 -c \"{script}\"")), "thread\nshell");
        let git = "cd /tmp && git init -q one && cd one && echo text >file && git add file
            git -c user.name=n -c user.email=n@example.org commit -qm first && git clone -q . ../two && git -C ../two log --format=%s";
        assert_eq!(run(git), "first");
        // And the profile holds: no kernel modules, no clock, no way to undo it.
        let attempt = "cat >/tmp/attempt && chmod +x /tmp/attempt && /tmp/attempt";
        let mut command = who.tool("contain");
        command.arg("--syscalls").arg(&profile).arg(dir.join("root"));
        command.args(["sh", "-c", &format!("{attempt} permit 9999 child:x32:getppid")]);
        let ran = command.ran_with(&fs::read(env!("CARGO_BIN_EXE_attempt")).unwrap());
        assert_eq!(told(&ran), "ok, ENOSYS, child killed by 31");
    });
}

/// A group of calls, what is tried, and what comes of it, under a default of ALLOW.
const GROUPS: [(&str, &[&str], &str); 20] = [
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\"}", &["getppid", "getuid"], "EPERM, ok"),
    ("{\"name\": \"getppid\", \"action\": \"SCMP_ACT_ERRNO\"}", &["getppid", "getuid"], "EPERM, ok"),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5, \"errno\": \"EIO\", \"comment\": \"c\"}",
        &["getppid"],
        "EIO",
    ),
    ("{\"names\": [\"nosuch\", \"getppid\", \"sgetmask\"], \"action\": \"SCMP_ACT_ERRNO\"}", &["getppid"], "EPERM"),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_KILL\"}", &["thread:getppid", "getuid"], "thread killed, ok"),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_KILL_THREAD\"}",
        &["thread:getppid", "getuid"],
        "thread killed, ok",
    ),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_KILL_PROCESS\"}", &["thread:getppid", "getuid"], "= 159"),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_TRAP\"}", &["handle", "getppid"], "ok, SIGSYS 0 by {N}"),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"errno\": \"EIO\"}", &["getppid"], "EIO"),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_TRACE\", \"errnoRet\": 3}", &["getppid"], "ENOSYS"),
    ("{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_LOG\"}", &["getppid"], "ok"),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5}, {\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 6}",
        &["getppid"],
        "EIO",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": {\"arches\": [\"{ARCH}\"]}}",
        &["getppid"],
        "EPERM",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": {\"arches\": [\"s390x\", \"ppc64le\"]}}",
        &["getppid"],
        "ok",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"excludes\": {\"arches\": [\"s390x\", \"{ARCH}\"]}}",
        &["getppid"],
        "ok",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"excludes\": {\"arches\": [\"s390x\"]}}",
        &["getppid"],
        "EPERM",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": {\"minKernel\": \"4.8\"}}",
        &["getppid"],
        "EPERM",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": {\"minKernel\": \"999.0\"}}",
        &["getppid"],
        "ok",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"excludes\": {\"minKernel\": \"4.8\"}}",
        &["getppid"],
        "ok",
    ),
    (
        "{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": {}, \"excludes\": {}, \"args\": []}",
        &["getppid"],
        "EPERM",
    ),
];

#[test]
fn every_part_of_a_group() {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    both(|who| {
        let attempts = Attempts::new(who);
        for (group, steps, expected) in GROUPS {
            attempts.file("profile.json", allowing(&group.replace("{ARCH}", arch)));
            let ran = attempts.seal(&["--syscalls", "profile.json"], steps).ran();
            assert_eq!(told(&ran), expected.replace("{N}", &libc::SYS_getppid.to_string()), "{group}: {ran:?}");
        }
    });
}

/// Tests of arguments of `lseek(99, offset, whence)`; offset and whence that meet them, and that do not.
const ARGS: [(&str, &[&str], &[&str]); 12] = [
    ("1 SCMP_CMP_EQ 3", &["3"], &["4", "0x100000003"]),
    ("1 SCMP_CMP_NE 3", &["4", "0x100000003"], &["3"]),
    ("1 SCMP_CMP_LT 3", &["2", "0"], &["3", "0x100000000"]),
    ("1 SCMP_CMP_LE 3", &["3", "2"], &["4", "-1"]),
    ("1 SCMP_CMP_GT 3", &["4", "0x100000000"], &["3"]),
    ("1 SCMP_CMP_GE 3", &["3", "-1"], &["2"]),
    ("1 SCMP_CMP_MASKED_EQ 6 2", &["2", "3", "0x10a"], &["4", "6", "0"]),
    ("1 SCMP_CMP_GT 8589934592", &["0x200000001"], &["0x200000000", "5"]),
    // 4 bytes are the low ones.
    ("2 SCMP_CMP_EQ 3", &["0,3", "0,0x100000003"], &["0,4"]),
    // Each of several must hold, but on one argument any.
    ("1 SCMP_CMP_EQ 3;2 SCMP_CMP_EQ 1", &["3,1"], &["3,2", "4,1"]),
    ("1 SCMP_CMP_EQ 3;1 SCMP_CMP_EQ 4", &["3", "4"], &["5"]),
    ("1 SCMP_CMP_GT 3;1 SCMP_CMP_EQ 2;2 SCMP_CMP_EQ 7", &["4", "2", "0,7"], &["3"]),
];

#[test]
fn every_operator() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (tests, meets, does_not) in ARGS {
            let test = |text: &str| {
                let words: Vec<&str> = text.split(' ').collect();
                let two = words.get(3).map_or_else(String::new, |two| format!(", \"valueTwo\": {two}"));
                format!("{{\"index\": {}, \"op\": \"{}\", \"value\": {}{two}}}", words[0], words[1], words[2])
            };
            let args = tests.split(';').map(test).collect::<Vec<_>>().join(", ");
            let group = format!(
                "{{\"names\": [\"lseek\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5, \"args\": [{args}]}}"
            );
            attempts.file("profile.json", allowing(&group));
            for (list, expected) in [(meets, "EIO"), (does_not, "EBADF")] {
                let steps: Vec<String> = list.iter().map(|rest| format!("lseek(99,{rest})")).collect();
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                let ran = attempts.seal(&["--syscalls", "profile.json"], &steps).ran();
                assert_eq!(told(&ran), vec![expected; steps.len()].join(", "), "{tests}: {list:?}");
            }
        }
    });
}

#[test]
fn by_the_capabilities_that_the_command_has() {
    both(|who| {
        let attempts = Attempts::new(who);
        // Others are to execute what is in it.
        attempts.sh("chmod 755 .").ran().out();
        let group = |call: &str, filter: &str| {
            format!("{{\"names\": [\"{call}\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5, {filter}}}")
        };
        let groups = [
            group("getppid", "\"includes\": {\"caps\": [\"CAP_KILL\"]}"),
            group("getuid", "\"excludes\": {\"caps\": [\"CAP_KILL\"]}"),
            group("getgid", "\"includes\": {\"caps\": [\"CAP_KILL\", \"CAP_CHOWN\"]}"),
            group("getegid", "\"excludes\": {\"caps\": [\"CAP_SYS_ADMIN\", \"CAP_CHOWN\"]}"),
        ];
        attempts.file("profile.json", allowing(&groups.join(", ")));
        let none = "ok, EIO, ok, EIO";
        let cases: &[(&[&str], &str)] = match who.is_root() {
            true => &[
                (&[], "EIO, ok, EIO, ok"),
                (&["--caps", "none"], none),
                (&["--caps", "none,+kill"], "EIO, ok, ok, EIO"),
                (&["--caps", "all,-kill"], "ok, EIO, ok, ok"),
                (&["--as", "65534:65534"], none),
                (&["--as", "65534:65534", "--caps", "none,+kill,+chown"], "EIO, ok, EIO, ok"),
            ],
            false => &[(&[], none), (&["--caps", "none"], none)],
        };
        for (options, expected) in cases {
            let options = [&["--syscalls", "profile.json"], *options].concat();
            let ran = attempts.seal(&options, &["getppid", "getuid", "getgid", "getegid"]).ran();
            assert_eq!(told(&ran), *expected, "{options:?}: {}", ran.stderr);
        }
    });
}

#[test]
fn defaults_and_what_does_not_matter() {
    both(|who| {
        let attempts = Attempts::new(who);
        // What a program needs to start and to say something.
        let start =
            "{\"names\": [\"execve\", \"brk\", \"arch_prctl\", \"set_tid_address\", \"set_robust_list\", \"rseq\",
            \"prlimit64\", \"readlink\", \"readlinkat\", \"getrandom\", \"mprotect\", \"write\", \"exit_group\"],
            \"action\": \"SCMP_ACT_ALLOW\"}";
        for (head, expected) in [
            ("\"SCMP_ACT_ERRNO\"", "EPERM"),
            ("\"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5", "EIO"),
            ("\"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38, \"defaultErrno\": \"ENOSYS\"", "ENOSYS"),
            ("\"SCMP_ACT_KILL_PROCESS\"", "= 159"),
            (
                "\"SCMP_ACT_ERRNO\", \"archMap\": [{\"architecture\": \"SCMP_ARCH_S390X\", \"subArchitectures\": null}]",
                "EPERM",
            ),
            ("\"SCMP_ACT_ERRNO\", \"architectures\": [\"SCMP_ARCH_X86\"]", "EPERM"),
            (
                "\"SCMP_ACT_ERRNO\", \"flags\": [\"SECCOMP_FILTER_FLAG_LOG\", \"SECCOMP_FILTER_FLAG_SPEC_ALLOW\"]",
                "EPERM",
            ),
        ] {
            attempts.file("profile.json", format!("\n {{\"defaultAction\": {head}, \"syscalls\": [{start}]}}"));
            let ran = attempts.seal(&["--syscalls", "profile.json"], &["getppid"]).ran();
            assert_eq!(told(&ran), expected, "{head}: {}", ran.stderr);
        }
        // 32-bit calls and x32 are refused, even where archMap has them.
        let map = "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"archMap\": [{\"architecture\": \"SCMP_ARCH_X86_64\",
            \"subArchitectures\": [\"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\"]}]}";
        let ran = attempts.seal(&["--syscalls-string", map], &["child:x32:getppid", "child:i386:20", "getppid"]).ran();
        assert_eq!(told(&ran), "child killed by 31, child killed by 31, ok");
    });
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (profile, place, said) in [
            ("{", "1:1", "EOF while parsing an object"),
            ("{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\",\n}", "3:1", "trailing comma"),
            ("{}", "1:2", "missing field `defaultAction`"),
            (
                "{\"defaultAction\": \"SCMP_ACT_ALOW\"}",
                "1:34",
                "unknown action \"SCMP_ACT_ALOW\"; did you mean \"SCMP_ACT_ALLOW\"?",
            ),
            (
                "{\"defaultAction\": \"SCMP_ACT_NOTIFY\"}",
                "1:36",
                "SCMP_ACT_NOTIFY asks a supervisor, and there is none",
            ),
            ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"X\"]}", "1:50", "unknown flag \"X\""),
        ] {
            attempts.file("bad.json", profile);
            let ran = attempts.seal(&["--syscalls", "bad.json"], &["getppid"]).ran();
            let told = ran.fails(125);
            assert!(told.starts_with(&format!("seal: bad.json:{place}: {said}")), "{profile}: {told}");
            assert_eq!((told.lines().count(), &*ran.text()), (3, ""), "{told}");
            assert!(told.ends_with("^\n"), "{told}");
        }
        for (field, said) in [
            ("\"defaultActoin\": 1", "unknown field `defaultActoin`"),
            (
                "\"syscalls\": [{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"argz\": []}]",
                "unknown field `argz`",
            ),
            (
                "\"syscalls\": [{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"cap\": []}}]",
                "unknown field `cap`",
            ),
            ("\"syscalls\": [{\"names\": [\"read\"]}]", "missing field `action`"),
            ("\"defaultErrno\": \"ENOSSY\"", "unknown errno \"ENOSSY\""),
            (
                "\"syscalls\": [{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"minKernel\": \"4.x\"}}]",
                "\"4.x\" is no version of a kernel",
            ),
            (
                "\"syscalls\": [{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EG\"}]}]",
                "unknown operator \"SCMP_CMP_EG\"; did you mean",
            ),
            (
                "\"syscalls\": [{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]}]",
                "no argument has the index 6: there are 0 to 5",
            ),
        ] {
            attempts.file("bad.json", format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", {field}}}"));
            let ran = attempts.seal(&["--syscalls", "bad.json"], &["getppid"]).ran();
            let told = ran.fails(125);
            assert!(
                told.starts_with("seal: bad.json:1:") && told.contains(said) && ran.text().is_empty(),
                "{field}: {told}"
            );
        }
    });
}
