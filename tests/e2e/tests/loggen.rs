//! The same truth over the tree of another generator, the one that other systems were measured with. It is not part of this repository:
//! without it the drill says so and passes.
//!
//! Its manifest counts how often a needle was planted, now and then twice in one line; a query counts lines. So the lines are
//! counted in the files, and the manifest is held against the occurrences there.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tailwater_e2e::chain::{Chain, Hops, PATIENCE, Store, files_below};
use tailwater_e2e::drill::{Folder, drill, report, tree_bytes};
use tailwater_e2e::generator::{self, run};

/// The tree lasts minutes: a window of hours around it holds everything.
const WINDOW: &str = "3h";
const WINDOW_END: i64 = generator::START + 2 * 3600 * 1_000_000_000;

/// Lines of the tree that hold the needle, and how often it stands in them.
fn count_in(files: &[String], needle: &str) -> (u64, u64) {
    let lines = files.iter().flat_map(|text| text.lines()).filter(|line| line.contains(needle));
    lines.fold((0, 0), |(lines, occurrences), line| (lines + 1, occurrences + line.matches(needle).count() as u64))
}

async fn ship(folder: Folder, source: PathBuf) -> Result<()> {
    let generator = generator::build(&source)?;
    let (pods, manifest) = (folder.path().join("pods"), folder.path().join("manifest"));
    let size = tree_bytes(300_000_000).to_string();
    run(Command::new(generator)
        .args(["--format", "cri-tree", "--rotate-bytes", "4m", "--bytes", &size, "--out"])
        .arg(&pods)
        .arg("--manifest")
        .arg(&manifest))?;
    let chain = Chain::start(&folder, Store::S3, Hops::None).await?;
    let mut agent = chain.agent(&pods).await?;
    let texts = files_below(&pods)?.iter().map(fs::read_to_string).collect::<std::io::Result<Vec<String>>>()?;
    agent.acknowledged(texts.iter().map(|text| text.len() as u64).sum(), PATIENCE).await?;

    let api = chain.api()?;
    let mut compared = 0;
    let mut differences = Vec::new();
    for line in fs::read_to_string(&manifest)?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let (filter, expected) = match (row["needle"].as_str(), row["count"].as_u64(), row["total_lines"].as_u64()) {
            (Some(needle), Some(planted), _) => {
                let (lines, occurrences) = count_in(&texts, needle);
                ensure!(occurrences == planted, "the manifest is not that of the tree: {row}, {occurrences} in the files");
                (format!("|= `{needle}` "), lines)
            }
            (_, _, Some(lines)) => (String::new(), lines),
            _ => continue,
        };
        let found = api.number(&format!(r#"sum(count_over_time({{namespace=~".+"}} {filter}[{WINDOW}]))"#), WINDOW_END).await?;
        compared += 1;
        if found != expected {
            differences.push(format!("{row}: {found} were found"));
        }
    }
    report(&format!("loggen tree of {size} bytes on S3: {compared} counts compared, {} differ", differences.len()));
    ensure!(compared > 10, "only {compared} counts were compared");
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[test]
fn every_needle_of_the_other_generator_is_found_as_often_as_it_was_planted() {
    match generator::source() {
        Some(source) => drill("loggen", |folder| ship(folder, source)),
        None => println!("skipped: no generator at TAILWATER_SHARED/bench/loggen"),
    }
}
