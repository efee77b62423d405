//! Case 68: configurations of the kinds that people publish: each runs, or the report says which keys it does not carry. Those that run are also started, with
//! their files, receivers and API servers moved to where a test has them, and must read what they name. What they make of it is compared in `promtail.rs`.
//!
//! `tests/promtail/corpus/expected.txt` holds every file's whole report. `TAILWATER_WRITE_EXPECTED=1` writes it anew, to be looked at before it is kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::{Captures, Regex};

use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::{Node, Recorder, gzip, kubeconfig};

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

/// The text with everything that is elsewhere moved below `root`, to the receiver or to the API of `kubeconfig`.
fn moved(text: &str, root: &Path, url: &str, api: &str, kubeconfig: &Path) -> String {
    let replace = |text: &str, pattern: &str, by: &dyn Fn(&Captures<'_>) -> String| {
        Regex::new(pattern).unwrap().replace_all(text, |found: &Captures<'_>| by(found)).into_owned()
    };
    // Certificates and tokens are not there.
    let text = replace(text, r"(?m)^ *(tls_config|bearer_token_file):.*$", &|_| String::new());
    let text = replace(&text, r"https?://[^\s'\x22,}]*push\b", &|_| url.to_owned());
    let text = replace(&text, r"https?://(id\.example\.net|10\.0\.0\.1:6443|proxy:\d+)", &|_| api.to_owned());
    let text = replace(&text, r"([\s'\x22\[:,])/(var|srv|opt|backup|etc|run|tmp)/", &|found| {
        format!("{}{}/{}/", &found[1], root.display(), &found[2])
    });
    if text.contains("api_server:") {
        return text;
    }
    let text = replace(&text, r"(kubernetes_sd_configs: \[\{role: \w+)", &|found| {
        format!("{}, kubeconfig_file: {}", &found[1], kubeconfig.display())
    });
    replace(&text, r"(?m)^( *)- (role: \w+)", &|found| {
        format!("{0}- {1}\n{0}  kubeconfig_file: {2}", &found[1], &found[2], kubeconfig.display())
    })
}

/// A file that a pattern of the configuration means, with lines in it, in UTF-16 if so.
fn written_for(pattern: &str, is_wide: bool) -> PathBuf {
    let path = PathBuf::from(pattern.replace("/**/", "/some/where/").replace('*', "one"));
    let is_compressed = path.extension().is_some_and(|ending| ending == "gz");
    let path = if is_compressed { path.with_extension("") } else { path };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = "2026-11-21T09:00:00Z stdout F one\n".repeat(20);
    let wide = || format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, if is_wide { wide() } else { text.clone().into_bytes() }).unwrap();
    if is_compressed {
        gzip(&path);
        return path.with_extension("gz");
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn each_configuration_that_runs_reads_the_files_that_it_names() {
    let named = Regex::new(r"__path__: *['\x22]?(/[^\s'\x22,}$]+)['\x22,}\s]").unwrap();
    let mut read = 0;
    for path in files() {
        if !load(&path).0 {
            continue;
        }
        let (node, recorder, api) = (Node::new(), Recorder::start(false).await, FakeApi::default());
        let root = node.data().with_file_name("root");
        let address = api.start().await;
        let kubeconfig = kubeconfig(&node, address);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = moved(&text, &root, &recorder.url(), &format!("http://{address}"), &kubeconfig);
        println!("{}", path.file_name().unwrap().display());
        let expected: Vec<PathBuf> = named.captures_iter(&text).map(|found| written_for(&found[1], text.contains("encoding: "))).collect();
        let file = root.with_file_name("promtail.yaml");
        std::fs::write(&file, &text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.env("HOSTNAME", "node-1");
        let program =
            Program::start_by(command, &node, &recorder.url(), &["-config.expand-env=true", &format!("-config.file={}", file.display())]);
        for expected in &expected {
            let name = format!("promtail_read_bytes_total{{path=\"{}\"}}", expected.display());
            program.wait_for_metric(&name, |bytes| bytes > 0.0).await;
        }
        read += expected.len();
        program.wait_for_metric("tailwater_agent_scan_seconds", |_| true).await;
    }
    assert!(read >= 20, "{read} files were named");
}
