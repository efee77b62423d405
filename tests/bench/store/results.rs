//! The file of figures that later runs are compared with: `tests/bench/results/store-<size>.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tailwater_e2e::programs::repository;

use crate::figures::Figure;
use crate::machine::Machine;
use crate::options::DataSize;

const FOLDER: &str = "tests/bench/results";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub machine: Machine,
    pub figures: BTreeMap<String, Saved>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Nothing where the program refused.
    pub value: Option<f64>,
    pub unit: String,
    /// How many times the yardstick of its run.
    pub ratio: Option<f64>,
}

impl Results {
    pub(crate) fn of(machine: Machine, figures: &[Figure]) -> Self {
        let saved = |figure: &Figure| {
            let ratio = figure.ratio.map(|(ratio, _)| rounded(ratio));
            (figure.key.clone(), Saved { value: figure.value.map(rounded), unit: figure.unit.to_owned(), ratio })
        };
        Self { machine, figures: figures.iter().map(saved).collect() }
    }

    /// The last committed ones of this size.
    pub(crate) fn committed(size: &DataSize) -> Option<Self> {
        let object = format!("HEAD:{FOLDER}/{}", file_name(size));
        let output = Command::new("git").current_dir(repository()).args(["show", &object]).output().ok()?;
        // A file of an earlier form has nothing to compare with.
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    pub(crate) fn save(&self, size: &DataSize) -> Result<PathBuf> {
        let folder = repository().join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(file_name(size));
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}

fn file_name(size: &DataSize) -> String {
    format!("store-{}.json", size.name)
}

/// To four digits: more would be noise in every diff.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_result_is_read_back() {
        let saved = Saved { value: Some(12.5), unit: "ms".to_owned(), ratio: None };
        let results = Results { machine: Machine::look(), figures: BTreeMap::from([("push".to_owned(), saved)]) };
        let text = serde_json::to_string_pretty(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
        assert!(!results.machine.date.is_empty() && results.machine.cores > 0);
    }

    #[test]
    fn figures_keep_four_digits() {
        assert_eq!([rounded(0.0), rounded(0.123_456), rounded(12_345.6), rounded(9.999_96)], [0.0, 0.1235, 12_350.0, 10.0]);
    }
}
