//! Resource limits, which need no supervisor.

use std::os::unix::process::ExitStatusExt;

use tests::{Run, Running, Who, both};

use crate::hog;

/// By its name, the row of /proc/self/limits, a value and what that shows.
const ALL: [(&str, &str, &str, &str); 16] = [
    ("as", "Max address space", "1G", "1073741824"),
    ("core", "Max core file size", "1M", "1048576"),
    ("cpu", "Max cpu time", "1m", "60"),
    ("data", "Max data size", "512M", "536870912"),
    ("fsize", "Max file size", "10M", "10485760"),
    ("locks", "Max file locks", "10", "10"),
    ("memlock", "Max locked memory", "64K", "65536"),
    ("msgqueue", "Max msgqueue size", "8K", "8192"),
    ("nice", "Max nice priority", "0", "0"),
    ("nofile", "Max open files", "64", "64"),
    ("nproc", "Max processes", "2000", "2000"),
    ("rss", "Max resident set", "1T", "1099511627776"),
    ("rtprio", "Max realtime priority", "0", "0"),
    ("rttime", "Max realtime timeout", "5ms", "5000"),
    ("sigpending", "Max pending signals", "100", "100"),
    ("stack", "Max stack size", "1.5M", "1572864"),
];

/// `limit WORDS… cat /proc/self/limits`.
fn limits(who: &Who, words: &[&str]) -> String {
    who.tool("limit").args(words).args(["cat", "/proc/self/limits"]).ran().out()
}

/// The soft and the hard limit of a row.
#[track_caller]
fn row(limits: &str, name: &str) -> String {
    let row = limits.lines().find_map(|line| line.strip_prefix(name));
    let row = row.unwrap_or_else(|| panic!("there is no {name:?} in {limits}"));
    row.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The CPU time is another thing without the prefix, and so is nice.
fn named(name: &str) -> String {
    if ["cpu", "nice"].contains(&name) { format!("rlimit:{name}") } else { name.to_owned() }
}

#[test]
fn every_one_by_its_name() {
    both(|who| {
        let plain: Vec<_> = ALL.iter().map(|(name, _, value, _)| format!("{}={value}", named(name))).collect();
        let prefixed: Vec<_> = ALL.iter().map(|(name, _, value, _)| format!("rlimit:{name}={value}")).collect();
        for words in [plain, prefixed] {
            let shown = limits(who, &words.iter().map(String::as_str).collect::<Vec<_>>());
            for (_, name, _, is) in ALL {
                assert_eq!(row(&shown, name), format!("{is} {is}"), "{name}");
            }
        }
    });
}

#[test]
fn soft_and_hard() {
    both(|who| {
        let files = |value: &str| {
            let value = format!("nofile={value}");
            row(&limits(who, &["nofile=100:200", "limit", &value]), "Max open files")
        };
        for (value, is) in [
            ("64", "64 64"),
            ("64:128", "64 128"),
            ("64:", "64 200"),
            (":128", "100 128"),
            ("max", "200 200"),
            ("max:", "200 200"),
            (":max", "100 200"),
            ("50:max", "50 200"),
            ("0", "0 0"),
        ] {
            // The last of them leaves no fd to open the file with.
            if value == "0" {
                assert_ne!(who.tool("limit").args(["nofile=0", "cat", "/proc/self/limits"]).ran().code(), 0);
            } else {
                assert_eq!(files(value), is, "{value}");
            }
        }
    });
}

#[test]
fn units() {
    both(|who| {
        for (word, name, is) in [
            ("fsize=1K", "Max file size", "1024 1024"),
            ("fsize=4096", "Max file size", "4096 4096"),
            ("fsize=1.5M", "Max file size", "1572864 1572864"),
            ("fsize=2G:3G", "Max file size", "2147483648 3221225472"),
            ("fsize=1T:inf", "Max file size", "1099511627776 unlimited"),
            ("core=inf", "Max core file size", "unlimited unlimited"),
            ("core=0:max", "Max core file size", "0 unlimited"),
            ("rlimit:cpu=30", "Max cpu time", "30 30"),
            ("rlimit:cpu=30s:2h", "Max cpu time", "30 7200"),
            ("rlimit:cpu=1.5m", "Max cpu time", "90 90"),
            ("rttime=500", "Max realtime timeout", "500 500"),
            ("rttime=3us:7ms", "Max realtime timeout", "3 7000"),
            ("rttime=0.5s", "Max realtime timeout", "500000 500000"),
        ] {
            assert_eq!(row(&limits(who, &[word]), name), is, "{word}");
        }
    });
}

#[test]
fn above_the_hard_one() {
    both(|who| {
        // Root's capabilities would raise it.
        let base = |word: &str| {
            let mut command = who.seal(&["--caps", "none", "limit", "nofile=100", "fsize=2M", "limit", word]);
            command.args(["echo", "ran"]).ran()
        };
        for value in ["5000", "101", "5K"] {
            let refused = base(&format!("nofile={value}"));
            let said = refused.fails(125).lines().next().unwrap_or_default().to_owned();
            assert_eq!(said, format!("limit: cannot set nofile to {value}: its hard limit is 100"));
            assert_eq!(refused.text(), "");
        }
        for word in ["nofile=101:", "nofile=inf", "nofile=:101", "nofile=50:101", "rlimit:nofile=101"] {
            let refused = base(word);
            assert!(refused.fails(125).contains("its hard limit is 100\n"), "{word}: {refused:?}");
            assert_eq!(refused.text(), "");
        }
        let refused = base("fsize=3M");
        assert!(refused.fails(125).starts_with("limit: cannot set fsize to 3M: its hard limit is 2"), "{refused:?}");
        assert!(base("nofile=90:50").fails(125).starts_with("limit: "));
        assert_eq!(base("nofile=100").out(), "ran");
    });
}

/// Whether he has CAP_SYS_RESOURCE, which not every root has.
pub fn has_sys_resource(who: &Who) -> bool {
    let status = who.command("cat").arg("/proc/self/status").ran().out();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("it is in every status");
    u64::from_str_radix(held.trim(), 16).unwrap() & 1 << 24 != 0
}

#[test]
fn a_capability_raises_it() {
    both(|who| {
        let ran = who.tool("limit").args(["nofile=100", "limit", "nofile=200", "cat", "/proc/self/limits"]).ran();
        if !has_sys_resource(who) {
            assert!(ran.fails(125).starts_with("limit: cannot set nofile to 200: its hard limit is 100\n"));
        } else {
            assert_eq!(row(&ran.out(), "Max open files"), "200 200");
        }
    });
}

#[test]
fn all_or_nothing() {
    both(|who| {
        let dir = who.dir();
        let file = dir.join("file");
        let script = format!("echo ran > {}", file.display());
        for words in [["fsize=1K", "nofile=300"], ["nofile=300", "fsize=1K"]] {
            let mut command = who.seal(&["--caps", "none", "limit", "nofile=200", "limit"]);
            command.args(words).args(["sh", "-c", &script]).ran().fails(125);
            assert!(!file.exists(), "{words:?}");
        }
    });
}

#[test]
fn limit_becomes_the_command() {
    both(|who| {
        for words in [&["nofile=64"][..], &["nice=5"], &["affinity=0", "fsize=1M"], &["sched=batch"], &["--"], &[]] {
            let mut command = who.tool("limit");
            let mut running = Running::start(command.args(words).args(["sh", "-c", "echo $$; read x"]));
            assert_eq!(running.line(), running.pid().to_string(), "{words:?}");
            running.say("");
            assert_eq!(running.end(), 0);
        }
    });
}

#[test]
fn what_they_do() {
    both(|who| {
        let (_dir, hog) = hog(who);
        let dir = who.dir();
        let run = |words: &[&str]| who.tool("limit").args(words).current_dir(&*dir).ran();
        let hog = hog.display().to_string();
        let burnt = run(&["rlimit:cpu=1:5", &hog, "burn", "1"]);
        assert_eq!(burnt.status.signal(), Some(libc::SIGXCPU), "{burnt:?}");
        let filled = run(&["fsize=4K", "dd", "if=/dev/zero", "of=file", "bs=8192", "count=1"]);
        assert_eq!(filled.status.signal(), Some(libc::SIGXFSZ), "{filled:?}");
        assert_eq!(std::fs::metadata(dir.join("file")).unwrap().len(), 4096);
        let hungry = run(&["as=64M", &hog, "memory", "200000000"]);
        assert!(!hungry.status.success() && hungry.text().is_empty(), "{hungry:?}");
        assert_eq!(run(&["as=1G", &hog, "memory", "200000000"]).out(), "held");
    });
}

/// The supervisor is not under them: it could not do its work.
#[test]
fn they_are_for_the_command_alone() {
    both(|who| {
        let dir = who.dir();
        let report = dir.join("report");
        for word in ["fsize=0", "as=1M", "nofile=0", "rlimit:cpu=1", "stack=0", "nproc=0", "data=0"] {
            let mut command = who.tool("limit");
            command.arg("--report").arg(&report).args(["time=100", word, "sh", "-c", "exit 3"]);
            // The command may not even start, but nothing else goes wrong.
            let ran = command.ran();
            let json = std::fs::read_to_string(&report).unwrap();
            assert!(json.contains(&format!("\"exit_status\":{}", ran.code())), "{word}: {json:?} {ran:?}");
            std::fs::remove_file(&report).unwrap();
        }
    });
}
