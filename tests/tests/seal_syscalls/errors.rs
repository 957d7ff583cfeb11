//! What is wrong with a policy is told with its place, and nothing runs.

use tests::{Run, both};

use crate::attempts::Attempts;

/// A policy, where it is wrong, what is said, and the line that is shown.
const ERRORS: [(&str, &str, &str, &str); 42] = [
    ("ALLOW { opne }", "1:9", "unknown system call \"opne\"; did you mean \"open\"?", "ALLOW { opne }"),
    ("// first\nALLOW {\n\tread,\n\topne\n}", "4:2", "unknown system call \"opne\"; did you mean \"open\"?", "\topne"),
    ("ALLOW { xyzzy }", "1:9", "unknown system call \"xyzzy\"", "ALLOW { xyzzy }"),
    ("ALLOW { READ }", "1:9", "unknown system call \"READ\"", "ALLOW { READ }"),
    ("ALOW { read }", "1:1", "unknown action \"ALOW\"; did you mean \"ALLOW\"?", "ALOW { read }"),
    ("allow { read }", "1:1", "unknown action \"allow\"", "allow { read }"),
    ("ALLOW read", "1:7", "expected \"{\", not \"read\"", "ALLOW read"),
    ("ALLOW { read", "1:13", "expected \",\" or \"}\", not the end", "ALLOW { read"),
    ("ALLOW { read, }", "1:15", "expected a system call, not \"}\"", "ALLOW { read, }"),
    ("ALLOW { 5 }", "1:9", "expected a system call, not the number 5", "ALLOW { 5 }"),
    ("ALLOW { DENY }", "1:9", "expected a system call, not \"DENY\"", "ALLOW { DENY }"),
    ("", "1:1", "the policy is empty", ""),
    ("// nothing", "1:11", "the policy is empty", "// nothing"),
    ("/* ALLOW", "1:1", "this comment does not end", "/* ALLOW"),
    ("ALLOW { read } $", "1:16", "unexpected character '$'", "ALLOW { read } $"),
    ("}", "1:1", "expected an action, POLICY, USE or DEFAULT, not \"}\"", "}"),
    ("ERRNO { read }", "1:7", "expected \"(\", not \"{\"", "ERRNO { read }"),
    ("ERRNO(65536) { read }", "1:7", "65536 is not from 0 to 65535, as of ERRNO it must be", "ERRNO(65536) { read }"),
    ("TRAP(X) { read }", "1:6", "unknown constant \"X\"", "TRAP(X) { read }"),
    ("ERRNO(read) { read }", "1:7", "unknown constant \"read\"", "ERRNO(read) { read }"),
    ("DEFAULT ALLOW DEFAULT KILL", "1:15", "there is a DEFAULT already", "DEFAULT ALLOW DEFAULT KILL"),
    ("POLICY a {} POLICY a {}", "1:20", "there is a policy \"a\" already", "POLICY a {} POLICY a {}"),
    ("USE a POLICY a {}", "1:5", "unknown policy \"a\"", "USE a POLICY a {}"),
    (
        "POLICY files {} USE fils",
        "1:21",
        "unknown policy \"fils\"; did you mean \"files\"?",
        "POLICY files {} USE fils",
    ),
    ("#define X 1\n#define X 2", "2:9", "the constant \"X\" is 1 already", "#define X 2"),
    ("#define 5 5", "1:9", "expected the name of a constant, not the number 5", "#define 5 5"),
    ("#undef X", "1:2", "expected define or include, not \"undef\"", "#undef X"),
    ("#define X 09", "1:11", "\"09\" is no number", "#define X 09"),
    ("#define X 0xg", "1:11", "\"0xg\" is no number", "#define X 0xg"),
    (
        "#define X 0x10000000000000000",
        "1:11",
        "the number 0x10000000000000000 is out of range",
        "#define X 0x10000000000000000",
    ),
    (
        "ALLOW { SYSCALL[0x40000000] }",
        "1:9",
        "the system call 1073741824 is one of x32, which is never let through",
        "ALLOW { SYSCALL[0x40000000] }",
    ),
    (
        "ALLOW { SYSCALL[0x100000000] }",
        "1:9",
        "the system call 4294967296 has more than 32 bits",
        "ALLOW { SYSCALL[0x100000000] }",
    ),
    ("ALLOW { read { fd } }", "1:19", "expected a comparison (== != < > <= >=), not \"}\"", "ALLOW { read { fd } }"),
    ("ALLOW { read { fd = 1 } }", "1:19", "unexpected character '='", "ALLOW { read { fd = 1 } }"),
    ("ALLOW { read { fd == } }", "1:22", "expected a number or an argument, not \"}\"", "ALLOW { read { fd == } }"),
    (
        "ALLOW { read { df == 1 } }",
        "1:16",
        "unknown argument or constant \"df\"; did you mean \"fd\"?",
        "ALLOW { read { df == 1 } }",
    ),
    (
        "ALLOW { read { offset == 1 } }",
        "1:16",
        "unknown argument or constant \"offset\"; there are fd, buf, count",
        "ALLOW { read { offset == 1 } }",
    ),
    (
        "ALLOW { read(a) { fd == 1 } }",
        "1:19",
        "unknown argument or constant \"fd\"; there are a",
        "ALLOW { read(a) { fd == 1 } }",
    ),
    ("ALLOW { read(a, a) }", "1:17", "there is an argument \"a\" already", "ALLOW { read(a, a) }"),
    (
        "ALLOW { read(a, b, c, d, e, f, g) }",
        "1:32",
        "a system call has at most 6 arguments",
        "ALLOW { read(a, b, c, d, e, f, g) }",
    ),
    (
        "ALLOW { read ON x86_46 }",
        "1:17",
        "unknown architecture \"x86_46\"; did you mean \"x86_64\"?",
        "ALLOW { read ON x86_46 }",
    ),
    (
        "#include \"nowhere\"",
        "1:10",
        "cannot read the policy \"nowhere\": No such file or directory",
        "#include \"nowhere\"",
    ),
];

/// The three lines of a message about a place.
fn message(name: &str, place: &str, said: &str, line: &str) -> String {
    let column: usize = place.split(':').next_back().unwrap().parse().unwrap();
    let indent: String = line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("seal: {name}:{place}: {said}\n    {line}\n    {indent}^\n")
}

#[test]
fn a_place_and_a_caret() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (policy, place, said, line) in ERRORS {
            attempts.file("web.policy", policy);
            let ran = attempts.seal(&["--syscalls", "web.policy"], &["getppid"]).ran();
            assert_eq!((ran.fails(125), &*ran.text()), (&*message("web.policy", place, said, line), ""), "{policy}");
            let ran = attempts.seal(&["--syscalls-string", policy], &["getppid"]).ran();
            let expected = message("--syscalls-string", place, said, line);
            assert_eq!((ran.fails(125), &*ran.text()), (&*expected, ""), "{policy}");
        }
    });
}

#[test]
fn a_keyword_in_the_wrong_place_is_not_taken_for_a_typo() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (policy, place) in [("POLICY a { DEFAULT ALLOW }", "1:12"), ("SYSCALL[1]", "1:1")] {
            let ran = attempts.seal(&["--syscalls-string", policy], &["getppid"]).ran();
            let said = ran.fails(125);
            assert!(said.starts_with(&format!("seal: --syscalls-string:{place}: ")), "{said}");
            assert!(!said.contains("did you mean"), "{said}");
        }
    });
}

#[test]
fn a_typo_is_pointed_at() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.file("web.policy", "// A web server.\n\nALLOW {read,opne}\n");
        let said = "seal: web.policy:3:13: unknown system call \"opne\"; did you mean \"open\"?\n    \
                    ALLOW {read,opne}\n                ^\n";
        assert_eq!(attempts.seal(&["--syscalls", "web.policy"], &["getppid"]).ran().fails(125), said);
    });
}

#[test]
fn the_place_is_in_the_file_that_is_included() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.sh("mkdir deep").ran().out();
        attempts.file("deep/bad", "// here\nALLOW { opne }");
        attempts.file("top", "ALLOW { read }\n#include \"deep/bad\"\n");
        let said = message("deep/bad", "2:9", "unknown system call \"opne\"; did you mean \"open\"?", "ALLOW { opne }");
        let ran = attempts.seal(&["--syscalls", "top"], &["getppid"]).ran();
        assert_eq!((ran.fails(125), &*ran.text()), (&*said, ""));
        // What follows is in the file that includes again.
        attempts.file("deep/bad", "// nothing");
        attempts.file("top", "#include \"deep/bad\"\nALLOW { opne }\n");
        let said = message("top", "2:9", "unknown system call \"opne\"; did you mean \"open\"?", "ALLOW { opne }");
        assert_eq!(attempts.seal(&["--syscalls", "top"], &["getppid"]).ran().fails(125), said);
        attempts.file("loop", "#include \"loop\"\n");
        let said = message("loop", "1:10", "too many files include one another", "#include \"loop\"");
        assert_eq!(attempts.seal(&["--syscalls", "loop"], &["getppid"]).ran().fails(125), said);
    });
}

#[test]
fn a_filter_that_would_not_let_the_command_start() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (call, options) in [
            ("execve", &["--deny-syscalls", "execve"][..]),
            ("execve", &["--allow-syscalls", "getppid, execveat"]),
            ("execveat", &["--binary", "--deny-syscalls", "execveat"]),
        ] {
            let ran = attempts.seal(options, &["getppid"]).ran();
            let said = format!(
                "seal: the filter refuses {call}, with which the command is started\n\
                 seal: hint: allow it, and what the command uses besides: --learn FILE tells; \
                 a policy without DEFAULT kills\n"
            );
            assert_eq!((ran.fails(125), &*ran.text()), (&*said, ""), "{options:?}");
        }
    });
}

#[test]
fn policies_that_cannot_be_read() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.file("endless", vec![b' '; (1 << 20) + 1]);
        for (file, said) in [
            ("nowhere", "cannot read the policy \"nowhere\": No such file or directory"),
            (".", "cannot read the policy \".\": Is a directory"),
            ("endless", "the policy \"endless\" has more than 1048576 bytes"),
            ("/dev/zero", "the policy \"/dev/zero\" has more than 1048576 bytes"),
        ] {
            let ran = attempts.seal(&["--syscalls", file], &["getppid"]).ran();
            assert_eq!((ran.fails(125), &*ran.text()), (&*format!("seal: {said}\n"), ""), "{file}");
        }
    });
}

/// The filter is there when the exec fails: no more is used then than it takes to say so.
#[test]
fn an_exec_that_fails_is_told_under_the_filter() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.file("script", "#!/no/such/interpreter\n");
        let script = attempts.dir().join("script");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let policy = "ALLOW { execve, write, exit_group } DEFAULT KILL_PROCESS";
        let ran = who.tool("seal").args(["--syscalls-string", policy]).arg(&script).ran();
        let said = ran.fails(126);
        assert!(said.contains("No such file or directory\nseal: hint: the interpreter"), "{said}");
    });
}
