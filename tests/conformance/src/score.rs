//! Counts by category, and what is printed of a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::difference::shown;
use crate::runner::{Outcome, Verdict};
use crate::suite::{OneOrMany, Step};

/// Passed and run cases of one category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) total: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) categories: BTreeMap<String, Count>,
    pub(crate) skipped: usize,
}

impl Score {
    pub(crate) fn of(outcomes: &[Outcome<'_>]) -> Self {
        let mut score = Self::default();
        for outcome in outcomes {
            if outcome.verdict == Verdict::Skipped {
                score.skipped += 1;
                continue;
            }
            let count = score.categories.entry(outcome.case.category.clone()).or_default();
            count.total += 1;
            count.passed += usize::from(outcome.verdict == Verdict::Passed);
        }
        score
    }

    pub(crate) fn passed(&self) -> usize {
        self.categories.values().map(|count| count.passed).sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.categories.values().map(|count| count.total - count.passed).sum()
    }

    /// One line a category, and one on what was skipped.
    pub(crate) fn table(&self) -> String {
        let width = self.categories.keys().map(String::len).max().unwrap_or(0).max(8);
        let mut text = String::new();
        for (category, count) in &self.categories {
            let line = format!("{category:<width$}  {:>4}/{}\n", count.passed, count.total);
            text.push_str(&line);
        }
        if self.skipped > 0 {
            let line = format!("skipped {} tenant cases (no --auth-url)\n", self.skipped);
            text.push_str(&line);
        }
        text
    }

    pub(crate) fn last_line(&self) -> String {
        format!("{} passed, {} failed", self.passed(), self.failed())
    }
}

/// The first `limit` failing cases: request, parameters, what differed.
pub(crate) fn failures(outcomes: &[Outcome<'_>], limit: usize) -> String {
    let mut text = String::new();
    let failed = outcomes.iter().filter_map(|outcome| match &outcome.verdict {
        Verdict::Failed(difference) => Some((outcome.case, difference)),
        _ => None,
    });
    for (case, difference) in failed.take(limit) {
        let Some(first) = case.steps.first() else { continue };
        let params = shown(&params_of(first));
        write!(text, "\n{}: {} {}\n  params: {params}\n  {difference}\n", case.id, first.method, first.path)
            .expect("writing to a string succeeds");
    }
    text
}

/// Every outcome but the skipped ones, as a JSON list.
pub(crate) fn outcomes_json(outcomes: &[Outcome<'_>]) -> Value {
    let rows = outcomes.iter().filter_map(|outcome| {
        let difference = match &outcome.verdict {
            Verdict::Passed => Value::Null,
            Verdict::Failed(difference) => json!(difference),
            Verdict::Skipped => return None,
        };
        Some(json!({
            "id": outcome.case.id,
            "category": outcome.case.category,
            "passed": difference.is_null(),
            "difference": difference,
        }))
    });
    Value::Array(rows.collect())
}

fn params_of(step: &Step) -> Value {
    let pairs = step.params.iter().map(|(name, value)| {
        let value = match value {
            OneOrMany::One(value) => json!(value),
            OneOrMany::Many(values) => json!(values),
        };
        (name.clone(), value)
    });
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_ends_with_what_was_skipped() {
        let count = |passed, total| Count { passed, total };
        let categories = BTreeMap::from([("json".to_owned(), count(9, 10)), ("line_filters".to_owned(), count(120, 120))]);
        let score = Score { categories, skipped: 2 };
        assert_eq!(score.table(), "json             9/10\nline_filters   120/120\nskipped 2 tenant cases (no --auth-url)\n");
        assert_eq!(score.last_line(), "129 passed, 1 failed");
    }
}
