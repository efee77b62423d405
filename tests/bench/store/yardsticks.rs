//! What common tools take for the same lines in the same run: the unit in which other machines compare.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tailwater_e2e::programs::in_path;

use crate::progress::Progress;

/// Runs of each tool: of searches, which take milliseconds, the shortest counts; of the others the one between.
const RUNS: usize = 3;

/// For each gigabyte of raw lines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Yardsticks {
    pub zstd: Took,
    /// Compressed bytes a byte.
    pub zstd_ratio: f64,
    pub unzstd: Took,
    /// Nothing where ripgrep is not installed.
    pub search: Option<Took>,
    pub unzstd_and_search: Option<Took>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Took {
    pub wall_seconds: f64,
    pub processor_seconds: f64,
}

impl Took {
    fn per(self, gigabytes: f64) -> Self {
        Self { wall_seconds: self.wall_seconds / gigabytes, processor_seconds: self.processor_seconds / gigabytes }
    }
}

/// `absent` is a text that no line holds.
pub(crate) fn measure(raw: &Path, absent: &str) -> Result<Yardsticks> {
    let progress = Progress::start("yardsticks");
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len() as f64).context("cannot measure a yardstick's file");
    let compressed = raw.with_extension("zst");
    let (plain_text, compressed_text) = (quoted(raw), quoted(&compressed));
    let gigabytes = size(raw)? / 1e9;
    // Into the page cache, so that the first does not read the disk for the others.
    timed(&format!("cat {plain_text} >/dev/null"))?;
    let zstd = median(&format!("zstd -1 --single-thread -q -f -o {compressed_text} {plain_text}"))?;
    let unzstd = median(&format!("zstd -dcq {compressed_text} >/dev/null"))?;
    let (mut search, mut unzstd_and_search) = (None, None);
    if in_path("rg").is_ok() {
        // Without a match it ends with status 1.
        search = Some(shortest(&format!("rg -c -F -e {absent} {plain_text} || [ $? = 1 ]"))?);
        unzstd_and_search = Some(shortest(&format!("zstd -dcq {compressed_text} | rg -c -F -e {absent} || [ $? = 1 ]"))?);
    }
    let zstd_ratio = size(&compressed)? / size(raw)?;
    std::fs::remove_file(&compressed).context("cannot remove the yardstick's compressed file")?;
    progress.done();
    Ok(Yardsticks {
        zstd: zstd.per(gigabytes),
        zstd_ratio,
        unzstd: unzstd.per(gigabytes),
        search: search.map(|took| took.per(gigabytes)),
        unzstd_and_search: unzstd_and_search.map(|took| took.per(gigabytes)),
    })
}

fn shortest(script: &str) -> Result<Took> {
    Ok(runs(script, |took| took.wall_seconds)?[0])
}

fn median(script: &str) -> Result<Took> {
    Ok(runs(script, |took| took.processor_seconds)?[RUNS / 2])
}

/// Ascending by a figure.
fn runs(script: &str, figure: impl Fn(&Took) -> f64) -> Result<Vec<Took>> {
    let mut runs = (0..RUNS).map(|_| timed(script)).collect::<Result<Vec<_>>>()?;
    runs.sort_by(|left, right| figure(left).total_cmp(&figure(right)));
    Ok(runs)
}

/// Wall and processor seconds of all processes of a pipeline, as the shell counts them.
fn timed(script: &str) -> Result<Took> {
    let whole = format!("TIMEFORMAT='took %3R %3U %3S'; set -o pipefail; time {{ {script}; }}");
    let output = Command::new("bash").args(["-c", &whole]).output().context("cannot start bash")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{script}` failed: {told}");
    read_times(&told).with_context(|| format!("`{script}` told no times: {told}"))
}

fn read_times(told: &str) -> Option<Took> {
    let line = told.lines().find_map(|line| line.strip_prefix("took "))?;
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [wall_seconds, user, system] = numbers.as_slice() else { return None };
    Some(Took { wall_seconds: *wall_seconds, processor_seconds: user + system })
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_pipeline_are_read() {
        let told = "a word\ntook 0.512 0.250 0.125\n";
        assert_eq!(read_times(told), Some(Took { wall_seconds: 0.512, processor_seconds: 0.375 }));
        assert!(timed("true | cat").is_ok());
        assert!(timed("false | cat").unwrap_err().to_string().contains("failed"));
    }
}
