//! `sampling`: a share of the lines, chosen by a hash of where a line stands, so that a replay chooses the same.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Outcome;
use super::context::StageContext;
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_REASON: &str = "sampling_stage";

#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    /// 0 to 1.
    rate: f64,
    reason: String,
}

impl Sampling {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("sampling", node, report)?.weakly_typed();
        let rate = settings.number("rate").unwrap_or(0.0);
        if !(0.0..=1.0).contains(&rate) {
            let line = settings.line();
            settings.wrong(line, "`rate` must be between 0 and 1");
        }
        let reason = settings.text("drop_counter_reason").filter(|reason| !reason.is_empty()).unwrap_or_else(|| DEFAULT_REASON.to_owned());
        settings.finish().then_some(Self { rate, reason })
    }

    pub(crate) fn apply(&self, context: &StageContext<'_>) -> Outcome {
        let hash = xxh3_64_with_seed(&context.offset.to_le_bytes(), context.file_key);
        // The upper half, so that the division is exact.
        let [a, b, c, d, ..] = hash.to_be_bytes();
        let share = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
        if share < self.rate {
            return Outcome::Keep;
        }
        context.counters.dropped(&self.reason);
        Outcome::Gone
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    #[test]
    fn a_share_is_kept_and_it_is_the_same_again() {
        let lines = vec!["x"; 1000];
        let origins = || -> Vec<u64> { run_lines("- sampling: {rate: 0.5}", &lines).iter().map(|entry| entry.origin.first).collect() };
        let first = origins();
        assert!((400..600).contains(&first.len()), "{}", first.len());
        assert_eq!(first, origins());
        assert_eq!(run_lines("- sampling: {rate: 1}", &lines).len(), 1000);
        assert_eq!(run_lines("- sampling: {rate: 0}", &lines).len(), 0);
        assert_eq!(run_lines("- sampling: {rate: '1'}", &lines).len(), 1000, "text stands for a number");
        assert!(problems("- sampling: {rate: 2}")[0].contains("sampling stage"));
    }
}
