//! How long a fuzz runs, and from which seed: some seconds and always the same in a run of all tests, which is no place for
//! news; as long as one likes, each time from another seed, in `make fuzz`.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const USUAL_SEED: u64 = 1;

/// A fuzz under way.
pub struct Fuzz {
    pub random: StdRng,
    name: &'static str,
    seed: u64,
    until: Instant,
    inputs: u64,
}

impl Fuzz {
    /// Begins one that takes `usual`, unless `DUNLIN_FUZZ_SECONDS` says otherwise; `DUNLIN_FUZZ_SEED` repeats another.
    pub fn begin(name: &'static str, usual: Duration) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
        let time = number("DUNLIN_FUZZ_SECONDS").map(Duration::from_secs);
        let usual_seed = || if time.is_some() { rand::rng().random() } else { USUAL_SEED };
        let seed = number("DUNLIN_FUZZ_SEED").unwrap_or_else(usual_seed);
        let time = time.unwrap_or(usual);
        println!("fuzz: {name}: {} s, DUNLIN_FUZZ_SEED={seed}", time.as_secs());
        Self { random: StdRng::seed_from_u64(seed), name, seed, until: Instant::now() + time, inputs: 0 }
    }

    /// Whether there is time for another input, which is counted.
    pub fn goes_on(&mut self) -> bool {
        let goes_on = Instant::now() < self.until;
        self.inputs += u64::from(goes_on);
        goes_on
    }

    /// One of them.
    pub fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.random.random_range(0..among.len())]
    }

    /// One of some words.
    pub fn word<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.random.random_range(0..among.len())]
    }

    /// Says how it went, and fails if anything was found.
    pub fn end(self, what: &str, found: &[String]) {
        let Self { name, seed, inputs, .. } = self;
        println!("fuzz: {name}: {inputs} inputs, {} {what}", found.len());
        assert!(found.is_empty(), "DUNLIN_FUZZ_SEED={seed}: {}", found.join("\n\n"));
        assert!(inputs > 0, "there was no time for any input");
    }
}
