//! What `tests/vm` promises, and the tools on other kernels than this machine's.
#![forbid(unsafe_code)]

use std::fs;
use std::process::{Command, Output};

use tests::as_root;

/// Files of the tests that run in the guest, and `tests/vm`.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// `tests/vm OPTIONS -- COMMAND`.
fn vm(options: &[&str], command: &[&str]) -> Output {
    let mut vm = Command::new(format!("{HERE}/vm"));
    vm.args(options).arg("--").args(command).output().expect("tests/vm can be executed")
}

/// What a command there wrote; it must have succeeded.
#[track_caller]
fn out(options: &[&str], command: &[&str]) -> String {
    let output = vm(options, command);
    assert!(output.status.success(), "{options:?} {command:?}: {output:#?}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A file of tests/guest, as an option of `tests/vm`.
fn guest(name: &str) -> String {
    format!("{HERE}/guest/{name}")
}

#[test]
fn output_arguments_and_status_come_back_as_they_are() {
    as_root(|who| {
        let dir = who.dir();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let (file, words) = (dir.join("bytes"), ["", "two words", "it's", "$HOME\n", "\\"]);
        fs::write(&file, &bytes).unwrap();
        let file = format!("{}:/data/bytes", file.display());
        let script = "cat /data/bytes; printf '<%s>' \"$@\" >&2; sleep 1000 & exit 42";
        let output = vm(&["-f", &file], &[&["sh", "-c", script, "sh"][..], &words].concat());
        assert_eq!(output.status.code(), Some(42), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
        assert_eq!(String::from_utf8_lossy(&output.stderr), words.map(|word| format!("<{word}>")).concat());
    });
}

#[test]
fn root_has_every_right_that_there_is() {
    let said = out(&[], &["sh", "-c", "id -u; pwd; grep CapEff /proc/self/status; cat /proc/sys/kernel/cap_last_cap"]);
    let lines: Vec<&str> = said.lines().collect();
    let all = format!("CapEff:\t{:016x}", (1u64 << (lines[3].parse::<u32>().unwrap() + 1)) - 1);
    assert_eq!(lines[..3], ["0", "/root", all.as_str()]);
}

#[test]
fn the_user_has_his_ranges() {
    let said = out(&["-u"], &["sh", "-c", "id -un; pwd; echo $HOME; pseudo cat /proc/self/uid_map"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..3], ["nstools-test", "/home/nstools-test", "/home/nstools-test"]);
    assert_eq!(words[3..], ["0", "1000", "1", "1", "100000", "65536"]);
}

#[test]
fn cgroups_are_laid_out_as_asked() {
    let mounts = |layout| out(&["-c", layout], &["awk", "$3 ~ /^cgroup/ { print $2, $3 }", "/proc/mounts"]);
    assert_eq!(mounts("none"), "");
    assert_eq!(mounts("v2"), "/sys/fs/cgroup cgroup2");
    let v1 = mounts("v1");
    for controller in ["memory", "pids", "cpu", "cpuset", "net_cls"] {
        assert!(v1.contains(&format!("/sys/fs/cgroup/{controller} cgroup\n")), "{controller}: {v1}");
    }
    assert!(!v1.contains("cgroup2"), "{v1}");
    assert_eq!(mounts("hybrid"), format!("{v1}\n/sys/fs/cgroup/unified cgroup2"));
}

#[test]
fn what_does_not_boot_is_125() {
    let output = vm(&["-m", "40"], &["true"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("ended without a status"), "{stderr}");
    let hangs = Command::new(format!("{HERE}/vm")).args(["--", "sleep", "1000"]).env("VM_TIMEOUT", "1").output();
    assert_eq!(hangs.unwrap().status.code(), Some(125));
    for wrong in [&["-k", "4.4"][..], &["-c", "v3"], &["-m", "much"], &["-x"]] {
        assert_eq!(vm(wrong, &["true"]).status.code(), Some(125), "{wrong:?}");
    }
}

/// What tests/guest/smoke said, with the lines where a test looks for them.
struct Smoke {
    kernel: &'static str,
    said: String,
}

impl Smoke {
    fn run(kernel: &'static str, user: &[&str]) -> Self {
        let file = guest("smoke");
        Self { kernel, said: out(&[&["-k", kernel, "-f", &file][..], user].concat(), &["/smoke"]) }
    }

    /// It ended so, having written this.
    #[track_caller]
    fn says(&self, name: &str, status: u8, text: &str) {
        let line = self.said.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        let line = line.unwrap_or_else(|| panic!("{name} on {}: nothing in {}", self.kernel, self.said));
        let rest = line.strip_prefix(&format!("{status}: "));
        assert!(rest.is_some_and(|rest| rest.contains(text)), "{name} on {}: {line}", self.kernel);
    }

    fn works_everywhere(&self) {
        self.says("isolate", 0, "lo");
        self.says("isolate-pid", 0, "1");
        self.says("isolate-time", 0, "boottime        86400         0");
        self.says("pseudo", 0, "33:33");
        self.says("seal-binary", 0, "/memfd:readlink");
        self.says("seal-syscalls", 1, "Operation not permitted");
        self.says("seal-caps", 0, "CapEff:\t0000000000000000");
        self.says("seal-userns", 125, "cannot create user namespace: Operation not permitted");
        self.says("seal-learn", 0, "hello");
        self.says("netwire", 0, "reaches 2 ");
        for denied in ["reaches 1 reaches 2", "reaches 3", "reaches 254"] {
            assert!(!self.said.contains(denied), "{denied} on {}: {}", self.kernel, self.said);
        }
        self.says("plain", 7, "1");
        self.says("plain-writes", 0, "written");
        self.says("plain-ro", 1, ": Read-only file system");
        self.says("plain-bind-ro", 0, "touch: /mnt/new: Read-only file system");
        self.says("plain-bind-ro", 0, "touch: /mnt/sub/newer: Read-only file system data");
        self.says("plain-bind", 0, " /mnt rw,nosuid,nodev,noexec,");
        self.says("plain-host", 0, "/run ro,nosuid,nodev,");
        self.says("plain-host", 0, "/etc/group ro,nodev,");
        self.says("plain-tmpfs", 0, "written");
        self.says("plain-e-left", 1, "No such file");
        self.says("plain-net", 1, "touch: /sys/new: Read-only file system");
        for undone in ["remounted", "unmounted"] {
            assert!(!self.said.contains(undone), "{undone} on {}: {}", self.kernel, self.said);
        }
        self.says("inject", 0, "busybox");
        self.says("inject-net", 0, "lo");
        self.says("contain-killed", 143, "");
        self.says("limit", 0, "64");
        self.says("limit-time", 124, "limit: time");
    }

    fn containers_work(&self) {
        self.says("contain", 7, "1");
        self.says("contain-ro", 1, "Read-only file system");
        self.says("contain-e", 0, "vanishes");
        self.says("contain-e-left", 1, "No such file");
        self.says("plain-e", 0, "vanishes");
        self.says("contain-jail", 0, "CapBnd:\t0000000000000000");
    }
}

#[test]
fn tools_on_5_10() {
    let shown = "to show ids other than those on disk needs Linux 5.12";
    for (user, overlays) in [(&[][..], shown), (&["-u"], "overlays in a user namespace need Linux 5.11")] {
        let smoke = Smoke::run("5.10", user);
        smoke.says("kernel", 0, "5.10.");
        smoke.works_everywhere();
        if user.is_empty() {
            for name in ["contain", "contain-ro", "contain-jail"] {
                smoke.says(name, 125, shown);
            }
            smoke.says("plain-e", 0, "vanishes");
        } else {
            smoke.says("plain-e", 125, overlays);
            smoke.says("contain", 7, "1");
            smoke.says("contain-ro", 1, "Read-only file system");
            smoke.says("contain-jail", 0, "CapBnd:\t0000000000000000");
        }
        smoke.says("inject-inode", 125, "since Linux 6.9");
        smoke.says("contain-e", 125, overlays);
        smoke.says("contain-host", 125, overlays);
        smoke.says("seal-files", 125, "Landlock, this kernel has none");
    }
}

#[test]
fn tools_on_6_1() {
    for user in [&[][..], &["-u"]] {
        let smoke = Smoke::run("6.1", user);
        smoke.says("kernel", 0, "6.1.");
        smoke.works_everywhere();
        smoke.containers_work();
        if user.is_empty() {
            // The machine is on a tmpfs, which cannot show other ids before 6.3.
            smoke.says("contain-host", 125, "cannot show ids other than those on disk");
        } else {
            smoke.says("contain-host", 0, "vanishes");
        }
        smoke.says("inject-inode", 125, "since Linux 6.9");
        smoke.says("seal-files", 125, "--files needs version 3 of Landlock, this kernel has version 2");
    }
}

fn tools_on_new(kernel: &'static str, release: &str) {
    for user in [&[][..], &["-u"]] {
        let smoke = Smoke::run(kernel, user);
        smoke.says("kernel", 0, release);
        smoke.works_everywhere();
        smoke.containers_work();
        smoke.says("contain-host", 0, "vanishes");
        smoke.says("inject-inode", 125, "is gone");
        smoke.says("seal-files", 1, "can't open '/etc/passwd': Permission denied");
    }
}

#[test]
fn tools_on_6_12() {
    tools_on_new("6.12", "6.12.");
}

#[test]
fn tools_on_the_newest() {
    tools_on_new("newest", "cloud-amd64");
}

#[test]
fn links_that_need_modules_and_two_bridges_in_one_namespace() {
    let file = guest("links");
    for (kernel, user) in [("6.1", &[][..]), ("6.12", &["-u"])] {
        let options = [&["-k", kernel, "-f", &file][..], user].concat();
        let said = out(&options, &["pseudo", "isolate", "-n", "-m", "/links"]);
        let expected = "macvlan: yes\nipvlan-l2: yes\nipvlan-l3: yes\nvlan: yes\nvlan-of-another-id: no\n\
            allowed: yes\ndenied-on-another-bridge: no\nno-longer-allowed: no\nallowed-later: yes";
        assert_eq!(said, expected, "{kernel} {user:?}");
    }
}
