//! The generator that other systems were measured with. It is not part of this repository: its source lies at
//! `TAILWATER_SHARED/bench/loggen`, by default in `../shared` beside the repository, and whoever needs it does without when it is missing.
//!
//! It is copied (the source may be read-only) and built below the folder of tools, so that the next run finds it built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs::{repository, tools_folder};

/// The first nanosecond of what it writes: 2026-01-01.
pub const START: i64 = 1_767_225_600_000_000_000;

/// Where its source is, if it is there.
pub fn source() -> Option<PathBuf> {
    let shared = std::env::var_os("TAILWATER_SHARED").map_or_else(|| repository().join("../shared"), PathBuf::from);
    Some(shared.join("bench/loggen")).filter(|source| source.join("Cargo.toml").exists())
}

/// Builds it from `source`, unless the last build is of the same source.
pub fn build(source: &Path) -> Result<PathBuf> {
    let folder = tools_folder()?.join("loggen");
    let (copy, target) = (folder.join("source"), folder.join("target"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove `{}`", copy.display()))?;
    }
    // With the times of the files, from which cargo sees that nothing is to be built.
    run(Command::new("cp").args(["-r", "--preserve=timestamps"]).arg(source).arg(&copy))?;
    run(Command::new("chmod").arg("-R").arg("u+w").arg(&copy))?;
    run(Command::new("cargo").current_dir(&copy).args(["build", "--release", "--quiet", "--target-dir"]).arg(&target))?;
    Ok(target.join("release/loggen"))
}

/// Runs a command to its end; a failure comes with what it wrote to standard error.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
