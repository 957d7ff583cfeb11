//! The other controllers: processes, processors, devices, classes of packets.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tests::cgroups::{Version, has};
use tests::{Run, Running, both, mark, marked};

use crate::{Scene, scenes, with};

fn v2(controller: &str) -> bool {
    has(controller) == Some(Version::V2)
}

#[test]
fn forks_are_refused() {
    with(&["pids"], |scene| {
        // The command is one itself.
        assert_eq!(scene.hog(&["pids=10"], &["forks", "50"]).ran().out(), "9 EAGAIN");
        assert_eq!(scene.hog(&["pids=10"], &["forks", "9"]).ran().out(), "9");
        assert_eq!(scene.hog(&["pids=1"], &["forks", "50"]).ran().out(), "0 EAGAIN");
        assert_eq!(scene.file(&["pids=10"], "pids", "pids.max"), "10");
        assert_eq!(scene.file(&["pids=max"], "pids", "pids.max"), "max");
    });
}

#[test]
fn a_fork_bomb() {
    with(&["pids"], |scene| {
        let mark = mark();
        let mut running = Running::ready(&mut scene.hog(&["pids=30"], &["bomb", &mark]));
        // It is deaf: this signal is what it ends with only because its limit is killed.
        assert!(marked(&mark).len() > 25);
        running.signal(nix::sys::signal::Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        scene.nothing_is_left(&mark);
        let ran = scene.hog(&["pids=30", "time=0.5", "grace=0.1"], &["bomb", &mark]).ran();
        assert_eq!((ran.code(), ran.stderr.as_str()), (124, "limit: time: ended after 0.5 s\n"));
        assert_eq!(marked(&mark), []);
        // It goes on behind a command that ends.
        let mut running =
            Running::ready(&mut scene.script(&["pids=30"], &format!("$HOG bomb {mark} & read x; exit 3")));
        running.say("");
        assert_eq!(running.end(), 3);
        assert_eq!(marked(&mark), []);
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}

#[test]
fn processor_time() {
    with(&["cpu"], |scene| {
        for (value, quota) in [("50%", "50000"), ("1.5", "150000"), ("150%", "150000"), ("0.25", "25000")] {
            let word = format!("cpu={value}");
            if v2("cpu") {
                assert_eq!(scene.file(&[&word], "cpu", "cpu.max"), format!("{quota} 100000"));
            } else {
                assert_eq!(scene.file(&[&word], "cpu", "cpu.cfs_quota_us"), quota);
                assert_eq!(scene.file(&[&word], "cpu", "cpu.cfs_period_us"), "100000");
            }
        }
        let weight = |word: &str| {
            let file = if v2("cpu") { "cpu.weight" } else { "cpu.shares" };
            scene.file(&[word], "cpu", file).parse::<u32>().unwrap()
        };
        let scaled = |weight: u32| if v2("cpu") { weight } else { weight * 1024 / 100 };
        assert_eq!(weight("cpu.weight=100"), scaled(100));
        assert_eq!(weight("cpu.weight=200"), scaled(200));
        assert_eq!(weight("cpu.weight=10000"), scaled(10000));
    });
}

#[test]
fn processors() {
    with(&["cpuset"], |scene| {
        let allowed = |words: &[&str], name: &str| {
            let status = scene.limit(&[words, &["cat", "/proc/self/status"]].concat()).ran().out();
            let list = status.lines().find_map(|line| line.strip_prefix(name));
            list.expect("it is in every status").trim().to_owned()
        };
        let all = allowed(&["pids=10"], "Cpus_allowed_list:");
        let last = all.rsplit([',', '-']).next().unwrap();
        for cpus in ["0", last, &all] {
            assert_eq!(allowed(&[&format!("cpuset={cpus}")], "Cpus_allowed_list:"), cpus);
        }
        assert_eq!(allowed(&["cpuset.mems=0"], "Mems_allowed_list:"), "0");
        assert_eq!(allowed(&["cpuset=0", "cpuset.mems=0"], "Cpus_allowed_list:"), "0");
        for word in ["cpuset=4000", "cpuset.mems=60"] {
            let ran = scene.limit(&[word, "echo", "ran"]).ran();
            assert!(ran.fails(125).contains("cpuset") && ran.text().is_empty(), "{word}: {ran:?}");
        }
    });
}

/// The number of a block device that is there, MAJ:MIN.
fn block_device() -> Option<String> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let numbers = disks.filter_map(|disk| {
        let read = |name: &str| fs::read_to_string(disk.path().join(name)).ok();
        read("size").filter(|size| size.trim() != "0").and_then(|_| read("dev"))
    });
    numbers.map(|number| number.trim().to_owned()).min()
}

/// What the group has for `io=DEV:…`, as v2 writes it.
fn throttled(scene: &Scene, device: &str) -> Vec<String> {
    let words = [&*format!("io={device}:rbps=1M,wbps=2M"), &*format!("io={device}:riops=100,wiops=200")];
    if v2("io") {
        return scene.file(&words, "io", "io.max").split(' ').map(str::to_owned).collect();
    }
    let file = |name: &str| {
        let text = scene.file(&words, "blkio", &format!("blkio.throttle.{name}_device"));
        text.split_once(' ').map(|(device, value)| (device.to_owned(), value.to_owned())).unwrap_or_default()
    };
    let names = [("rbps", "read_bps"), ("wbps", "write_bps"), ("riops", "read_iops"), ("wiops", "write_iops")];
    let values = names.map(|(name, file_name)| format!("{name}={}", file(file_name).1));
    [vec![file("read_bps").0], values.to_vec()].concat()
}

#[test]
fn devices() {
    let controller = if v2("io") { "io" } else { "blkio" };
    with(&[controller], |scene| {
        if let Some(number) = block_device() {
            let is = [&*number, "rbps=1048576", "wbps=2097152", "riops=100", "wiops=200"];
            assert_eq!(throttled(scene, &number), is);
            // By its name, if there is a node of it, and by a file on it.
            let name = fs::read_link(format!("/sys/dev/block/{number}")).unwrap();
            let node = std::path::Path::new("/dev").join(name.file_name().unwrap());
            if node.exists() {
                assert_eq!(throttled(scene, &node.display().to_string()), is);
            }
            let root = fs::metadata("/").unwrap().dev();
            if format!("{}:{}", libc::major(root), libc::minor(root)) == number {
                assert_eq!(throttled(scene, "/"), is);
            }
        }
        for (device, named) in [
            ("99:99", "99:99"),
            ("/nonexistent", "\"/nonexistent\""),
            ("/dev/null", "\"/dev/null\""),
            ("/proc", "\"/proc\""),
        ] {
            let ran = scene.limit(&[&format!("io={device}:rbps=1M"), "echo", "ran"]).ran();
            assert!(ran.fails(125).starts_with("limit: ") && ran.stderr.contains(named), "{ran:?}");
            assert_eq!(ran.text(), "");
        }
    });
}

#[test]
fn classes_of_packets() {
    with(&["net_cls"], |scene| {
        for word in ["net_cls.classid=0x00100001", "net_cls.classid=1048577"] {
            assert_eq!(scene.file(&[word], "net_cls", "net_cls.classid"), "1048577");
        }
    });
}

#[test]
fn any_file() {
    with(&["cpu"], |scene| {
        let file = if v2("cpu") { "cpu.weight" } else { "cpu.shares" };
        let word = format!("cgroup:{file}=55");
        assert_eq!(scene.file(&[&word], "cpu", file), "55");
        // It is written last.
        assert_eq!(scene.file(&[&word, "cpu.weight=200"], "cpu", file), "55");
    });
    scenes(|scene| {
        for (file, name) in [("pids.max", "pids"), ("memory.max", "memory"), ("cpu.max", "cpu")] {
            let ran = scene.limit(&[&*format!("cgroup:{file}=7"), "true"]).ran();
            assert!(ran.fails(125).contains(&format!("cgroup:{file}: {name}= is for that")), "{ran:?}");
        }
    });
}

#[test]
fn files_that_are_none() {
    scenes(|scene| {
        for name in [
            "pids.nosuch",
            "nosuch.max",
            "nosuch",
            "../pids.max",
            "/etc/passwd",
            "x/pids.max",
            "pids.max/x",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
            "cgroup.kill",
            "tasks",
            "release_agent",
            "notify_on_release",
            "..",
            ".",
            "",
        ] {
            let ran = scene.limit(&[&format!("cgroup:{name}=1"), "echo", "ran"]).ran();
            assert!(ran.fails(125).starts_with("limit: ") && ran.stderr.contains(name), "{ran:?}");
            assert_eq!(ran.text(), "");
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
    });
}

#[test]
fn values_that_the_kernel_refuses() {
    with(&["pids"], |scene| {
        for value in ["x", "-1", ""] {
            let ran = scene.limit(&[&format!("cgroup:pids.max={value}"), "echo", "ran"]).ran();
            assert!(ran.fails(125).starts_with("limit: ") && ran.stderr.contains("pids.max"), "{ran:?}");
            assert_eq!(ran.text(), "");
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
    });
}

/// Limits of a hierarchy are for its processes alone: the caller's other
/// commands are as they were.
#[test]
fn others_are_not_touched() {
    both(|who| {
        let scene = Scene::new(who, tests::cgroups::Place::new);
        let before = scene.place.settings();
        scene.script(&["time=100", "--report", "/dev/null"], "true").ran().out();
        let controllers = [("memory", "memory=64M"), ("pids", "pids=20"), ("cpu", "cpu=50%"), ("cpuset", "cpuset=0")];
        let words: Vec<_> = controllers.iter().filter(|(name, _)| has(name).is_some()).map(|(_, word)| *word).collect();
        scene.script(&words, "true").ran().out();
        assert_eq!(scene.place.settings(), before);
    });
}
