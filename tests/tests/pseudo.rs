//! `pseudo`: root over one's own ids.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use tests::{Run, Who, as_root, as_user, both};

fn pseudo(who: &Who, args: &[&str]) -> Command {
    let mut command = who.tool("pseudo");
    command.args(args);
    command
}

/// The lines of a map, its columns single-spaced.
fn map(who: &Who, options: &[&str], file: &str) -> Vec<String> {
    let shown = pseudo(who, options).args(["cat", &format!("/proc/self/{file}")]).ran().out();
    shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_command_is_root() {
    both(|who| {
        assert_eq!(pseudo(who, &["sh", "-c", "id -u; id -g; id -G"]).ran().out(), "0\n0\n0");
    });
}

#[test]
fn default_map_of_root() {
    as_root(|who| {
        let expected = ["0 4294967294 1", "1 1 4294967293"];
        assert_eq!(map(who, &[], "uid_map"), expected);
        assert_eq!(map(who, &[], "gid_map"), expected);
    });
}

#[test]
fn default_map_of_a_user() {
    as_user(|who| {
        let ranges = |file: &str| {
            let text = fs::read_to_string(file).unwrap();
            let mine = text.lines().filter_map(|line| line.strip_prefix(&format!("{}:", who.name)).map(str::to_owned));
            mine.collect::<Vec<_>>()
        };
        for (file, own, sub) in [("uid_map", who.uid, "/etc/subuid"), ("gid_map", who.gid, "/etc/subgid")] {
            let mut expected = vec![format!("0 {own} 1")];
            let mut next = 1;
            for range in ranges(sub) {
                let (start, count) = range.split_once(':').unwrap();
                expected.push(format!("{next} {start} {count}"));
                next += count.parse::<u32>().unwrap();
            }
            assert!(expected.len() > 1, "{sub}");
            assert_eq!(map(who, &[], file), expected);
        }
    });
}

#[test]
fn nests() {
    both(|who| {
        let program = pseudo(who, &[]).get_program().to_str().unwrap().to_owned();
        let inner = map(who, &[&program], "uid_map");
        // The highest id that the outer one has becomes 0; every other stays.
        let highest = if who.is_root() { 4294967293_u32 } else { 65536 };
        assert_eq!(inner, [format!("0 {highest} 1"), format!("1 1 {}", highest - 1)]);
        assert_eq!(pseudo(who, &[&program, "id", "-u"]).ran().out(), "0");
    });
}

#[test]
fn maps_that_are_asked_for() {
    both(|who| {
        let first = if who.is_root() { 100_000 } else { who.first_subuid() };
        let asked = format!("0:{first}:10,50:{}:1", first + 20);
        assert_eq!(map(who, &["-u", &asked], "uid_map"), [format!("0 {first} 10"), format!("50 {} 1", first + 20)]);
        assert_eq!(
            map(who, &["--gid-map", &asked], "gid_map"),
            [format!("0 {first} 10"), format!("50 {} 1", first + 20)]
        );
    });
}

#[test]
fn wrong_maps_are_told_by_their_part() {
    both(|who| {
        let own = who.uid;
        let cases = [
            ("nonsense".to_owned(), "\"nonsense\" is not START:LOWER:COUNT"),
            ("0:1".to_owned(), "\"0:1\" is not START:LOWER:COUNT"),
            (format!("0:{own}:1,,"), "\"\" is not START:LOWER:COUNT"),
            (format!("0:{own}:-1"), "is not START:LOWER:COUNT"),
            ("0:99999999999:1".to_owned(), "\"0:99999999999:1\" is not START:LOWER:COUNT"),
            ("0:100000:10,5:200000:10".to_owned(), "\"5:200000:10\" overlaps \"0:100000:10\""),
            ("0:100000:10,20:100005:10".to_owned(), "\"20:100005:10\" overlaps \"0:100000:10\""),
            ("0:4294967294:2".to_owned(), "\"0:4294967294:2\" goes beyond the last id, 4294967294"),
            ("4294967290:1000:9".to_owned(), "\"4294967290:1000:9\" goes beyond the last id"),
            (String::new(), "the map is empty"),
            (format!("0:{own}:0"), "maps no id"),
            (format!("1:{own}:1"), "nothing is mapped to "),
        ];
        for (asked, expected) in &cases {
            for option in ["-u", "-g"] {
                let ran = pseudo(who, &[option, asked, "true"]).ran();
                let said = ran.fails(125);
                assert!(said.starts_with("pseudo: ") && said.contains(expected), "{option} {asked:?}: {said}");
                assert!(asked.is_empty() || said.contains(&format!("map {asked:?}")), "{said}");
            }
        }
    });
}

#[test]
fn ids_that_are_not_delegated_are_told() {
    // Everything is root's to give away.
    as_user(|who| {
        for (option, kind) in [("-u", "uid"), ("-g", "gid")] {
            let ran = pseudo(who, &[option, "0:0:1", "true"]).ran();
            let said = ran.fails(125);
            let expected = format!("\"0:0:1\" maps {kind}s that are not delegated to you\n");
            assert!(said.contains(&expected) && said.contains("pseudo: hint: yours are "), "{said}");
        }
        let beyond = format!("0:{}:1,1:{}:65537", who.uid, who.first_subuid());
        assert!(pseudo(who, &["-u", &beyond, "true"]).ran().fails(125).contains(":65537\" maps uids"));
    });
}

#[test]
fn a_nested_root_gives_only_what_it_has() {
    both(|who| {
        let program = pseudo(who, &[]).get_program().to_str().unwrap().to_owned();
        let own = who.uid.to_string();
        let map = format!("0:{own}:1");
        let ran = pseudo(who, &["-u", &map, "-g", &map, &program, "-u", "0:5:1", "true"]).ran();
        assert!(ran.fails(125).contains("\"0:5:1\" maps uids that are not delegated to you"));
    });
}

#[test]
fn without_newuidmap_it_is_one_id() {
    // Root writes his maps himself.
    as_user(|who| {
        let dir = who.dir();
        for program in ["cat", "sh", "id"] {
            std::os::unix::fs::symlink(format!("/usr/bin/{program}"), dir.join(program)).unwrap();
        }
        let script = "cat /proc/self/uid_map /proc/self/setgroups";
        let shown = pseudo(who, &["sh", "-c", script]).env("PATH", &*dir).ran().out();
        let words: Vec<_> = shown.split_whitespace().collect();
        assert_eq!(words, ["0", &who.uid.to_string(), "1", "deny"]);
        // The helpers are privileged, and may allow it (CVE-2014-8989).
        assert_eq!(pseudo(who, &["cat", "/proc/self/setgroups"]).ran().out(), "allow");
    });
}

#[test]
fn the_default_command_is_the_shell() {
    both(|who| {
        assert_eq!(who.tool("pseudo").env("SHELL", "/bin/pwd").ran().out(), who.home.to_str().unwrap());
        assert_eq!(who.tool("pseudo").ran_with(b"echo $0\n").out(), "/bin/sh");
    });
}

#[test]
fn statuses() {
    both(|who| {
        assert_eq!(pseudo(who, &["sh", "-c", "exit 9"]).ran().code(), 9);
        assert!(pseudo(who, &["no-such"]).ran().fails(127).starts_with("pseudo: cannot execute \"no-such\": "));
        assert!(pseudo(who, &["/etc/passwd"]).ran().fails(126).contains("Permission denied"));
    });
}

/// Owner and group of a file, as the host sees them.
fn outside(who: &Who, id: u32) -> u32 {
    match id {
        0 if who.is_root() => 4294967294,
        0 => who.uid,
        id if who.is_root() => id,
        id => who.first_subuid() + id - 1,
    }
}

#[test]
fn chown_keeps_owners() {
    both(|who| {
        let dir = who.dir();
        std::os::unix::fs::chown(&*dir, Some(outside(who, 0)), None).unwrap();
        let script = "cd \"$1\" && touch f g && chown 33:44 f && chown 0:0 g && stat -c %u:%g f g";
        let shown = pseudo(who, &["sh", "-c", script, "sh"]).arg(&*dir).current_dir("/").ran().out();
        assert_eq!(shown, "33:44\n0:0");
        assert_eq!(fs::metadata(dir.join("f")).unwrap().uid(), outside(who, 33));
        assert_eq!(fs::metadata(dir.join("g")).unwrap().uid(), outside(who, 0));
    });
}

#[test]
fn archives_keep_owners() {
    both(|who| {
        let dir = who.dir();
        fs::set_permissions(&*dir, fs::Permissions::from_mode(0o777)).unwrap();
        // An archive and a package of files of 33:44 and 0:0, made by root of the host.
        let made = as_maker(&dir);
        let (tar, deb) = (made.0.to_str().unwrap(), made.1.to_str().unwrap());
        let script = "umask 022; cd \"$1\" && mkdir t d && tar -xf \"$2\" -C t && dpkg-deb -x \"$3\" d && \
                      stat -c %u:%g t/data/theirs t/data/mine d/data/theirs d/data/mine";
        let ran = pseudo(who, &["sh", "-c", script, "sh", dir.to_str().unwrap(), tar, deb]).current_dir("/").ran();
        assert_eq!(ran.out(), "33:44\n0:0\n33:44\n0:0");
        for place in ["t", "d"] {
            let theirs = fs::metadata(dir.join(place).join("data/theirs")).unwrap();
            assert_eq!(theirs.uid(), outside(who, 33), "{place}");
        }
    });
}

fn as_maker(dir: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let script =
        "cd \"$1\" && mkdir -p p/data p/DEBIAN && touch p/data/theirs p/data/mine && chown 33:44 p/data/theirs &&
        printf 'Package: sample\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: s\\n' \
        >p/DEBIAN/control && tar -cf a.tar -C p data && dpkg-deb -b p a.deb >/dev/null && chmod 644 a.tar a.deb";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(dir).ran().out();
    (dir.join("a.tar"), dir.join("a.deb"))
}
