//! Policies with random faults are refused, or become programs that the kernel
//! takes: what the fuzz targets look for, without their guidance.

#[path = "common/accept.rs"]
mod accept;

use std::path::Path;

use accept::Accepted;
use fastrand::Rng;

const INPUTS: usize = 20_000;

/// Repeats one run.
const SEED: &str = "SEAL_TEST_SEED";

/// What is worth putting anywhere.
const WORDS: [&str; 24] = [
    "ALLOW",
    "POLICY",
    "USE",
    "DEFAULT",
    "ERRNO(",
    "SYSCALL[",
    "ON",
    "#define",
    "#include",
    "\"",
    "{",
    "}",
    "(",
    ")",
    ",",
    "!",
    "&&",
    "||",
    "&",
    "|",
    "<=",
    "-1",
    "0x",
    "18446744073709551615",
];

fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(kind);
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Some bytes of a text: from somewhere to somewhere.
fn part(rng: &mut Rng, text: &[u8]) -> std::ops::Range<usize> {
    let start = rng.usize(..=text.len());
    let most = (text.len() - start).min(40);
    start..start + rng.usize(..=most)
}

fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut text = rng.choice(corpus).unwrap().clone();
    for _ in 0..rng.usize(1..6) {
        let here = part(rng, &text);
        let other = rng.choice(corpus).unwrap();
        let there = part(rng, other);
        match rng.u32(..6) {
            0 => drop(text.drain(here)),
            1 => drop(text.splice(here, other[there].iter().copied())),
            2 => drop(text.splice(here.start..here.start, other[there].iter().copied())),
            3 => drop(text.splice(here.start..here.start, rng.choice(WORDS).unwrap().bytes())),
            4 => text[here].iter_mut().take(1).for_each(|byte| *byte = rng.u8(..)),
            _ => {
                let again = text[here.clone()].repeat(rng.usize(1..8));
                drop(text.splice(here, again));
            }
        }
    }
    text
}

fn run(kind: &str, take: fn(&[u8], &mut Accepted)) {
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a seed"));
    println!("{SEED}={seed}");
    let (mut rng, mut accepted) = (Rng::with_seed(seed), Accepted::default());
    let corpus = corpus(kind);
    corpus.iter().for_each(|text| take(text, &mut accepted));
    assert!(accepted.count >= corpus.len(), "each of {} is a policy somewhere", corpus.len());
    for _ in 0..INPUTS {
        take(&mutate(&mut rng, &corpus), &mut accepted);
    }
    accepted.show();
}

#[test]
fn kafel() {
    run("kafel", accept::kafel);
}

#[test]
fn profile() {
    run("profile", accept::profile);
}
