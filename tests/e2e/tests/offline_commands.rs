//! `fsck`, `export` and `import` over a folder store that the real program made.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tailwater_e2e::aggregator::{Aggregator, folder_invocation};
use tailwater_e2e::api::Api;
use tailwater_e2e::chain::files_below;
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::programs;

const START: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
const APPS: [(&str, i64); 3] = [("cart", 300), ("checkout", 200), ("naïve \"app\"", 50)];
/// More than ten times what folding a few segments takes.
const COMPACTION_LIMIT: Duration = Duration::from_secs(180);

/// What a command said.
#[derive(Debug)]
struct Said {
    status: i32,
    output: Vec<u8>,
    errors: String,
}

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    fn require(self, status: i32) -> Result<Self> {
        ensure!(self.status == status, "ended with {} instead of {status}: {}\n{}", self.status, self.text(), self.errors);
        Ok(self)
    }
}

fn command(store: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(programs::ours("tailwater-aggregator")?);
    command.args(arguments).args(["--storage-type", "filesystem", "--storage-filesystem-path"]).arg(store);
    Ok(command)
}

fn run(store: &Path, arguments: &[&str]) -> Result<Said> {
    let output = command(store, arguments)?.stdin(Stdio::null()).output().context("cannot start the command")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Said { status: output.status.code().context("it was killed")?, output: output.stdout, errors })
}

async fn push(api: &Api) -> Result<()> {
    for (app, lines) in APPS {
        // Over two days, of which one is years ago.
        for start in [START, START - 900 * DAY] {
            let texts: Vec<(i64, String)> = (0..lines)
                .map(|number| (start + number * 61 * SECOND + 7, format!("level=error line {number} of {app}\n  on two, \u{1f30a}")))
                .collect();
            let lines: Vec<(i64, &str)> = texts.iter().map(|(stamp, text)| (*stamp, text.as_str())).collect();
            api.push_lines(&[("namespace", "offline"), ("app", app), ("pod", "p-0"), ("team", "blue")], &lines).await?;
        }
    }
    Ok(())
}

fn pushed() -> u64 {
    APPS.iter().map(|(_, lines)| 2 * *lines as u64).sum()
}

fn below(store: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let is_below = |path: &PathBuf| path.ancestors().any(|above| above.file_name().is_some_and(|name| name == folder));
    Ok(files_below(store)?.into_iter().filter(is_below).collect())
}

/// A store with data files and segments, some lines in both.
async fn made_store(folder: &Folder) -> Result<PathBuf> {
    let store = folder.below("store")?;
    let (port, invocation) = folder_invocation(&store)?;
    let quick = invocation.clone().with_variable("TAILWATER_COMPACTION_COMPACT_AFTER", "1s");
    let mut aggregator = Aggregator::start(folder.path(), port, quick).await?;
    push(&aggregator.api()?).await?;
    eventually("data files are made", COMPACTION_LIMIT, || async {
        ensure!(below(&store, "data")?.len() >= 2, "there are too few");
        Ok(())
    })
    .await?;
    aggregator.stop().await?;
    let slow = invocation.with_variable("TAILWATER_COMPACTION_COMPACT_AFTER", "1h");
    let mut aggregator = Aggregator::start(folder.path(), port, slow).await?;
    push(&aggregator.api()?).await?;
    aggregator.stop().await?;
    Ok(store)
}

async fn counted(folder: &Folder, store: &Path) -> Result<u64> {
    let (port, invocation) = folder_invocation(store)?;
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    let query = r#"sum(count_over_time({namespace="offline"}[24h]))"#;
    let (api, mut count) = (aggregator.api()?, 0);
    for start in [START, START - 900 * DAY] {
        count += api.number(query, start + DAY).await?;
    }
    aggregator.stop().await?;
    Ok(count)
}

fn export(store: &Path, file: &Path, format: &str) -> Result<Vec<u8>> {
    run(store, &["export", "--format", format, "--out", &file.display().to_string()])?.require(0)?;
    fs::read(file).context("there is no export")
}

fn imported(store: &Path, file: &Path, stored: u64, duplicates: u64) -> Result<()> {
    let said = run(store, &["import", &file.display().to_string()])?.require(0)?;
    let expected = format!("{} read, {stored} stored, {duplicates} duplicates, 0 refused", stored + duplicates);
    ensure!(said.text().trim_end() == expected, "the import said `{}` instead of `{expected}`", said.text());
    Ok(())
}

fn fsck(store: &Path, flags: &[&str], status: i32) -> Result<Value> {
    let said = run(store, &[&["fsck", "--json"], flags].concat())?.require(status)?;
    serde_json::from_slice(&said.output).with_context(|| format!("the report is no JSON: {}", said.text()))
}

async fn hand_over(folder: Folder) -> Result<()> {
    let store = made_store(&folder).await?;
    let whole = fsck(&store, &[], 0)?;
    ensure!(whole["damages"] == 0 && whole["rows"].as_u64() > Some(pushed()), "{whole}");

    let lines_file = folder.path().join("lines.ndjson");
    let lines = export(&store, &lines_file, "ndjson")?;
    ensure!(lines.iter().filter(|byte| **byte == b'\n').count() as u64 == pushed(), "not every entry is exported once");
    let first: Value = serde_json::from_slice(lines.split(|byte| *byte == b'\n').next().unwrap_or_default())?;
    ensure!(first["labels"]["app"] == "cart" && first["metadata"]["detected_level"] == "error", "{first}");
    ensure!(first["labels"].get("service_name").is_none(), "what is derived is not exported as pushed: {first}");
    let rows_file = folder.path().join("lines.parquet");
    export(&store, &rows_file, "parquet")?;
    let some = ["export", "--selector", r#"{app="cart"}"#, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T01:00:00Z", "--out", "-"];
    let some = run(&store, &some)?.require(0)?;
    ensure!(some.text().lines().count() == 60, "{} lines of an hour", some.text().lines().count());
    let again = run(&store, &["export", "--out", &lines_file.display().to_string()])?;
    ensure!(again.status == 1 && again.errors.contains("lines.ndjson"), "an export overwrote a file: {again:?}");

    imported(&store, &lines_file, 0, pushed())?;
    imported(&store, &rows_file, 0, pushed())?;
    ensure!(export(&store, &folder.path().join("again.ndjson"), "ndjson")? == lines, "importing what is there changed something");
    for (name, file) in [("of-lines", &lines_file), ("of-rows", &rows_file)] {
        let other = folder.below(name)?;
        imported(&other, file, pushed(), 0)?;
        ensure!(export(&other, &folder.path().join(format!("{name}.ndjson")), "ndjson")? == lines, "{name} holds something else");
        ensure!(fsck(&other, &[], 0)?["leaks"] == 0);
        let count = counted(&folder, &other).await?;
        ensure!(count == pushed(), "{name}: LogQL counts {count}");
    }
    report(&format!("offline commands: {} entries exported and imported as NDJSON and Parquet, byte for byte", pushed()));
    Ok(())
}

async fn bad_input(folder: Folder) -> Result<()> {
    let store = folder.below("store")?;
    let file = folder.path().join("bad.ndjson");
    fs::write(&file, "nonsense\n{\"timestamp\":\"1999-01-01T00:00:00Z\",\"app\":\"old\",\"line\":\"kept\"}\n{\"ts\":\"1\"}\n")?;
    let said = run(&store, &["import", "--tenant", "fake", &file.display().to_string()])?.require(0)?.text();
    for part in ["line or row 1: it is no JSON", "line or row 3: it has no `line`", "3 read, 1 stored, 0 duplicates, 2 refused"] {
        ensure!(said.contains(part), "`{part}` is not told: {said}");
    }
    let mut piped = command(&store, &["export", "--out", "-"])?;
    let output = piped.output()?;
    ensure!(String::from_utf8_lossy(&output.stdout).contains("\"line\":\"kept\""));
    let nowhere = folder.path().join("nowhere");
    let refused = run(&nowhere, &["fsck"])?;
    ensure!(refused.status == 2 && refused.errors.contains("nowhere") && !nowhere.exists(), "{refused:?}");
    let empty = folder.below("empty")?;
    ensure!(run(&empty, &["fsck"])?.status == 2);
    Ok(())
}

/// A data file of which a report has nothing to say: it does not wait to be deleted.
fn live_file(store: &Path, report: &Value) -> Result<PathBuf> {
    let findings = report["findings"].as_array().context("the report has no findings")?;
    let is_told = |path: &PathBuf| findings.iter().any(|finding| finding["key"].as_str().is_some_and(|key| path.ends_with(key)));
    below(store, "data")?.into_iter().find(|path| !is_told(path)).context("there is no data file that is live")
}

async fn repair(folder: Folder) -> Result<()> {
    let store = made_store(&folder).await?;
    let lines = export(&store, &folder.path().join("before.ndjson"), "ndjson")?;
    for version in below(&store, "manifest")? {
        fs::remove_file(version)?;
    }
    let lost = fsck(&store, &[], 1)?;
    ensure!(lost["damages"] == 1 && lost["findings"][0]["key"] == "v1/fake/manifest", "{lost}");
    // Were its segments gone as well, the manifest alone would show the lines.
    let rebuilt = fsck(&store, &["--rebuild"], 0)?;
    ensure!(rebuilt["rebuilt"][0]["rows"] == pushed() && rebuilt["leaks"] == 0, "{rebuilt}");
    ensure!(export(&store, &folder.path().join("after.ndjson"), "ndjson")? == lines, "a rebuild changed something");

    let damaged = live_file(&store, &rebuilt)?;
    let mut bytes = fs::read(&damaged)?;
    bytes[1000] ^= 8;
    fs::write(&damaged, bytes)?;
    let name = damaged.file_name().context("it has a name")?.to_string_lossy().into_owned();
    let found = fsck(&store, &[], 1)?;
    ensure!(found["findings"][0]["key"].as_str().is_some_and(|key| key.ends_with(&name)), "{found}");
    let refused = run(&store, &["fsck", "--rebuild"])?.require(2)?;
    ensure!(refused.errors.contains(&name) && refused.errors.contains("--skip-damaged"), "{refused:?}");
    let skipped = fsck(&store, &["--rebuild", "--skip-damaged"], 1)?;
    ensure!(skipped["rebuilt"][0]["skipped"][0][0].as_str().is_some_and(|key| key.ends_with(&name)), "{skipped}");
    // The segments that were pushed again have every line.
    let count = counted(&folder, &store).await?;
    ensure!(count == pushed(), "LogQL counts {count} of {}", pushed());
    Ok(())
}

#[test]
fn lines_are_handed_over_byte_for_byte() {
    drill("offline-hand-over", hand_over);
}

#[test]
fn bad_lines_and_missing_stores_are_told() {
    drill("offline-bad-input", bad_input);
}

#[test]
fn a_lost_manifest_and_a_damaged_file_are_told_and_mended() {
    drill("offline-repair", repair);
}
