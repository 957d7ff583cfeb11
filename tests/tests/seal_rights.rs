//! `seal`: the capabilities, ids and limits on privilege that a command has.
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{XattrFlags, setxattr};
use tests::{Run, TempDir, Who, as_root, as_user, both, capability_sets, copy_program, report};

const PYTHON: &str = "/usr/bin/python3";

/// The probe, where every user may execute it.
fn probe(who: &Who) -> (TempDir, PathBuf) {
    who.program_for_all(env!("CARGO_BIN_EXE_probe"))
}

/// `seal OPTIONS` of a program in Python.
fn python(who: &Who, options: &[&str], program: &str) -> Command {
    let mut command = who.seal(options);
    command.args([PYTHON, "-c", program]);
    command
}

#[test]
fn exactly_the_capabilities_named_whatever_the_uid() {
    // An ordinary user has none to choose from.
    as_root(|who| {
        let (_dir, probe) = probe(who);
        let all = capability_sets(&report(&mut who.command(&probe)))[0];
        let cases = [
            ("none", 0),
            ("all", all),
            ("net_bind_service", 1 << 10),
            ("none,+net_bind_service", 1 << 10),
            ("CAP_CHOWN,Cap_Kill", 1 | 1 << 5),
            ("all,-sys_admin", all & !(1 << 21)),
            ("-sys_admin,-chown", all & !(1 << 21 | 1)),
            ("all,-chown,+chown", all),
            ("none,+chown,-chown", 0),
        ];
        for (list, wanted) in cases {
            for user in [&[][..], &["--as", "nstools-test"], &["--as", "0:0"], &["--as", "54321:54321"]] {
                let shown = report(who.seal(&["--caps", list]).args(user).arg(&probe));
                assert_eq!(capability_sets(&shown), [wanted; 5], "{list} {user:?}");
                assert_eq!(shown["no_new_privs"], "Ok(true)");
            }
        }
        // The kernel's own words.
        let status = who.seal(&["--caps", "chown", "grep", "^Cap", "/proc/self/status"]).ran().out();
        let expected = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:\t0000000000000001"));
        assert_eq!(status, expected.join("\n"));
    });
}

#[test]
fn a_user_has_none_and_cannot_get_one() {
    as_user(|who| {
        let (_dir, probe) = probe(who);
        let bounding = capability_sets(&report(&mut who.command(&probe)))[3];
        for list in ["none", "all", "all,-chown"] {
            let shown = report(who.seal(&["--caps", list]).arg(&probe));
            // To take from the bounding set is a privilege; no_new_privs closes it.
            assert_eq!(capability_sets(&shown), [0, 0, 0, bounding, 0], "{list}");
            assert_eq!(shown["no_new_privs"], "Ok(true)");
        }
        let refused = who.seal(&["--caps", "chown,kill", "true"]).ran();
        assert_eq!(refused.fails(125), "seal: --caps chown,kill: this process has no such capability\n");
        let refused = who.seal(&["--securebits", "noroot", "true"]).ran();
        let said = "seal: cannot set the securebits: Operation not permitted\n\
                    seal: hint: that takes CAP_SETPCAP, and bits that are not locked\n";
        assert_eq!(refused.fails(125), said);
    });
}

#[test]
fn in_a_user_namespace() {
    both(|who| {
        let (_dir, probe) = probe(who);
        let mut plain = who.tool("pseudo");
        let all = capability_sets(&report(plain.arg(&probe)))[0];
        for (list, wanted) in [("none", 0), ("all", all), ("net_bind_service", 1 << 10), ("-chown", all & !1)] {
            for (user, uid) in [(&[][..], "0 0 0"), (&["--as", "33:33"], "33 33 33")] {
                let mut command = who.tool("pseudo");
                let shown = report(command.args(["seal", "--caps", list]).args(user).arg(&probe));
                assert_eq!((capability_sets(&shown), &*shown["uid"]), ([wanted; 5], uid), "{list} {user:?}");
            }
        }
    });
}

#[test]
fn ids_that_are_not_mapped() {
    both(|who| {
        let id = who.uid;
        let refused = |user: &str| {
            let mut pseudo = who.tool("pseudo");
            let maps = [format!("0:{id}:1"), format!("0:{}:1", who.gid)];
            pseudo.args(["-u", &maps[0], "-g", &maps[1]]).args(["seal", "--as", user, "echo", "ran"]);
            pseudo.ran().fails(125).to_owned()
        };
        let groups = refused("0:7");
        if who.is_root() {
            let hint = "seal: hint: this user namespace does not map";
            let said =
                format!("seal: cannot set the supplementary groups: Invalid argument\n{hint} all of the groups 7\n");
            assert_eq!(groups, said);
            let said = format!("seal: cannot set the user id to 7: Invalid argument\n{hint} 7\n");
            assert_eq!(refused("7:0"), said);
        } else {
            assert!(groups.starts_with("seal: cannot set the supplementary groups: "), "{groups}");
        }
    });
}

#[test]
fn capabilities_that_do_not_exist() {
    both(|who| {
        let hint = "seal: hint: capabilities(7) lists them; none and all come first\n";
        let cases = [
            ("net_bind_servcie", "net_bind_servcie", "seal: hint: did you mean net_bind_service?\n"),
            ("none,+CHWON", "CHWON", "seal: hint: did you mean chown?\n"),
            ("xyzzy", "xyzzy", hint),
            ("", "", hint),
            ("chown,all", "all", hint),
            ("all,", "", hint),
        ];
        for (list, name, hint) in cases {
            let refused = who.seal(&["--caps", list, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --caps: unknown capability {name:?}\n{hint}"));
        }
        let mut nested = who.seal(&["--caps", "none", "seal", "--caps", "kill", "true"]);
        assert_eq!(nested.ran().fails(125), "seal: --caps kill: this process has no such capability\n");
        let (_dir, probe) = probe(who);
        let shown = report(who.seal(&["--caps", "none", "seal", "--caps", "all"]).arg(probe));
        assert_eq!(shown["cap.permitted"], "0");
    });
}

/// What takes rights for good, and what only sets something.
const SEALING: [&[&str]; 11] = [
    &["--no-new-privs"],
    &["--caps", "none"],
    &["--syscalls-string", "DEFAULT ALLOW"],
    &["--deny-syscalls", "reboot"],
    &["--files", "rx:/"],
    &["--ports", "none"],
    &["--scope", "signal"],
    &["--no-userns"],
    &["--no-tty-input"],
    &["--dumpable", "no"],
    &["--no-new-privs", "--binary", "--umask", "022"],
];
const SETTING: [&[&str]; 5] = [
    &["--binary"],
    &["--umask", "022"],
    &["--fds", "0,1,2"],
    &["--parent-death", "KILL"],
    &["--personality", "addr-no-randomize"],
];

#[test]
fn set_uid_programs_and_file_capabilities_give_nothing_back() {
    // Root has all that they could give.
    as_user(|who| {
        let (dir, set_uid) = probe(who);
        std::os::unix::fs::chown(&set_uid, Some(0), Some(0)).unwrap();
        fs::set_permissions(&set_uid, Permissions::from_mode(0o6755)).unwrap();
        let capable = dir.join("capable");
        copy_program(env!("CARGO_BIN_EXE_probe"), &capable);
        // struct vfs_cap_data of version 2, effective: CAP_CHOWN is permitted.
        let chown = [0x0200_0001u32, 1, 0, 0, 0].map(u32::to_le_bytes).concat();
        setxattr(&capable, "security.capability", &chown, XattrFlags::empty()).unwrap();
        let run = |options: &[&str], program: &PathBuf| {
            report(who.seal(options).args(["sh", "-c", "exec \"$0\""]).arg(program))
        };
        let uid = who.uid;
        for options in SEALING {
            let shown = run(options, &set_uid);
            assert_eq!(shown["uid"], format!("{uid} {uid} {uid}"), "{options:?}");
            assert_eq!((&*shown["cap.permitted"], &*shown["no_new_privs"]), ("0", "Ok(true)"), "{options:?}");
            let shown = run(options, &capable);
            assert_eq!((&*shown["cap.permitted"], &*shown["cap.effective"]), ("0", "0"), "{options:?}");
        }
        for options in SETTING {
            let shown = run(options, &set_uid);
            assert_eq!(shown["uid"], format!("{uid} 0 0"), "{options:?}");
            assert_eq!(shown["no_new_privs"], "Ok(false)", "{options:?}");
            assert_eq!(run(options, &capable)["cap.effective"], "1", "{options:?}");
        }
        // A memfd has neither.
        assert_eq!(report(who.seal(&[]).arg(&set_uid))["uid"], format!("{uid} {uid} {uid}"));
        assert_eq!(report(who.seal(&[]).arg(&capable))["cap.effective"], "0");
    });
}

#[test]
fn each_securebit_acts() {
    // They take CAP_SETPCAP.
    as_root(|who| {
        let (_dir, probe) = probe(who);
        let cases = [
            ("noroot", 0x1),
            ("noroot-locked", 0x2),
            ("no-setuid-fixup", 0x4),
            ("no_setuid_fixup_locked", 0x8),
            ("keep-caps-locked", 0x20),
            ("no-cap-ambient-raise", 0x40),
            ("no-cap-ambient-raise-locked", 0x80),
            ("noroot,noroot-locked", 0x3),
        ];
        for (list, bits) in cases {
            for more in [&[][..], &["--caps", "all"], &["--as", "nstools-test"]] {
                let shown = report(who.seal(&["--securebits", list]).args(more).arg(&probe));
                assert_eq!(shown["securebits"], format!("{bits:x}"), "{list} {more:?}");
                assert_eq!(shown["no_new_privs"], "Ok(true)");
            }
        }
        // What uid 0 alone gives is gone, what was named stays.
        assert_eq!(report(who.seal(&["--securebits", "noroot"]).arg(&probe))["cap.permitted"], "0");
        assert_eq!(
            capability_sets(&report(who.seal(&["--securebits", "noroot", "--caps", "chown"]).arg(&probe))),
            [1; 5]
        );
        for list in ["nosuch", "", "noroot,"] {
            let refused = who.seal(&["--securebits", list, "true"]).ran();
            let name = list.rsplit(',').next().unwrap();
            let said = refused.fails(125);
            assert!(said.starts_with(&format!("seal: --securebits: unknown bit {name:?}\n")), "{said}");
            assert!(said.contains("seal: hint: there are noroot, noroot-locked, no-setuid-fixup, "), "{said}");
        }
    });
}

#[test]
fn a_securebit_that_no_exec_leaves_is_an_error() {
    as_root(|who| {
        // The kernel clears SECBIT_KEEP_CAPS, so that the command would never have it.
        for list in ["keep-caps", "noroot,keep-caps"] {
            assert_eq!(who.seal(&["--securebits", list, "echo", "ran"]).ran().code(), 125, "{list}");
        }
    });
}

#[test]
fn what_is_locked_stays() {
    as_root(|who| {
        // prctl(2): PR_SET_SECUREBITS is 28, PR_CAP_AMBIENT_RAISE 47 and 2.
        let undo = "import ctypes; print(ctypes.CDLL(None).prctl(28, 0, 0, 0, 0))";
        let locked = ["--caps", "all", "--securebits", "noroot,noroot-locked"];
        assert_eq!(python(who, &locked, undo).ran().out(), "-1");
        assert_eq!(python(who, &["--caps", "all", "--securebits", "noroot"], undo).ran().out(), "0");
        let raise = "import ctypes
libc = ctypes.CDLL(None)
libc.prctl(47, 3, 0, 0, 0)
print(libc.prctl(47, 2, 0, 0, 0))";
        assert_eq!(python(who, &["--caps", "chown", "--securebits", "no-cap-ambient-raise"], raise).ran().out(), "-1");
        let barred = ["--caps", "all", "--securebits", "no-cap-ambient-raise", "seal", "--caps", "chown", "true"];
        let said = "seal: cannot set the ambient capability chown: Operation not permitted\n";
        assert_eq!(who.seal(&barred).ran().fails(125), said);
        let ids = "import os
os.setresuid(5, 5, 5)
print([line for line in open('/proc/self/status') if line.startswith('CapEff')][0].split()[1].lstrip('0'))";
        assert_eq!(python(who, &["--caps", "setuid", "--securebits", "no-setuid-fixup"], ids).ran().out(), "80");
        assert_eq!(python(who, &["--caps", "setuid"], ids).ran().out(), "");
    });
}

const PASSWD: &str = "root:x:0:0::/:/bin/sh\nweb:x:33:44::/srv/web:/bin/sh\n\
                      odd:x:4294967295:44::/:/bin/sh\n";
const GROUP: &str = "www:x:44:\nmail:x:100:web,other\nlog:x:200:other,web\nmen:x:300:other\n";

/// `seal OPTIONS` where /etc/passwd and /etc/group are those above.
fn among_users(who: &Who, dir: &TempDir, options: &[&str]) -> Command {
    fs::write(dir.join("passwd"), PASSWD).unwrap();
    fs::write(dir.join("group"), GROUP).unwrap();
    let script = "mount --bind \"$0/passwd\" /etc/passwd && mount --bind \"$0/group\" /etc/group && exec seal \"$@\"";
    let mut command = who.tool("isolate");
    command.args(["-m", "sh", "-c", script]).arg(&**dir).args(options);
    command
}

#[test]
fn the_ids_and_groups_of_a_user() {
    // To become somebody else is root's.
    as_root(|who| {
        let (dir, probe) = probe(who);
        let cases = [
            ("web", 33, 44, "[44, 100, 200]"),
            ("33", 33, 44, "[44, 100, 200]"),
            ("web:men", 33, 300, "[100, 200, 300]"),
            ("web:7", 33, 7, "[7, 100, 200]"),
            ("33:7", 33, 7, "[7, 100, 200]"),
            ("4242:men", 4242, 300, "[300]"),
            ("4242:7", 4242, 7, "[7]"),
            ("root", 0, 0, "[0]"),
        ];
        for (user, uid, gid, groups) in cases {
            for (caps, set) in [(&[][..], 0), (&["--caps", "net_bind_service"], 1 << 10)] {
                let options = [&["--as", user][..], caps].concat();
                let shown = report(among_users(who, &dir, &options).arg(&probe));
                assert_eq!(shown["uid"], format!("{uid} {uid} {uid}"), "{user}");
                assert_eq!(shown["gid"], format!("{gid} {gid} {gid}"), "{user}");
                assert_eq!((&*shown["groups"], capability_sets(&shown)), (groups, [set; 5]), "{user}");
                // The environment is left to who runs seal.
                assert_eq!(shown["env.HOME"], "/root");
            }
        }
    });
}

#[test]
fn users_that_are_nobody() {
    as_root(|who| {
        let dir = who.dir();
        let cases = [
            ("nosuch", "no user \"nosuch\" in /etc/passwd\n"),
            ("web:nosuch", "no group \"nosuch\" in /etc/group\n"),
            ("4242", "no user 4242 in /etc/passwd\nseal: hint: name a group: 4242:GID\n"),
            ("4294967295:1", "no user \"4294967295\" in /etc/passwd\n"),
            ("web:4294967295", "no group \"4294967295\" in /etc/group\n"),
            ("-1:1", "no user \"-1\" in /etc/passwd\n"),
        ];
        for (user, why) in cases {
            let refused = among_users(who, &dir, &["--as", user, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --as {user:?}: {why}"));
        }
        for text in ["", ":", ":x", "web:", "a:b:c"] {
            let refused = who.seal(&["--as", text, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --as {text:?} is no NAME|UID[:GROUP|GID]\n"));
        }
        assert_eq!(who.seal(&["--as", "nstools-test", "no-such-program"]).ran().code(), 127);
    });
}

#[test]
fn an_id_that_is_none_is_not_taken() {
    as_root(|who| {
        let dir = who.dir();
        // setresuid(2) takes it for "as it is", which is root.
        for user in ["odd", "odd:7"] {
            let ran = among_users(who, &dir, &["--as", user, "id", "-u"]).ran();
            assert_eq!((ran.code(), ran.text()), (125, String::new()), "{user}");
        }
    });
}

#[test]
fn an_ordinary_user_cannot_be_another() {
    as_user(|who| {
        for user in ["nobody", "root", &who.name] {
            let refused = who.seal(&["--as", user, "true"]).ran();
            let said = refused.fails(125);
            let first = "seal: cannot set the supplementary groups: Operation not permitted\n\
                         seal: hint: that is for root";
            assert!(said.starts_with(first), "{said}");
        }
        // Over his own id alone groups cannot be set either (CVE-2014-8989).
        let mut alone = who.tool("isolate");
        let said = alone.args(["-r", "seal", "--as", "0:0", "true"]).ran().fails(125).to_owned();
        assert!(said.starts_with("seal: cannot set the supplementary groups: Operation not permitted\n"), "{said}");
    });
}
