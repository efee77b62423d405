//! Which call fails: rules first, then chance.

use crate::fault::{Fault, Operation};

/// Faults for the calls of one operation on keys that contain a text.
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Operation,
    key: String,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl Rule {
    /// The next call of `operation` gets `fault`.
    pub fn new(operation: Operation, fault: Fault) -> Self {
        Self { operation, key: String::new(), skip: 0, times: 1, fault }
    }

    /// Only keys that contain `text`.
    #[must_use]
    pub fn on(mut self, text: &str) -> Self {
        text.clone_into(&mut self.key);
        self
    }

    /// The first `calls` that fit go well.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// The fault for a call, if this rule has one.
    fn draw(&mut self, operation: Operation, key: &str) -> Option<Fault> {
        if operation != self.operation || !key.contains(&self.key) || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault)
    }
}

/// Faults by chance, from a seed.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    faults: Vec<(Operation, u32, Fault)>,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, faults: Vec::new() }
    }

    /// Of 1,000 calls of `operation`, about `per_mille` get `fault` (which bit is flipped is drawn, too).
    #[must_use]
    pub fn with(mut self, operation: Operation, per_mille: u32, fault: Fault) -> Self {
        self.faults.push((operation, per_mille, fault));
        self
    }

    fn draw(&mut self, operation: Operation) -> Option<Fault> {
        let mut chance = u32::try_from(self.next() % 1000).expect("below 1,000");
        let found = self.faults.iter().find(|(of, per_mille, _)| {
            let is_drawn = *of == operation && chance < *per_mille;
            chance = if *of == operation { chance.saturating_sub(*per_mille) } else { chance };
            is_drawn
        })?;
        Some(match found.2 {
            Fault::Flip(_) => Fault::Flip(self.next()),
            fault => fault,
        })
    }

    /// SplitMix64: small, and good enough to spread faults.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<Rule>,
    pub(crate) random: Option<Random>,
    /// How many of the newest objects listings do not show.
    pub(crate) hidden: usize,
}

impl Plan {
    pub(crate) fn draw(&mut self, operation: Operation, key: &str) -> Option<Fault> {
        let ruled = self.rules.iter_mut().find_map(|rule| rule.draw(operation, key));
        ruled.or_else(|| self.random.as_mut()?.draw(operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Answer;

    const FAULT: Fault = Fault::Refused(Answer::Reset);

    #[test]
    fn a_rule_skips_then_strikes_then_rests() {
        let mut rule = Rule::new(Operation::Put, FAULT).on("manifest").skip(1).times(2);
        assert_eq!(rule.draw(Operation::Get, "manifest/1"), None);
        assert_eq!(rule.draw(Operation::Put, "data/1"), None);
        let drawn = [0; 4].map(|_| rule.draw(Operation::Put, "manifest/1").is_some());
        assert_eq!(drawn, [false, true, true, false]);
    }

    #[test]
    fn chance_keeps_its_rates_and_its_seed() {
        let draws = |seed| {
            let mut random = Random::new(seed).with(Operation::Put, 100, FAULT).with(Operation::Get, 900, FAULT).with(
                Operation::Put,
                50,
                Fault::Short(1),
            );
            (0..10_000).map(|_| random.draw(Operation::Put)).collect::<Vec<_>>()
        };
        let drawn = draws(7);
        assert_eq!(drawn, draws(7));
        assert_ne!(drawn, draws(8));
        let of = |fault| drawn.iter().filter(|found| **found == Some(fault)).count();
        assert!((900..1100).contains(&of(FAULT)) && (400..600).contains(&of(Fault::Short(1))), "{} {}", of(FAULT), of(Fault::Short(1)));
    }
}
