//! What the grammar of Grafana's query editor reads, the parser reads, and the other way round, but for a list of exceptions with reasons
//! (`tests/editor_grammar/exceptions.txt`).
//!
//! Compared is what is grammatical. A query that is grammatical and refused for what it means (`parse error : …`, without a position) counts
//! as read. Needs node and the npm package `@grafana/lezer-logql` below `TAILWATER_TOOLS_DIR`; skipped with a printed line where they are
//! missing, unless `TAILWATER_TOOLS_REQUIRED` is set.

mod generated;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use regex::Regex;
use serde_json::Value;
use tailwater_logql::{format_query, parse};

const GENERATED: usize = 2_000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where npm has put the grammar.
fn installed() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("TAILWATER_TOOLS_DIR")?).join("npm");
    folder.join("node_modules/@grafana/lezer-logql").is_dir().then_some(folder)
}

/// The queries of the recorded suite and of the reference, and generated ones in both printed forms.
fn corpus() -> BTreeSet<String> {
    let mut queries = BTreeSet::new();
    let cases = repository().join("tests/conformance/suite/cases");
    for file in std::fs::read_dir(&cases).expect("the suite is there") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a file of cases");
        for line in text.lines() {
            let case: Value = serde_json::from_str(line).expect("a case");
            let steps = case["steps"].as_array().into_iter().flatten();
            queries.extend(std::iter::once(&case).chain(steps).filter_map(|step| step["params"]["query"].as_str()).map(str::to_owned));
        }
    }
    for file in ["accepted_queries.jsonl", "refused_queries.jsonl"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file)).expect(file);
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).expect("a row");
            queries.extend(row["query"].as_str().or(row.as_str()).map(str::to_owned));
        }
    }
    // The editor takes no name of a function as a label: an exception that would be in every other query.
    generated::LABELS.set(vec!["app", "a", "_x9", "colour", "__error__", "Namespace"]).expect("nothing is generated before");
    let mut runner = TestRunner::deterministic();
    for _ in 0..GENERATED {
        let tree = generated::expression().new_tree(&mut runner).expect("a tree").current();
        queries.extend([format_query(&tree), tree.to_string()]);
    }
    queries
}

/// For each query whether the editor's grammar reads it.
fn read_by_editor(folder: &Path, queries: &BTreeSet<String>) -> Vec<bool> {
    let script = repository().join("tests/editor_grammar/parse.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts: `tests/run --install` installs it");
    let input: String = queries.iter().map(|query| Value::from(query.as_str()).to_string() + "\n").collect();
    let mut stdin = node.stdin.take().expect("is piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = node.wait_with_output().expect("node ends");
    writer.join().expect("no panic").expect("node reads all queries");
    assert!(output.status.success(), "node failed");
    String::from_utf8(output.stdout).expect("text").lines().map(|line| line == "true").collect()
}

/// Our reason against a query, if its grammar is refused.
fn refusal(query: &str) -> Option<String> {
    parse(query).err().map(|error| error.to_string()).filter(|error| !error.starts_with("parse error : "))
}

struct Exception {
    is_editors: bool,
    pattern: Regex,
    line: String,
}

/// Lines of three fields between tabs: who reads it, an expression, why.
fn exceptions() -> Vec<Exception> {
    let text = std::fs::read_to_string(repository().join("tests/editor_grammar/exceptions.txt")).expect("the list of exceptions");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [who @ ("editor" | "ours"), pattern, why] = fields[..] else { panic!("not three fields: {line}") };
        assert!(why.len() > 20, "not a reason: {line}");
        Exception { is_editors: who == "editor", pattern: Regex::new(pattern).expect(pattern), line: line.to_owned() }
    });
    parsed.collect()
}

#[test]
fn the_editor_reads_what_we_read() {
    let Some(folder) = installed() else {
        assert!(std::env::var_os("TAILWATER_TOOLS_REQUIRED").is_none(), "@grafana/lezer-logql is missing: run `tests/run --install`");
        println!("skipped: no @grafana/lezer-logql below TAILWATER_TOOLS_DIR");
        return;
    };
    let (queries, exceptions) = (corpus(), exceptions());
    let read = read_by_editor(&folder, &queries);
    assert_eq!(read.len(), queries.len());
    let (mut wrong, mut used, mut both) = (Vec::new(), BTreeSet::new(), 0);
    for (query, is_read) in queries.iter().zip(read) {
        let refusal = refusal(query);
        if is_read == refusal.is_none() {
            both += usize::from(is_read);
            continue;
        }
        // What only the editor reads is known by our reason against it, what only we read by its text.
        let subject = refusal.as_deref().unwrap_or(query);
        match exceptions.iter().find(|exception| exception.is_editors == is_read && exception.pattern.is_match(subject)) {
            Some(exception) => drop(used.insert(&exception.line)),
            None => wrong.push(format!(
                "{} reads: {query}\n  {}",
                if is_read { "the editor alone" } else { "only ours" },
                refusal.unwrap_or_default()
            )),
        }
    }
    println!("{} queries: {both} read by both, {} exceptions used", queries.len(), used.len());
    assert!(wrong.is_empty(), "{} of {} queries:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
    assert!(both > 4_000, "only {both} queries are read by both");
    let idle: Vec<&str> =
        exceptions.iter().map(|exception| exception.line.as_str()).filter(|line| !used.iter().any(|used| used.as_str() == *line)).collect();
    assert!(idle.is_empty(), "exceptions that no query needs: {idle:#?}");
}
