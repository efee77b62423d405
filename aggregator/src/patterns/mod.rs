//! Patterns of log lines: lines that differ only in some words are one pattern with `<_>` in place of those words.
//!
//! ```text
//! line → tokens (words, by the format of the line) → tree (which cluster) → cluster (template, counts) → Pattern
//! ```
//! Pure, and bounded whatever is fed: at most [`MAX_MINERS`] trees of [`tree::MAX_CLUSTERS`] clusters; of those the one that was
//! met longest ago makes room for a new one. A pattern can be used as it is in the filter `|>`.

mod cluster;
mod tokens;
mod tree;

use std::collections::{BTreeMap, HashMap};

use crate::patterns::tokens::{Format, Tokens};
use crate::patterns::tree::Tree;

/// Levels and formats that are told apart; lines of further ones are not looked at.
const MAX_MINERS: usize = 64;
/// Longer lines are not looked at.
const MAX_LINE: usize = 3000;
/// Words that a line must and may have.
const MIN_TOKENS: usize = 4;
const MAX_TOKENS: usize = 80;
/// Lines that make a pattern worth telling.
const MIN_LINES: f64 = 30.0;
/// Patterns that are told.
const MAX_PATTERNS: usize = 300;

/// Lines of one form and level.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    pub text: String,
    pub level: String,
    /// Lines by the beginning of the step (nanoseconds since the epoch) that they are in, ascending.
    pub samples: BTreeMap<i64, u64>,
}

/// Takes lines and tells their patterns.
#[derive(Debug)]
pub struct PatternMiner {
    step: i64,
    miners: HashMap<(String, Format), Tree>,
}

impl PatternMiner {
    /// `step`: nanoseconds, > 0.
    pub fn new(step: i64) -> Self {
        Self { step, miners: HashMap::new() }
    }

    /// Takes a line, which stands for `weight` lines like it.
    pub fn add(&mut self, level: &str, timestamp: i64, line: &str, weight: f64) {
        if line.len() > MAX_LINE {
            return;
        }
        let Some(tokens) = Tokens::of(line.trim_end_matches(['\n', '\r'])) else { return };
        if !(MIN_TOKENS..=MAX_TOKENS).contains(&tokens.len()) {
            return;
        }
        let key = (level.to_owned(), tokens.format());
        if self.miners.len() >= MAX_MINERS && !self.miners.contains_key(&key) {
            return;
        }
        let step = timestamp - timestamp.rem_euclid(self.step);
        self.miners.entry(key).or_default().add(&tokens, step, weight);
    }

    /// Patterns of enough lines, those of most lines first.
    pub fn patterns(self) -> Vec<Pattern> {
        let mut merged: BTreeMap<(String, String), BTreeMap<i64, f64>> = BTreeMap::new();
        for ((level, _), tree) in self.miners {
            for cluster in tree.into_clusters() {
                let samples = merged.entry((cluster.text(), level.clone())).or_default();
                for (step, count) in cluster.counts() {
                    *samples.entry(*step).or_insert(0.0) += count;
                }
            }
        }
        let mut all: Vec<(f64, Pattern)> = Vec::new();
        for ((text, level), samples) in merged {
            let total: f64 = samples.values().sum();
            if total >= MIN_LINES {
                let samples = samples.into_iter().map(|(step, count)| (step, count.round() as u64)).collect();
                all.push((total, Pattern { text, level, samples }));
            }
        }
        all.sort_by(|left, right| right.0.total_cmp(&left.0));
        all.into_iter().take(MAX_PATTERNS).map(|(_, pattern)| pattern).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tailwater_logql::ast::Expr;
    use tailwater_logql::labels::LabelSet;
    use tailwater_logql::needed::NeededLabels;
    use tailwater_logql::pipeline::{Pipeline, PipelineOptions};

    const SECOND: i64 = 1_000_000_000;

    fn mined(lines: impl IntoIterator<Item = String>) -> Vec<Pattern> {
        let mut miner = PatternMiner::new(60 * SECOND);
        for (index, line) in lines.into_iter().enumerate() {
            miner.add("info", index as i64 * SECOND, &line, 1.0);
        }
        miner.patterns()
    }

    fn texts(lines: impl IntoIterator<Item = String>) -> Vec<String> {
        mined(lines).into_iter().map(|pattern| pattern.text).collect()
    }

    /// Whether a pattern, used as a filter, finds a line; `None` if it is no filter.
    fn finds(pattern: &str, line: &str) -> Option<bool> {
        let quoted = serde_json::to_string(pattern).expect("a string");
        let Ok(Expr::Log(log)) = tailwater_logql::parse(&format!("{{a=\"b\"}} |> {quoted}")) else { return None };
        let options = PipelineOptions { strict_loki: false };
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &options).ok()?;
        let mut stages = pipeline.for_stream(&LabelSet::default());
        Some(stages.process(0, line.as_bytes(), &[]).is_some())
    }

    #[test]
    fn words_that_differ_become_placeholders_and_the_pattern_finds_its_lines() {
        let of = |line: &dyn Fn(usize) -> String| (0..50).map(line).collect::<Vec<String>>();
        for (lines, expected) in [
            (of(&|i| format!("user u{i} logged in from 10.0.0.{i} after {} ms", i * 3)), "user <_> logged in from <_> after <_> ms"),
            (of(&|i| format!("level=info msg=\"request done\" id={i} took={i}ms")), "level=info msg=\"request done\" id=<_> took=<_>"),
            (of(&|i| format!("{{\"level\":\"warn\",\"msg\":\"cache miss for key {i}\",\"took\":{i}}}")), "<_>cache miss for key <_>"),
            (
                of(&|i| format!("E0115 10:00:{i:02}.{i:06} 1 pod_workers.go:{}] Error syncing pod shop/api-{i}", 100 + i)),
                "E0115 <_> 1 <_>] Error syncing pod <_>",
            ),
            (of(&|i| format!("two  spaces and <tag{i}> (value {i}), done")), "two  spaces and <_> (value <_>), done"),
            (of(&|i| format!("begin {i} {i} and end {i}")), "begin <_> and end <_>"),
        ] {
            assert_eq!(texts(lines.clone()), [expected]);
            for line in lines {
                assert_eq!(finds(expected, &line), Some(true), "{expected} does not find {line}");
            }
        }
    }

    #[test]
    fn different_messages_are_different_patterns_and_rare_ones_are_not_told() {
        let lines = (0..45).flat_map(|i| {
            let rare = (i % 2 == 0).then(|| format!("cache of shard {i} is cold"));
            [format!("GET /items/{i} 200 {}", i * 7), format!("connection to db-{i} lost, retry in {i}s")].into_iter().chain(rare)
        });
        let mut found = texts(lines);
        found.sort();
        assert_eq!(found, ["GET <_> 200 <_>", "connection to <_> lost, retry in <_>"]);
    }

    #[test]
    fn lines_are_counted_by_step_and_level_with_their_weight() {
        let mut miner = PatternMiner::new(60 * SECOND);
        for second in 0..90 {
            let (level, weight) = if second < 45 { ("info", 1.0) } else { ("warn", 2.5) };
            miner.add(level, second * SECOND, &format!("a line with number {second}"), weight);
        }
        let found: Vec<_> = miner.patterns().into_iter().map(|pattern| (pattern.level, pattern.samples)).collect();
        let expected = [("warn".to_owned(), BTreeMap::from([(0, 38), (60 * SECOND, 75)])), ("info".to_owned(), BTreeMap::from([(0, 45)]))];
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_too_short_or_too_long_are_left_out() {
        let lines =
            (0..100).map(|i| if i % 2 == 0 { format!("only three {i}") } else { format!("a very long line {}", "x".repeat(MAX_LINE)) });
        assert_eq!(texts(lines), Vec::<String>::new());
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut miner = PatternMiner::new(SECOND);
        for number in 0..20_000_i64 {
            let word: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            miner.add(&format!("level{}", number % 100), number * SECOND, &format!("{word} b{word} c{word} d{word} {word}"), 1.0);
        }
        assert_eq!(miner.miners.len(), MAX_MINERS);
        for tree in miner.miners.values() {
            assert!(tree.clusters() <= tree::MAX_CLUSTERS && tree.nodes() <= tree::MAX_NODES);
        }
    }

    proptest! {
        #[test]
        fn any_lines_give_patterns_that_are_filters(lines in proptest::collection::vec("[ a-c0-2=\"<>_{}:,\\[\\]é\\\\]{0,40}", 1..20)) {
            let mut miner = PatternMiner::new(SECOND);
            for line in &lines {
                miner.add("info", 0, line, 30.0);
            }
            for pattern in miner.patterns() {
                prop_assert!(finds(&pattern.text, "x").is_some(), "{} is no filter", pattern.text);
            }
        }
    }
}
