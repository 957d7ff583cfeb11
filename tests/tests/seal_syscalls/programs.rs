//! Several filters at once, and ready programs.

use tests::{Run, both};

use crate::attempts::{Attempts, told};

/// By precedence: of two, the earlier one counts.
const PRECEDENCE: [(&str, &str); 8] = [
    ("KILL_PROCESS", "= 159"),
    ("KILL", "thread killed"),
    ("TRAP(1)", "SIGSYS 1 by"),
    ("ERRNO(5)", "EIO"),
    ("USER_NOTIF", "ENOSYS"),
    ("TRACE(1)", "ENOSYS"),
    ("LOG", "ok"),
    ("ALLOW", "ok"),
];

/// A program in the hands of python's struct: getppid is refused with EIO, if the architecture is right.
fn handmade() -> String {
    let arch = if cfg!(target_arch = "aarch64") { "0xc00000b7" } else { "0xc000003e" };
    format!(
        "import struct, sys
for one in (0x20, 0, 0, 4), (0x15, 1, 0, {arch}), (6, 0, 0, 0x80000000), (0x20, 0, 0, 0), \
           (0x15, 0, 1, {}), (6, 0, 0, 0x50005), (6, 0, 0, 0x7fff0000):
    sys.stdout.buffer.write(struct.pack('HBBI', *one))",
        libc::SYS_getppid
    )
}

#[test]
fn the_strictest_counts() {
    both(|who| {
        let attempts = Attempts::new(who);
        let policy = |action: &str| format!("{action} {{ getppid }} DEFAULT ALLOW");
        for (at, (strict, comes)) in PRECEDENCE.iter().enumerate() {
            for (lax, _) in &PRECEDENCE[at..] {
                for (one, other) in [(strict, lax), (lax, strict)] {
                    let options = ["--syscalls-string", &policy(one), "--syscalls-string", &policy(other)];
                    let ran = attempts.seal(&options, &["handle", "thread:getppid", "getuid"]).ran();
                    let told = told(&ran);
                    assert!(told.starts_with(&format!("ok, {comes}")), "{one} and {other}: {told}");
                    // Loaded one by one, the kernel itself chooses.
                    attempts.seal(&["--syscalls-string", &policy(one), "--emit-bpf", "program"], &["getuid"]).ran();
                    let script = format!(
                        "exec seal --bpf 7 --syscalls-string '{}' ./attempt handle thread:getppid getuid 7<program",
                        policy(other)
                    );
                    assert_eq!(crate::attempts::told(&attempts.sh(&script).ran()), told, "{one} and {other}");
                }
            }
        }
    });
}

#[test]
fn of_equals_the_last() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (one, other, expected) in
            [("ERRNO(5)", "ERRNO(6)", "ENXIO"), ("ERRNO(6)", "ERRNO(5)", "EIO"), ("ERRNO(6)", "ALLOW", "ENXIO")]
        {
            let [one, other] = [one, other].map(|action| format!("{action} {{ getppid }} DEFAULT ALLOW"));
            let options = ["--syscalls-string", &one, "--syscalls-string", &other];
            assert_eq!(told(&attempts.seal(&options, &["getppid"]).ran()), expected);
            attempts.seal(&["--syscalls-string", &one, "--emit-bpf", "program"], &["getuid"]).ran();
            let script = format!("exec seal --syscalls-string '{other}' --bpf 7 ./attempt getppid 7<program");
            assert_eq!(told(&attempts.sh(&script).ran()), expected, "{one} and {other}");
        }
        // Conditions of both; a filter that allows what another refuses takes nothing back.
        let options = [
            "--syscalls-string",
            "ERRNO(5) { lseek { offset == 1 } } DEFAULT ALLOW",
            "--syscalls-string",
            "ERRNO(6) { lseek { whence == 1 } } DEFAULT ALLOW",
            "--deny-syscalls",
            "getppid",
            "--syscalls-string",
            "ALLOW { getppid } DEFAULT ALLOW",
        ];
        let steps = ["lseek(99,1,0)", "lseek(99,0,1)", "lseek(99,1,1)", "lseek(99,0,0)", "getppid"];
        assert_eq!(told(&attempts.seal(&options, &steps).ran()), "EIO, ENXIO, ENXIO, EBADF, EPERM");
    });
}

#[test]
fn a_program_that_is_ready() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.file("make.py", handmade());
        let steps = "getppid getuid permit getppid again getppid";
        let script = format!("python3 make.py >program && exec seal --bpf 7 ./attempt {steps} 7<program");
        assert_eq!(told(&attempts.sh(&script).ran()), "EIO, ok, ok, EIO, EIO");
        // From a pipe; and the fd is not passed on.
        let script = "python3 make.py | seal --bpf 0 ./attempt getppid 'close(0)'";
        assert_eq!(told(&attempts.sh(script).ran()), "EIO, EBADF");
        // With a policy beside it.
        let script = "exec seal --deny-syscalls getuid --bpf 7 ./attempt getppid getuid getgid 7<program";
        assert_eq!(told(&attempts.sh(script).ran()), "EIO, EPERM, ok");
    });
}

#[test]
fn our_programs_are_as_others_take_them() {
    both(|who| {
        let attempts = Attempts::new(who);
        let policy = "ERRNO(5) { getppid, lseek { offset > 0x100000000 } } DEFAULT ALLOW";
        // A command may be left out.
        let emit = format!(
            "seal --syscalls-string '{policy}' --emit-bpf program && seal --syscalls-string '{policy}' --emit-bpf - | cmp - program"
        );
        assert_eq!(attempts.sh(&emit).ran().out(), "");
        let steps = "getppid 'lseek(99,0x200000000)' 'lseek(99,5)' child:x32:getppid child:i386:20 getuid";
        let expected = "EIO, EIO, EBADF, child killed by 31, child killed by 31, ok";
        for with in ["seal --bpf 7", "bwrap --dev-bind / / --seccomp 7"] {
            let script = format!("exec {with} ./attempt {steps} 7<program");
            assert_eq!(told(&attempts.sh(&script).ran()), expected, "{with}");
        }
        // With a command it is written and run.
        let ran = attempts.seal(&["--syscalls-string", policy, "--emit-bpf", "again"], &["getppid"]).ran();
        assert_eq!(told(&ran), "EIO");
        assert_eq!(attempts.sh("cmp again program").ran().out(), "");
    });
}

#[test]
fn what_is_no_program() {
    both(|who| {
        let attempts = Attempts::new(who);
        for bytes in [0, 7, 12, 4097 * 8] {
            attempts.file("program", vec![6; bytes]);
            let ran = attempts.sh("exec seal --bpf 7 ./attempt getppid 7<program").ran();
            let said = format!(
                "seal: --bpf 7: {bytes} bytes are no program\n\
                 seal: hint: it is 1 to 4096 instructions of 8 bytes each\n"
            );
            assert_eq!((ran.fails(125), &*ran.text()), (&*said, ""));
        }
        // A jump behind the end.
        attempts.file("program", [5, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 0, 0, 255, 127]);
        let ran = attempts.sh("exec seal --bpf 7 ./attempt getppid 7<program").ran();
        assert_eq!((ran.code(), &*ran.text()), (125, ""), "{ran:?}");
        for (fd, said) in
            [("9", "--bpf 9: no such fd is open"), ("x", "--bpf \"x\" is no fd"), ("-1", "--bpf \"-1\" is no fd")]
        {
            let ran = attempts.seal(&["--bpf", fd], &["getppid"]).ran();
            assert_eq!((ran.fails(125), &*ran.text()), (&*format!("seal: {said}\n"), ""));
        }
    });
}
