//! Configurations of the kinds that people publish: each runs, or the report says which keys it does not carry.
//!
//! `tests/promtail/corpus/expected.txt` holds every file's whole report. `TAILWATER_WRITE_EXPECTED=1` writes it anew, to be looked at before it is kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtail/corpus")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    files.sort();
    files
}

fn load(path: &Path) -> (bool, String) {
    let variable = |name: &str| (name == "HOSTNAME").then(|| "node-1".to_owned());
    let (config, report) = tailwater_agent::promtail::load(path, true, variable).unwrap();
    (config.is_some(), report.to_string())
}

#[test]
fn each_configuration_runs_or_says_which_keys_it_does_not_carry() {
    let files = files();
    assert!(files.len() >= 30, "{} files", files.len());
    let mut seen = String::new();
    for path in &files {
        let (runs, report) = load(path);
        let name = path.file_stem().unwrap().to_string_lossy();
        writeln!(seen, "{name}: {}", if runs { "runs" } else { "refused" }).unwrap();
        report.lines().for_each(|line| writeln!(seen, "    {line}").unwrap());
        // Nobody is refused without a key and a line.
        assert!(runs || report.lines().any(|line| line.starts_with("error: line ")), "{name}: {report}");
    }
    let expected = corpus().join("expected.txt");
    if std::env::var_os("TAILWATER_WRITE_EXPECTED").is_some() {
        std::fs::write(&expected, &seen).unwrap();
    }
    assert_eq!(seen, std::fs::read_to_string(expected).unwrap());
}

#[test]
fn the_program_checks_what_it_would_run() {
    for path in files() {
        let output = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"))
            .args(["-config.expand-env=true", "--check-config"])
            .arg(format!("-config.file={}", path.display()))
            .env("HOSTNAME", "node-1")
            .output()
            .unwrap();
        let (runs, report) = load(&path);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), runs, "{}: {told}", path.display());
        report.lines().for_each(|line| assert!(told.contains(line), "{line} in {told}"));
    }
}
