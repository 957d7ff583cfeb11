//! Policies at the edges of what can be compiled: each becomes a program that
//! does what it says, or is refused with its reason, and soon.

#[path = "common/accept.rs"]
#[allow(dead_code, reason = "only the kernel is asked here")]
mod accept;
#[path = "common/bpf.rs"]
mod bpf;

use std::path::Path;

use accept::Accepted;
use bpf::Call;
use seal::syscalls::policy::Policy;
use seal::syscalls::program::{MAX_INSTRUCTIONS, Program, compile};
use seal::syscalls::source::Source;
use seal::syscalls::table::Arch;
use seal::syscalls::{kafel, profile};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;

fn parse(text: &str) -> Result<Policy, String> {
    kafel::parse(Source::of_option("policy", text.into()), Arch::X86_64).map_err(|error| error.to_string())
}

fn program(text: &str) -> Result<Program, String> {
    compile(Arch::X86_64, &[parse(text)?]).map_err(|error| error.to_string())
}

/// What read(2) with these arguments comes to.
fn read(program: &Program, fd: u64, buffer: u64, count: u64) -> u32 {
    let args = [fd, buffer, count, 0, 0, 0];
    bpf::run(program, &Call { number: 0, audit: Arch::X86_64.audit(), pointer: 0, args })
}

fn join(count: usize, separator: &str, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(separator)
}

/// Each of many conditions is the only one that counts, however far its jump is.
#[test]
fn far_jumps() {
    for (separator, hit, miss) in [(" || ", ALLOW, KILL), (", ", ALLOW, KILL)] {
        let program = program(&format!("ALLOW {{ read {{ {} }} }}", join(800, separator, |n| format!("buf == {n}"))));
        let program = program.unwrap();
        assert!(program.len() > 2 * 800);
        for n in 0..800 {
            assert_eq!(read(&program, 0, n, 0), hit, "{n}");
        }
        assert_eq!(read(&program, 0, 800, 0), miss);
        assert_eq!(read(&program, 0, 1 << 32, 0), miss);
    }
    let all = program(&format!("ALLOW {{ read {{ {} }} }}", join(800, " && ", |n| format!("fd != {n}")))).unwrap();
    for n in 0..800 {
        assert_eq!(read(&all, n, 0, 0), KILL, "{n}");
    }
    assert_eq!(read(&all, 800, 0, 0), ALLOW);
    let mut accepted = Accepted::default();
    accepted.add(all);
    accepted.show();
}

#[test]
fn as_many_instructions_as_the_kernel_takes() {
    let with = |count| program(&format!("ALLOW {{ read {{ {} }} }}", join(count, ", ", |n| format!("fd == {n}"))));
    let most = (1..2048).collect::<Vec<_>>().partition_point(|&count| with(count).is_ok());
    let program = with(most).unwrap();
    assert!((MAX_INSTRUCTIONS - 4..=MAX_INSTRUCTIONS).contains(&program.len()), "{}", program.len());
    let mut accepted = Accepted::default();
    accepted.add(program);
    accepted.show();
    let error = with(most + 1).unwrap_err();
    assert_eq!(error, "the policy is too large: the kernel takes programs of 4096 instructions");
}

/// One that allocates or computes for long is killed with the whole test.
#[test]
fn too_much_is_refused() {
    let deep = "(".repeat(100_000);
    let not = "!".repeat(100_000);
    let uses = |first: &str| {
        let doubled = join(40, "\n", |n| format!("POLICY p{} {{ USE p{n}, USE p{n} }}", n + 1));
        format!("POLICY p0 {{ {first} }}\n{doubled}\nUSE p40")
    };
    let chain = join(70_000, ",", |n| format!("dup{{fildes=={n}}}"));
    let parts = |count| join(count, "|", |n| ["buf", "count"][n % 2].into());
    let cases = [
        (format!("ALLOW {{ read {{ {deep} }} }}"), "this is nested too deep"),
        (format!("ALLOW {{ read {{ {not}(fd == 1) }} }}"), "this is nested too deep"),
        (uses("ALLOW { read { fd == 1 } }"), "more than 65536 rules"),
        (format!("ALLOW{{{chain}}}"), "more than 65536 rules"),
        (format!("ALLOW {{ read {{ 1 == {} }} }}", parts(5000)), "too many parts"),
        (format!("KILL {{ {} }}", "x".repeat(200_000)), "unknown system call"),
    ];
    for (text, reason) in cases {
        let error = program(&text).unwrap_err();
        assert!(error.contains(reason), "{:.80}: {error:.300}", text);
    }
}

/// What is a value of many parts is computed, in words of memory as they are
/// needed: a chain needs few.
#[test]
fn long_values() {
    for count in [2, 10, 100, 400] {
        let value = join(count, "|", |n| ["buf", "count"][n % 2].into());
        let program = program(&format!("ALLOW {{ read {{ ({value}) == 7 }} }}")).unwrap();
        assert_eq!(read(&program, 0, 3, 4), ALLOW);
        assert_eq!(read(&program, 0, 3, 8), KILL);
        assert_eq!(read(&program, 0, 3, 4 | 1 << 40), KILL);
    }
}

/// A long chain of rules for one system call is gone through without the stack.
#[test]
fn long_chains_of_rules() {
    let chain = join(50_000, ",", |n| format!("dup{{fildes=={n}}}"));
    let policies = ["KILL", "LOG"].map(|action| parse(&format!("{action}{{{chain}}} DEFAULT ALLOW")).unwrap());
    for policies in [&policies[..1], &policies] {
        let error = compile(Arch::X86_64, policies).unwrap_err().to_string();
        assert!(error.starts_with("the policy "), "{error}");
    }
}

/// Names and conditions of a profile multiply.
/// What is shared, by a policy that others use or by all that another one
/// refuses, is neither copied nor gone through for each.
#[test]
fn what_is_repeated_costs_once() {
    let conditions = join(2000, ", ", |n| format!("fd == {n}"));
    let uses = join(15, "\n", |n| format!("POLICY p{} {{ USE p{n}, USE p{n} }}", n + 1));
    let doubled = format!("POLICY p0 {{ ALLOW {{ read {{ {conditions} }} }} }}\n{uses}\nUSE p15");
    assert_eq!(
        program(&doubled).unwrap_err(),
        "the policy is too large: the kernel takes programs of 4096 instructions"
    );
    let one = join(20_000, " ", |n| format!("ERRNO({n}) {{ read {{ fd == {n} }} }}"));
    let other = join(20_000, " ", |n| format!("{} {{ read {{ count == {n} }} }}", ["KILL", "TRAP(1)"][n % 2]));
    let both = [parse(&one).unwrap(), parse(&other).unwrap()];
    let error = compile(Arch::X86_64, &both).unwrap_err().to_string();
    assert_eq!(error, "the policy has more than 65536 conditions");
}

#[test]
fn a_profile_of_many_rules() {
    let names = join(50_000, ",", |_| "\"dup\"".into());
    let test = |n| format!(r#"{{"index":0,"op":"SCMP_CMP_EQ","value":{n}}}"#);
    let tests = join(10_000, ",", test);
    let text = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"action":"SCMP_ACT_LOG","names":[{names}],"args":[{tests}]}}]}}"#
    );
    let error = profile::parse(&Source::of_option("profile", text.into()), Arch::X86_64, |_| true).unwrap_err();
    assert!(error.to_string().contains("more than 65536 rules"), "{error}");
}

#[test]
fn a_file_that_includes_itself() {
    let path = std::env::temp_dir().join(format!("seal-limits-{}.policy", std::process::id()));
    let name = path.file_name().unwrap().to_str().unwrap();
    for text in [format!("#include \"{name}\"\n"), format!("#include \"{name}\" \"{name}\"\n")] {
        std::fs::write(&path, &text).unwrap();
        let error = kafel::parse(Source::read(Path::new(&path)).unwrap(), Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains(":1:10: too many files include one another"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
}

/// Whatever the table has can be written in a policy.
#[test]
fn every_call_and_argument_has_a_name() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for call in arch.calls() {
            for name in [call.name, call.entry] {
                let tests: Vec<String> = call.args().map(|arg| format!("{} == 1", arg.name)).collect();
                let text = format!("ALLOW {{ {name}, {} {{ {} }} }}", call.name, tests.join(" && "));
                let source = Source::of_option("policy", text.clone().into());
                kafel::parse(source, arch).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
}

/// In Kafel an error, unless it is for another architecture; in a profile skipped.
#[test]
fn a_name_that_the_architecture_lacks() {
    let arm = |text: &str| kafel::parse(Source::of_option("policy", text.into()), Arch::Aarch64);
    let said = arm("ALLOW { open }").unwrap_err().to_string();
    let first = "policy:1:9: aarch64 has no system call \"open\": \"open ON x86_64\" is skipped here\n";
    assert!(said.starts_with(first), "{said}");
    let skipped = arm("ALLOW { open ON x86_64 { filename == 1 }, openat }").unwrap();
    assert_eq!(skipped.rules.iter().map(|rule| rule.number).collect::<Vec<_>>(), [56]);
    let text = r#"{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": ["open", "openat"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let source = Source::of_option("profile", text.into());
    assert_eq!(profile::parse(&source, Arch::Aarch64, |_| false).unwrap().0, skipped);
}
