//! The store's files, opened by readers that know nothing of us: the same counts and lines as LogQL's answers.
//!
//! A part of the lines is pushed twice, so that there are copies in different objects. They are counted while segments lie there alone, and
//! again once compaction has made data files of them, by a program that has compaction.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tailwater_e2e::aggregator::{Aggregator, folder_invocation, knows_key};
use tailwater_e2e::api::{Api, ListedEntry};
use tailwater_e2e::chain::files_below;
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::programs::{open_files_python, repository};

const APPS: [(&str, usize); 3] = [("cart", 400), ("checkout", 251), ("naïve \"app\"", 77)];
/// The one whose lines are compared one by one.
const LISTED: &str = "naïve \"app\"";
const START: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// More than ten times what folding a few segments takes.
const COMPACTION_LIMIT: Duration = Duration::from_secs(180);

/// What a reader found.
#[derive(Debug)]
struct Found {
    files: u64,
    rows: u64,
    by_app: BTreeMap<String, u64>,
    listed: Vec<ListedEntry>,
}

impl Found {
    fn read(value: &Value) -> Result<Self> {
        let number = |value: &Value| value.as_u64().context("a reader told no number");
        let by_app = value["by_app"].as_object().context("a reader told no apps")?;
        let by_app = by_app.iter().map(|(app, count)| Ok((app.clone(), number(count)?))).collect::<Result<_>>()?;
        let entry = |entry: &Value| {
            let timestamp = entry[0].as_i64().context("a reader told no stamp")?;
            Ok(ListedEntry { timestamp, line: entry[1].as_str().context("a reader told no line")?.to_owned() })
        };
        let listed = value["of_app"].as_array().context("a reader told no lines")?.iter().map(entry).collect::<Result<_>>()?;
        Ok(Self { files: number(&value["files"])?, rows: number(&value["rows"])?, by_app, listed })
    }
}

async fn push(api: &Api, part: usize) -> Result<()> {
    for (app, lines) in APPS {
        let texts: Vec<(i64, String)> = (0..lines / part)
            .map(|number| (START + number as i64 * SECOND + 7, format!("line {number} of {app}\twith a tab, \u{1f30a} and ends\n  on two")))
            .collect();
        let lines: Vec<(i64, &str)> = texts.iter().map(|(stamp, text)| (*stamp, text.as_str())).collect();
        api.push_lines(&[("namespace", "open"), ("app", app), ("pod", "p-0"), ("team", "blue")], &lines).await?;
    }
    Ok(())
}

async fn compare(name: &str, api: &Api, store: &Path) -> Result<Vec<(String, Found)>> {
    let samples = api.instant(r#"sum by (app) (count_over_time({namespace="open"}[1h]))"#, START + 3600 * SECOND).await?;
    let answered: BTreeMap<String, u64> =
        samples.iter().map(|sample| (sample.labels.get("app").cloned().unwrap_or_default(), sample.value as u64)).collect();
    let pushed: BTreeMap<String, u64> = APPS.iter().map(|(app, lines)| ((*app).to_owned(), *lines as u64)).collect();
    ensure!(answered == pushed, "{name}: LogQL counts {answered:?} instead of {pushed:?}");
    let listed = api.lines(r#"{app="naïve \"app\""}"#, START, START + 3600 * SECOND).await?;

    let script = repository().join("tests/open_files/read.py");
    let mut command = Command::new(open_files_python()?);
    command.arg(script).arg(store).arg(repository().join("docs/open-files.md")).arg(LISTED);
    let output = command.output().context("cannot start the readers")?;
    ensure!(output.status.success(), "{name}: the readers failed: {}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).context("the readers told no JSON")?;
    let mut readers = Vec::new();
    for reader in ["duckdb", "pyarrow"] {
        let found = Found::read(&told[reader])?;
        ensure!(found.by_app == answered, "{name}: {reader} counts {:?} instead of {answered:?}", found.by_app);
        ensure!(found.listed == listed, "{name}: {reader} lists other lines of `{LISTED}` than LogQL");
        report(&format!("open files, {name}: {reader} reads {} rows of {} files, counts and lines equal", found.rows, found.files));
        readers.push((reader.to_owned(), found));
    }
    Ok(readers)
}

fn has_data_files(store: &Path) -> Result<bool> {
    Ok(files_below(store)?.iter().any(|file| file.parent().and_then(Path::parent).is_some_and(|folder| folder.ends_with("data"))))
}

async fn open(folder: Folder) -> Result<()> {
    let store = folder.below("store")?;
    let (port, mut invocation) = folder_invocation(&store)?;
    let compacts = knows_key(&invocation, "compact_after")?;
    if compacts {
        invocation = invocation.with_variable("TAILWATER_COMPACTION_COMPACT_AFTER", "5s");
    }
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    let api = aggregator.api()?;
    push(&api, 1).await?;
    push(&api, 3).await?;
    let all: u64 = APPS.iter().map(|(_, lines)| *lines as u64).sum();
    for (reader, found) in compare("segments", &api, &store).await? {
        ensure!(found.rows > all, "{reader}: no line lies in two objects, so nothing shows that copies are counted once");
    }
    if compacts {
        eventually("data files are made", COMPACTION_LIMIT, || async {
            ensure!(has_data_files(&store)?, "there are only segments");
            Ok(())
        })
        .await?;
        compare("segments and data files", &api, &store).await?;
    } else {
        println!("skipped: this program does not compact, so there are no data files to open");
    }
    aggregator.stop().await
}

#[test]
fn other_readers_find_the_same_lines() {
    drill("open-files", open);
}
