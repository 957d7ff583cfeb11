//! `seal`: the files, ports and processes that a command may reach (Landlock).
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tests::{Run, Running, TempDir, Who, both, copy_program};

const PYTHON: &str = "/usr/bin/python3";

/// What a program in Python needs to run at all.
const PYTHONS: [&str; 6] = ["--files", "rx:/usr", "--files", "rx:/lib", "--files", "rx:/lib64"];

/// Makes each attempt OP:PATH or OP:PATH>PATH, and tells how it went.
const ATTEMPT: &str = "import errno, os, sys
ops = {
    b'read': lambda path: open(path, 'rb').read(),
    b'list': os.listdir,
    b'write': lambda path: open(path, 'ab').write(b'x'),
    b'truncate': lambda path: os.truncate(path, 0),
    b'create': lambda path: open(path, 'xb'),
    b'mkdir': os.mkdir,
    b'symlink': lambda path: os.symlink('x', path),
    b'fifo': os.mkfifo,
    b'rename': os.rename,
    b'link': os.link,
    b'unlink': os.unlink,
    b'exec': lambda path: os.waitpid(os.posix_spawn(path, [b'true'], {}), 0),
}
told = []
for word in map(os.fsencode, sys.argv[1:]):
    op, paths = word.split(b':', 1)
    try: ops[op](*paths.split(b'>')); told.append('ok')
    except OSError as error: told.append(errno.errorcode[error.errno])
print(*told)";

/// A directory with a `file`, one that may be `gone`, and a program that is `true`.
fn dir(who: &Who) -> TempDir {
    let dir = who.dir();
    for name in ["file", "gone"] {
        fs::write(dir.join(name), "text\n").unwrap();
        who.give(dir.join(name));
    }
    copy_program("/bin/busybox", dir.join("true"));
    dir
}

/// `--files RIGHTS:PATH`.
fn files(rights: &str, path: &Path) -> [OsString; 2] {
    let mut word = OsString::from(format!("{rights}:"));
    word.push(path);
    ["--files".into(), word]
}

/// These attempts, each `OP:NAME` in the directory.
fn attempts(dir: &Path, words: &str) -> Vec<OsString> {
    let placed = |word: &str| {
        let (op, names) = word.split_once(':').unwrap();
        let paths: Vec<_> = names.split('>').map(|name| dir.join(name).into_os_string()).collect();
        let mut placed = OsString::from(format!("{op}:"));
        placed.push(paths.join(OsStr::new(">")));
        placed
    };
    words.split(' ').map(placed).collect()
}

/// `seal`, with what Python needs.
fn seal(who: &Who) -> Command {
    let mut command = who.tool("seal");
    command.args(PYTHONS);
    command
}

fn tried(command: &mut Command, attempts: &[OsString]) -> String {
    command.args([PYTHON, "-c", ATTEMPT]).args(attempts).ran().out()
}

const EVERY: &str = "read:file list:. write:file truncate:file create:new mkdir:new-dir symlink:new-link fifo:new-fifo \
                     rename:file>moved unlink:gone exec:true";

#[test]
fn each_right_is_what_it_says() {
    both(|who| {
        let no = "EACCES EACCES EACCES EACCES EACCES EACCES EACCES EACCES";
        let yes = "ok ok ok ok ok ok ok ok";
        let cases = [
            (&[][..], format!("EACCES EACCES {no} EACCES")),
            (&["ro"], format!("ok ok {no} EACCES")),
            (&["rx"], format!("ok ok {no} ok")),
            (&["rw"], format!("ok ok {yes} EACCES")),
            (&["rw", "rx"], format!("ok ok {yes} ok")),
            (&["rwx"], format!("ok ok {yes} ok")),
            (&["ro", "rw"], format!("ok ok {yes} EACCES")),
        ];
        for (rights, told) in cases {
            let dir = dir(who);
            let options = rights.iter().flat_map(|rights| files(rights, &dir));
            assert_eq!(tried(seal(who).args(options), &attempts(&dir, EVERY)), told, "{rights:?}");
        }
        let dir = dir(who);
        assert_eq!(tried(&mut who.tool("seal"), &attempts(&dir, EVERY)), format!("ok ok {yes} ok"), "without");
    });
}

#[test]
fn from_one_directory_to_another() {
    both(|who| {
        let (one, two, more, closed) = (dir(who), dir(who), dir(who), dir(who));
        let mut command = seal(who);
        command.args(files("rw", &one)).args(files("rw", &two)).args(files("rw", &more)).args(files("rx", &more));
        let path = |dir: &Path, name: &str| dir.join(name).display().to_string();
        let words = [
            ("rename", path(&one, "gone"), path(&two, "came")),
            ("link", path(&one, "file"), path(&two, "linked")),
            ("rename", path(&one, "file"), path(&closed, "came")),
            ("rename", path(&closed, "file"), path(&one, "came")),
            ("link", path(&closed, "file"), path(&one, "came")),
            // There it could be executed.
            ("rename", path(&one, "true"), path(&more, "came")),
        ];
        let words: Vec<OsString> = words.iter().map(|(op, from, to)| format!("{op}:{from}>{to}").into()).collect();
        assert_eq!(tried(&mut command, &words), "ok ok EACCES EACCES EXDEV EXDEV");
        assert_eq!(closed.names(), ["file", "gone", "true"]);
    });
}

#[test]
fn single_files_links_and_names_of_any_bytes() {
    both(|who| {
        let dir = dir(who);
        let file = files("rw", &dir.join("file"));
        let words = "read:file write:file truncate:file read:gone list:. unlink:file create:new";
        let told = tried(seal(who).args(&file), &attempts(&dir, words));
        assert_eq!(told, "ok ok ok EACCES EACCES EACCES EACCES");
        let program = files("rx", &dir.join("true"));
        assert_eq!(tried(seal(who).args(&program), &attempts(&dir, "exec:true read:file")), "ok EACCES");
        // What a link that is named leads to is meant; one that is found opens nothing.
        let other = self::dir(who);
        symlink(&*dir, other.join("way")).unwrap();
        let named = files("ro", &other.join("way"));
        assert_eq!(tried(seal(who).args(&named), &attempts(&dir, "read:file write:file")), "ok EACCES");
        let found = files("rw", &other);
        assert_eq!(tried(seal(who).args(&found), &attempts(&other, "read:file read:way/file")), "ok EACCES");
        let odd = dir.join(OsStr::from_bytes(b"\xff: \xfe,"));
        fs::create_dir(&odd).unwrap();
        who.give(&odd);
        let words = [attempts(&odd, "create:new read:new"), attempts(&dir, "read:file")].concat();
        assert_eq!(tried(seal(who).args(files("rw", &odd)), &words), "ok ok EACCES");
    });
}

#[test]
fn nothing_at_all() {
    both(|who| {
        let seal = |words: &[&str]| who.tool("seal").args(words).ran();
        let refused = seal(&["--files", "none", "/bin/busybox", "true"]);
        assert_eq!(
            refused.fails(126),
            "seal: cannot execute \"/bin/busybox\": Permission denied\n\
             seal: hint: --files needs rx: for it, for its interpreter and for the loader that it names\n"
        );
        // The sealed copy is no file of any directory.
        let binary = ["--binary", "--files", "none", "/bin/busybox"];
        assert_eq!(seal(&[&binary[..], &["echo", "ran"]].concat()).out(), "ran");
        let read = seal(&[&binary[..], &["cat", "/etc/passwd"]].concat());
        assert_eq!(read.fails(1), "cat: can't open '/etc/passwd': Permission denied\n");
        // What was open is.
        let script = "exec seal --binary --files none /bin/busybox head -c 4 </etc/passwd";
        assert_eq!(who.command("sh").args(["-c", script]).ran().out(), "root");
    });
}

#[test]
fn from_inside_it_can_only_be_narrowed() {
    both(|who| {
        let tool = who.tool("seal").get_program().to_owned();
        let outside = dir(who);
        for (outer, inner, told) in [
            (Some("ro"), "rw", "ok EACCES EACCES EACCES"),
            (Some("rw"), "ro", "ok EACCES EACCES EACCES"),
            (Some("rw"), "rw", "ok ok EACCES EACCES"),
            (None, "rw", "EACCES EACCES EACCES EACCES"),
        ] {
            let dir = dir(who);
            let mut command = seal(who);
            command.args(files("rx", Path::new(&tool).parent().unwrap()));
            command.args(outer.iter().flat_map(|rights| files(rights, &dir))).arg(&tool).args(PYTHONS);
            command.args(files(inner, &dir)).args(files("rw", &outside));
            let words = [attempts(&dir, "read:file write:file"), attempts(&outside, "read:file write:file")].concat();
            assert_eq!(tried(&mut command, &words), told, "{outer:?} {inner}");
        }
    });
}

/// Tries to see `secret` in the directory of another by mounts, by another
/// root, and in a child and a thread; says what it can.
const UNDO: &str = "import ctypes, errno, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
own, secret, root = map(os.fsencode, sys.argv[1:4])
def told(result): return 'ok' if result == 0 else errno.errorcode[ctypes.get_errno()]
def read(*_):
    try: open(secret).read(); print('read', flush=True)
    except PermissionError: print('refused', flush=True)
libc.unshare(0x20000 if root == b'0' else 0x10020000)
bind, directory = 4096, os.path.dirname(secret)
print(told(libc.mount(directory, own, None, bind, None)), told(libc.mount(b'x', own, b'tmpfs', 0, None)),
      told(libc.pivot_root(own, own)))
read()
thread = threading.Thread(target=read); thread.start(); thread.join()
if os.fork() == 0: read(); os._exit(0)
os.wait()
os.chroot(directory)
secret = b'/' + os.path.basename(secret)
read()";

#[test]
fn no_way_around_by_mounts_children_or_roots() {
    both(|who| {
        let (own, other) = (dir(who), dir(who));
        // Should a mount succeed, it is to go with the command.
        let mut command = who.command("unshare");
        command.args(who.is_root().then_some("-m")).arg("seal").args(PYTHONS).args(files("rw", &own));
        command.args([PYTHON, "-c", UNDO]).arg(&*own).arg(other.join("file")).arg(who.uid.to_string());
        assert_eq!(command.ran().out(), "EPERM EPERM EPERM\nrefused\nrefused\nrefused\nrefused");
        let mut free = who.command("unshare");
        free.arg(if who.is_root() { "-m" } else { "-rm" }).args(["mount", "--bind"]).arg(&*other).arg(&*own);
        free.ran().out();
    });
}

#[test]
fn nobody_outside_can_be_traced() {
    both(|who| {
        let victim = Running::ready(who.command("sh").args(["-c", "echo ready; read x"]));
        // PTRACE_SEIZE.
        let attach = "import ctypes, sys; print(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None))";
        let pid = victim.pid().to_string();
        assert_eq!(seal(who).args([PYTHON, "-c", attach, &pid]).ran().out(), "-1");
        assert_eq!(who.command(PYTHON).args(["-c", attach, &pid]).ran().out(), "0");
    });
}

#[test]
fn files_that_cannot_be_named() {
    both(|who| {
        let hint =
            "seal: hint: it is ro:PATH to read, rw:PATH to write too, rx:PATH to read and execute, rwx:PATH, or none\n";
        let cases = [
            ("ro:/no/such", "seal: --files \"/no/such\": No such file or directory\n".to_owned()),
            ("ro:/etc/passwd/x", "seal: --files \"/etc/passwd/x\": Not a directory\n".to_owned()),
            ("ro:", "seal: --files \"ro:\" has no path\n".to_owned()),
            ("/etc", format!("seal: --files \"/etc\"\n{hint}")),
            ("wx:/etc", format!("seal: --files \"wx:/etc\"\n{hint}")),
            ("", format!("seal: --files \"\"\n{hint}")),
        ];
        for (text, said) in cases {
            assert_eq!(who.tool("seal").args(["--files", text, "echo", "ran"]).ran().fails(125), said);
        }
    });
}
