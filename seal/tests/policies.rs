//! Random policies mean what they say: a plain evaluator and the compiled
//! program, in an interpreter of BPF, do the same with random system calls.

mod common;

use common::accept::Accepted;
use common::bpf;
use common::model::{self, Policy};
use common::profiles::HAS;
use common::random::Random;
use seal::syscalls::explore::outcomes;
use seal::syscalls::policy::{Action, Policy as Compiled};
use seal::syscalls::program::compile;
use seal::syscalls::source::Source;
use seal::syscalls::table::Arch;
use seal::syscalls::{kafel, profile};

/// Of each of the four tests: more than a million pairs in all.
const CASES: u64 = 1300;
const CALLS_EACH: usize = 200;

/// Runs one case from this seed instead of many from new ones.
const SEED: &str = "SEAL_TEST_SEED";

/// Policies of one kind, each with its text; and the tools' reading of a text.
type Make = fn(&mut Random) -> (Policy, String);
type Parse = fn(Source, Arch) -> Result<Compiled, seal::Error>;

fn kafel(source: Source, arch: Arch) -> Result<Compiled, seal::Error> {
    kafel::parse(source, arch)
}

fn profile(source: Source, arch: Arch) -> Result<Compiled, seal::Error> {
    profile::parse(&source, arch, |name| HAS.contains(&name)).map(|(policy, _)| policy)
}

/// One to three policies, and many calls. `audit` is what the architecture is called.
fn case(seed: u64, arch: Arch, make: Make, parse: Parse, accepted: &mut Accepted) {
    let mut random = Random::new(seed, arch);
    let (policies, texts): (Vec<_>, Vec<_>) = (0..random.rng.usize(1..4)).map(|_| make(&mut random)).unzip();
    let told = || format!("{SEED}={seed} {arch:?}\n{}", texts.join("\n--\n"));
    let parsed = texts.iter().map(|text| parse(Source::of_option("policy", text.clone().into()), arch));
    let parsed = parsed.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{error}\n{}", told()));
    let program = compile(arch, &parsed).unwrap_or_else(|error| panic!("{error}\n{}", told()));
    for index in 0..CALLS_EACH {
        let call = random.call();
        let expected = model::result(&policies, arch.audit(), &call);
        let result = bpf::run(&program, &call);
        assert_eq!(result, expected, "{result:#x}, not {expected:#x}, for {call:#x?}\n{}", told());
        if index % 50 == 0 {
            let found = outcomes(&program, call.audit, call.number);
            let action = Action::from_code(result);
            assert!(found.others || found.actions.contains(&action), "{found:?} lacks {action:?}\n{}", told());
        }
    }
    accepted.add(program);
}

fn cases(arch: Arch, make: Make, parse: Parse) {
    let mut accepted = Accepted::default();
    match std::env::var(SEED) {
        Ok(seed) => case(seed.parse().expect("a seed"), arch, make, parse, &mut accepted),
        Err(_) => (0..CASES).for_each(|_| case(fastrand::u64(..), arch, make, parse, &mut accepted)),
    }
    accepted.show();
}

#[test]
fn kafel_on_x86_64() {
    cases(Arch::X86_64, Random::kafel, kafel);
}

#[test]
fn kafel_on_aarch64() {
    cases(Arch::Aarch64, Random::kafel, kafel);
}

#[test]
fn profiles_on_x86_64() {
    cases(Arch::X86_64, Random::profile, profile);
}

#[test]
fn profiles_on_aarch64() {
    cases(Arch::Aarch64, Random::profile, profile);
}
