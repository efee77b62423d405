//! What is pushed, as files: `pushes.bin` (u32 LE length and snappy protobuf, repeated), `raw.log` (bare lines, for the yardsticks),
//! `needles.jsonl` (the generator's manifest), `truth.json` (what the answers have to be).
//!
//! They are made anew unless all of them are there from an earlier run with the same size; `truth.json` is written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tailwater_e2e::generator;

use crate::options::DataSize;
use crate::progress::Progress;
use crate::truth::Truth;

/// The raw file holds no more than this: what the yardsticks tell grows in proportion.
const LONGEST_RAW: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Data {
    pub pushes: PathBuf,
    pub raw: PathBuf,
    pub truth: Truth,
}

impl Data {
    /// From `folder`, made first if it is not there.
    pub(crate) fn prepare(folder: &Path, size: &DataSize, source: &Path) -> Result<Self> {
        let (pushes, raw, truth) = (folder.join("pushes.bin"), folder.join("raw.log"), folder.join("truth.json"));
        if let Some(truth) = Truth::load(&truth, size.bytes)? {
            return Ok(Self { pushes, raw, truth });
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        let building = Progress::start("building the generator");
        let program = generator::build(source)?;
        building.done();
        let writing = Progress::start("writing the data");
        let manifest = folder.join("needles.jsonl");
        generate(&program, "raw", size.bytes.min(LONGEST_RAW), &raw, &folder.join("raw-needles.jsonl"))?;
        generate(&program, "loki-push", size.bytes, &pushes, &manifest)?;
        writing.done();
        let found = Truth::of(&pushes, &fs::read_to_string(&manifest)?, size.bytes)?;
        found.save(&truth)?;
        Ok(Self { pushes, raw, truth: found })
    }
}

fn generate(program: &Path, format: &str, bytes: u64, out: &Path, manifest: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["--format", format, "--bytes", &bytes.to_string(), "--out"]).arg(out).arg("--manifest").arg(manifest);
    generator::run(&mut command)
}
