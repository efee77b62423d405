//! Deliberate differences: cases that pass with one configuration of the server and must not with another.
//!
//! A plain text file, `case reason` a line, `#` begins a comment line. Held against the outcomes of an earlier run (written by `--json`): of
//! the cases that passed there, exactly the listed ones must fail here. So the list is neither too short nor too long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::runner::{Outcome, Verdict};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deliberate(BTreeMap<String, String>);

/// A row of what `--json` writes.
#[derive(Debug, Deserialize)]
struct Before {
    id: String,
    passed: bool,
}

impl Deliberate {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut reasons = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (case, reason) = line.split_once(char::is_whitespace).with_context(|| format!("`{line}` has no reason"))?;
            if reasons.insert(case.to_owned(), reason.trim().to_owned()).is_some() {
                bail!("`{case}` is listed twice");
            }
        }
        Ok(Self(reasons))
    }

    /// What is wrong with the list, after a run whose predecessor's outcomes are in a file.
    pub(crate) fn judged(&self, before: &Path, outcomes: &[Outcome<'_>]) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(before).with_context(|| format!("cannot read `{}`", before.display()))?;
        let rows: Vec<Before> = serde_json::from_str(&text).with_context(|| format!("in `{}`", before.display()))?;
        let passed = rows.into_iter().filter(|row| row.passed).map(|row| row.id).collect();
        let failed = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
        Ok(self.complaints(&passed, &failed.map(|outcome| outcome.case.id.clone()).collect()))
    }

    fn complaints(&self, passed_before: &BTreeSet<String>, failed: &BTreeSet<String>) -> Vec<String> {
        let unlisted = failed.intersection(passed_before).filter(|case| !self.0.contains_key(*case));
        let unlisted = unlisted.map(|case| format!("{case} differs and is not listed"));
        let idle = self.0.iter().filter(|(case, _)| !failed.contains(*case));
        let idle = idle.map(|(case, reason)| format!("{case} is listed ({reason}) and does not differ"));
        let unproven = self.0.keys().filter(|case| !passed_before.contains(*case));
        let unproven = unproven.map(|case| format!("{case} is listed and did not pass in the run before"));
        unlisted.chain(idle).chain(unproven).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn the_list_is_exact() {
        let list = Deliberate::parse("# comment\n\npush-1 late entries\njson-2  is sane\n").unwrap();
        let before = cases(&["push-1", "json-2", "json-3"]);
        assert!(list.complaints(&before, &cases(&["push-1", "json-2", "failed-always"])).is_empty());
        assert_eq!(list.complaints(&before, &cases(&["push-1", "json-2", "json-3"])), ["json-3 differs and is not listed"]);
        assert_eq!(list.complaints(&before, &cases(&["push-1"])), ["json-2 is listed (is sane) and does not differ"]);
        assert_eq!(
            list.complaints(&cases(&["push-1"]), &cases(&["push-1", "json-2"])),
            ["json-2 is listed and did not pass in the run before"]
        );
    }

    #[test]
    fn a_line_without_a_reason_or_a_case_twice_is_refused() {
        assert!(Deliberate::parse("push-1").is_err());
        assert!(Deliberate::parse("push-1 x\npush-1 y").is_err());
    }
}
