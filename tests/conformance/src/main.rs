//! Replays recorded answers of Loki against a server and counts what agrees.
//!
//! ```text
//! suite -> runner -> (exchange | tail) -> comparison -> score -> minimums
//!                          client                normal_form, difference
//!       -> replies (the same of data stored in another way)
//! ```
//!
//! Prints one line per category, the first failing cases, and last `N passed, M failed`. The exit status is 0 only
//! if every case passed or, with `--expect`, if every category reached its minimum or, with `--differs`, if exactly
//! the listed cases differ from the run before; 1 if not; 2 if the run itself failed (no server to load into, unreadable suite).

mod answer;
mod canonical;
mod client;
mod comparison;
mod data_set;
mod deliberate;
mod difference;
mod error_text;
mod exchange;
mod minimums;
mod normal_form;
mod placeholders;
mod replies;
mod rules;
mod runner;
mod score;
mod suite;
mod tail;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::client::Client;
use crate::deliberate::Deliberate;
use crate::minimums::Minimums;
use crate::replies::Replies;
use crate::runner::{Outcome, Runner};
use crate::score::Score;
use crate::suite::{Case, load_cases};

/// Replays recorded answers of Loki against a server and counts what agrees
#[derive(Debug, Parser)]
#[command(name = "tailwater-conformance")]
struct Options {
    /// Server without tenants
    #[arg(long, default_value = "http://127.0.0.1:3100")]
    url: String,
    /// Server that asks for X-Scope-OrgID; without it the tenant cases are skipped
    #[arg(long)]
    auth_url: Option<String>,
    /// Folder with data/ and cases/
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/suite"))]
    suite: PathBuf,
    /// Push the data set first and wait until it can be queried
    #[arg(long)]
    load: bool,
    /// POST /flush after pushes (only Loki needs it)
    #[arg(long)]
    flush: bool,
    /// Run this category only; may be given more than once
    #[arg(long)]
    category: Vec<String>,
    /// Run this case only; may be given more than once
    #[arg(long)]
    case: Vec<String>,
    /// Failing cases to print
    #[arg(long, default_value_t = 10)]
    show: usize,
    /// Write the outcome of every case to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// File of minimums by category: they decide the exit status
    #[arg(long, conflicts_with = "case")]
    expect: Option<PathBuf>,
    /// Raise the minimums in the --expect file to what passed
    #[arg(long, requires = "expect")]
    write_expect: bool,
    /// Judge nothing: write what is replied to the cases that only read to this file
    #[arg(long, conflicts_with_all = ["expect", "json", "same_replies"])]
    write_replies: Option<PathBuf>,
    /// Judge by this file alone: what is replied to the cases that only read must be the same
    #[arg(long, conflicts_with_all = ["expect", "json"])]
    same_replies: Option<PathBuf>,
    /// List of cases that must fail of those that passed in the run before, and no others: decides the exit status
    #[arg(long, requires = "before", conflicts_with_all = ["expect", "case", "category"])]
    differs: Option<PathBuf>,
    /// Outcomes of the run before, as --json writes them
    #[arg(long, requires = "differs")]
    before: Option<PathBuf>,
    /// Cases without steps that run at a time
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Seconds that a step of a case waits for its answer at most, whatever the case allows
    #[arg(long, default_value_t = 600.0)]
    longest_wait: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tailwater-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if the run was good enough.
fn run(options: &Options) -> Result<bool> {
    install_tls();
    let cases = wanted_cases(options)?;
    let runner = Runner {
        server: Client::new(&options.url)?,
        tenant_server: options.auth_url.as_deref().map(Client::new).transpose()?,
        connections: options.connections,
        flush: options.flush,
        longest_wait: options.longest_wait,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.load {
        runtime.block_on(data_set::load(&runner.server, &options.suite, options.flush))?;
    }
    if options.write_replies.is_some() || options.same_replies.is_some() {
        return has_same_replies(options, &runtime.block_on(Replies::of(&runner, &cases))?);
    }
    let minimums = options.expect.as_deref().map(|path| minimums_at(path, options.write_expect)).transpose()?;
    let outcomes = runtime.block_on(runner.run(&cases));
    report(options, &outcomes, minimums)
}

/// Makes the TLS provider known that the HTTP client was built without; a second call changes nothing.
fn install_tls() {
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn wanted_cases(options: &Options) -> Result<Vec<Case>> {
    let mut cases = load_cases(&options.suite)?;
    let categories: BTreeSet<&str> = cases.iter().map(|case| case.category.as_str()).collect();
    if let Some(unknown) = options.category.iter().find(|category| !categories.contains(category.as_str())) {
        bail!("no category `{unknown}`; there are: {}", categories.into_iter().collect::<Vec<_>>().join(", "));
    }
    if let Some(unknown) = options.case.iter().find(|id| !cases.iter().any(|case| case.id == **id)) {
        bail!("no case `{unknown}`");
    }
    cases.retain(|case| {
        (options.category.is_empty() || options.category.contains(&case.category))
            && (options.case.is_empty() || options.case.contains(&case.id))
    });
    if cases.is_empty() {
        bail!("no case is in the categories given");
    }
    Ok(cases)
}

/// The minimums in `path`; a file that is about to be written may be missing.
fn minimums_at(path: &Path, may_be_missing: bool) -> Result<Minimums> {
    if may_be_missing && !path.exists() {
        return Ok(Minimums::default());
    }
    Minimums::read(path)
}

/// Writes the replies, or compares them with those in a file.
fn has_same_replies(options: &Options, replies: &Replies) -> Result<bool> {
    if let Some(path) = &options.write_replies {
        replies.write(path)?;
        println!("{} replies written", replies.len());
        return Ok(true);
    }
    let Some(path) = &options.same_replies else { return Ok(true) };
    let differences = replies.differences(&Replies::read(path)?);
    differences.iter().take(options.show).for_each(|text| println!("{text}"));
    println!("\n{} passed, {} failed", replies.len().saturating_sub(differences.len()), differences.len());
    Ok(differences.is_empty() && replies.len() > 0)
}

fn report(options: &Options, outcomes: &[Outcome<'_>], minimums: Option<Minimums>) -> Result<bool> {
    let score = Score::of(outcomes);
    print!("{}{}", score.table(), score::failures(outcomes, options.show));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&score::outcomes_json(outcomes))?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let good_enough = match (minimums, &options.expect, &options.differs, &options.before) {
        (Some(minimums), Some(path), ..) => reaches(minimums, path, options, &score)?,
        (_, _, Some(list), Some(before)) => differs_as_listed(list, before, outcomes)?,
        _ => score.failed() == 0 && score.passed() > 0,
    };
    println!("\n{}", score.last_line());
    Ok(good_enough)
}

/// Judges by a list of deliberate differences.
fn differs_as_listed(list: &Path, before: &Path, outcomes: &[Outcome<'_>]) -> Result<bool> {
    let complaints = Deliberate::read(list)?.judged(before, outcomes)?;
    for complaint in &complaints {
        println!("\n{complaint}");
    }
    Ok(complaints.is_empty())
}

/// Judges by the minimums of the categories that were asked for, and raises the file if told to.
fn reaches(minimums: Minimums, path: &Path, options: &Options, score: &Score) -> Result<bool> {
    let mut judged = minimums.clone();
    judged.retain(|category| options.category.is_empty() || options.category.iter().any(|wanted| wanted == category));
    let missed = judged.missed(score);
    for text in &missed {
        println!("\nbelow its minimum: {text}");
    }
    if options.write_expect {
        minimums.raised(score).write(path)?;
    }
    Ok(missed.is_empty())
}
