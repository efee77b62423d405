//! Imports go one way, and what is pure stays pure. Read from the manifests and the sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Our crates that a crate links (its `[dependencies]`, without the faults that drills plant).
fn links(crate_folder: &str) -> Result<Vec<String>> {
    let manifest = repository().join(crate_folder).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let names = dependencies.lines().filter_map(|line| line.strip_prefix("tailwater-"));
    Ok(names.map(|name| name.split(['.', ' ', '=']).next().unwrap_or_default().to_owned()).filter(|name| name != "planted").collect())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn crates_link_only_what_stands_below_them() -> Result<()> {
    for (folder, allowed) in [
        ("proto", [].as_slice()),
        ("aggregator/logql", &[]),
        ("aggregator/textindex", &[]),
        ("aggregator/storage", &["textindex"]),
        ("aggregator/podwriter", &[]),
        ("agent/lease", &[]),
        ("agent", &["lease", "logql", "proto"]),
        ("aggregator/engine", &["logql", "storage", "textindex"]),
    ] {
        let mut links = links(folder)?;
        links.sort();
        ensure!(links == allowed, "{folder} links {links:?}, allowed is {allowed:?}");
    }
    Ok(())
}

#[test]
fn the_language_and_the_file_format_know_no_files_network_clocks_or_tasks() -> Result<()> {
    let mut files = Vec::new();
    for folder in [
        "aggregator/logql/src",
        "aggregator/textindex/src",
        "aggregator/storage/src/segment",
        "aggregator/storage/src/file",
        "proto/src",
        "agent/src/parse",
    ] {
        sources(&repository().join(folder), &mut files)?;
    }
    ensure!(files.len() > 50, "only {} files were found", files.len());
    for file in files {
        let text = fs::read_to_string(&file)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for banned in ["tokio", "std::fs", "std::net::Tcp", "std::net::Udp", "SystemTime", "Instant::now", "object_store", "async fn"] {
            ensure!(!code.contains(banned), "{} uses `{banned}`", file.display());
        }
    }
    Ok(())
}
