//! The ratchet: how many cases of each category must pass at least.
//!
//! A plain text file, `category minimum` a line, `#` begins a comment line. [`Minimums::raised`] only ever
//! raises; to lower a minimum somebody edits the file and says why in the commit. A category that is named
//! in the file but did not run (its server is missing, say) counts as none passed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::score::Score;

const HEAD: &str = "# Cases of each category that must pass at least; `--write-expect` raises them, only a person lowers them.\n";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minimums(BTreeMap<String, usize>);

impl Minimums {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut minimums = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = || format!("line {} is `{line}`, expected `category minimum`", index + 1);
            let (category, minimum) = line.split_once(char::is_whitespace).with_context(place)?;
            let minimum = minimum.trim().parse().with_context(place)?;
            if minimums.insert(category.to_owned(), minimum).is_some() {
                bail!("line {} names `{category}` a second time", index + 1);
            }
        }
        Ok(Self(minimums))
    }

    /// Keeps only the categories that `is_wanted`, for a run that was narrowed.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.0.retain(|category, _| is_wanted(category));
    }

    /// One text for each category that stays below its minimum.
    pub(crate) fn missed(&self, score: &Score) -> Vec<String> {
        let missed = self.0.iter().filter_map(|(category, minimum)| {
            let count = score.categories.get(category);
            let passed = count.map_or(0, |count| count.passed);
            let not_run = if count.is_none() { " (not run)" } else { "" };
            (passed < *minimum).then(|| format!("{category}: {passed} passed, at least {minimum} must{not_run}"))
        });
        missed.collect()
    }

    /// These minimums, each raised to what passed in `score`.
    pub(crate) fn raised(&self, score: &Score) -> Self {
        let mut minimums = self.0.clone();
        for (category, count) in &score.categories {
            let minimum = minimums.entry(category.clone()).or_default();
            *minimum = count.passed.max(*minimum);
        }
        Self(minimums)
    }

    /// The file, written beside and renamed, so that it is never half there.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = HEAD.to_owned();
        for (category, minimum) in &self.0 {
            text.push_str(&format!("{category} {minimum}\n"));
        }
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, text).with_context(|| format!("cannot write `{}`", beside.display()))?;
        std::fs::rename(&beside, path).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Count;

    fn score(rows: &[(&str, usize)]) -> Score {
        let categories = rows.iter().map(|(category, passed)| ((*category).to_owned(), Count { passed: *passed, total: 10 }));
        Score { categories: categories.collect(), skipped: 0 }
    }

    #[test]
    fn a_category_below_its_minimum_or_not_run_is_missed() {
        let minimums = Minimums::parse("# comment\n\njson 8\nlogfmt  9\ntenancy 1\n").unwrap();
        assert!(minimums.missed(&score(&[("json", 8), ("logfmt", 9), ("tenancy", 1), ("other", 0)])).is_empty());
        let missed = minimums.missed(&score(&[("json", 7), ("logfmt", 10)]));
        assert_eq!(missed, ["json: 7 passed, at least 8 must", "tenancy: 0 passed, at least 1 must (not run)"]);
    }

    #[test]
    fn raising_never_lowers() {
        let raised = Minimums::parse("json 8\nlogfmt 3\n").unwrap().raised(&score(&[("json", 5), ("logfmt", 4), ("new", 2)]));
        assert_eq!(raised, Minimums::parse("json 8\nlogfmt 4\nnew 2\n").unwrap());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("expected.txt");
        let minimums = Minimums::parse("json 8\nlogfmt 3\n").unwrap();
        minimums.write(&path).unwrap();
        assert_eq!(Minimums::read(&path).unwrap(), minimums);
    }

    #[test]
    fn a_broken_line_is_refused_with_its_number() {
        for text in ["json", "json x", "json 1\njson 2"] {
            assert!(format!("{:#}", Minimums::parse(text).unwrap_err()).contains("line"), "{text}");
        }
    }
}
