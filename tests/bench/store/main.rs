//! Measures the store end to end: what it costs to keep lines, how small they get, how fast questions about them are answered, and
//! whether the answers are true.
//!
//! ```text
//! data (generator) → yardsticks (zstd, ripgrep) → start → load (all pushes) → quiet → stored → restart → ask (questions) → table
//!     └ truth: read from the data itself, before anything is asked
//! ```
//! A figure is the program's, not the harness's: processor seconds and memory come from `/proc` of its process. The harness streams;
//! it never holds the data. A wrong answer makes the command fail, a missed target does not, an error answer is printed and passed over.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark runs in real time, with real processes")]

mod ask;
mod baseline;
mod data;
mod expected;
mod figures;
mod load;
mod machine;
mod metrics;
mod needles;
mod options;
mod progress;
mod pushes;
mod quantiles;
mod questions;
mod quiet;
mod results;
mod serve;
mod stored;
mod table;
mod truth;
mod yardsticks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tailwater_e2e::aggregator::Aggregator;
use tailwater_e2e::generator;

use crate::ask::{Verdict, ask_all};
use crate::data::Data;
use crate::figures::{Figure, Ingested, Restarted};
use crate::machine::Machine;
use crate::needles::Class;
use crate::options::{HELP, Options};
use crate::quiet::Seen;
use crate::results::Results;
use crate::stored::Stored;
use crate::yardsticks::Yardsticks;

/// From the restart's end to the look at idle memory.
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse(arguments)?;
    let Some(source) = generator::source() else {
        println!("skipped: no generator at TAILWATER_SHARED/bench/loggen");
        return Ok(ExitCode::SUCCESS);
    };
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let are_answers_true = runtime.block_on(run(&options, &source))?;
    Ok(if are_answers_true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a run puts its files.
struct Places {
    data: PathBuf,
    store: PathBuf,
    logs: PathBuf,
    /// Removed at the end, unless the folder is to be kept.
    _temporary: Option<tempfile::TempDir>,
}

impl Places {
    fn make(options: &Options) -> Result<Self> {
        let (folder, temporary) = match &options.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let parent = std::env::var_os("TAILWATER_E2E_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
                let temporary = tempfile::Builder::new().prefix("tailwater-bench-").tempdir_in(parent)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let places = Self { data: folder.join("data"), store: folder.join("store"), logs: folder.join("logs"), _temporary: temporary };
        if options.is_push_skipped {
            ensure!(places.store.is_dir(), "there is no store in `{}`, run with `--keep` first", folder.display());
        } else if places.store.exists() {
            fs::remove_dir_all(&places.store).context("cannot remove the store of an earlier run")?;
        }
        for place in [&places.data, &places.store, &places.logs] {
            fs::create_dir_all(place).with_context(|| format!("cannot make `{}`", place.display()))?;
        }
        Ok(places)
    }
}

/// Whether all answers were true.
async fn run(options: &Options, source: &Path) -> Result<bool> {
    let machine = Machine::look();
    let places = Places::make(options)?;
    let data = Data::prepare(&places.data, &options.size, source)?;
    let truth = &data.truth;
    let absent = truth.needles.get(&Class::AbsentUuid).and_then(|needles| needles.first()).context("no absent needle was chosen")?;
    let yardsticks = yardsticks::measure(&data.raw, &absent.text)?;
    let mut figures = figures::of_yardsticks(&yardsticks);

    let mut aggregator = serve::start(&places.logs, &places.store).await?;
    let mut seen = None;
    if !options.is_push_skipped {
        let (ingested, how) = ingest(&mut aggregator, &data, &places.store, options.connections).await?;
        figures.extend(figures::of_ingestion(&ingested, truth, &yardsticks));
        seen = Some(how);
    }
    aggregator.stop().await?;
    figures.push(figures::of_store(Stored::measure(&places.store)?, truth, &yardsticks));
    figures.extend(ask_after_restart(&mut aggregator, &data, &places.store, &yardsticks).await?);
    aggregator.stop().await?;

    println!("{} of lines: {} lines, {:.1} MB; loggen defaults", options.size.name, truth.lines, truth.line_bytes as f64 / 1e6);
    println!(
        "{}, {} cores, {} GiB, Linux {}, load before {}; commit {}",
        machine.processor, machine.cores, machine.memory_gib, machine.kernel, machine.load_before, machine.commit
    );
    if yardsticks.search.is_none() {
        println!("no ripgrep on this machine, so no ratios to it: apt install ripgrep");
    }
    if seen == Some(Seen::Idleness) {
        println!("the program has no gauges of background work: it was taken as done once processor and folder were calm");
    }
    let last = Results::committed(&options.size);
    if let Some(last) = &last {
        println!(
            "last: {}, commit {}, {}, load before {}",
            last.machine.date, last.machine.commit, last.machine.processor, last.machine.load_before
        );
    }
    println!();
    table::print(&figures, &options.size, last.as_ref());
    let are_answers_true = !figures.iter().any(|figure| matches!(figure.verdict, Verdict::Wrong(_)));
    if options.is_saved {
        ensure!(are_answers_true, "not saved: answers are wrong");
        println!("\nsaved: {}", Results::of(machine, &figures).save(&options.size)?.display());
    }
    Ok(are_answers_true)
}

/// The aggregator's thread of folds, merges and retention.
const BACKGROUND_THREAD: &str = "compactor";

async fn ingest(aggregator: &mut Aggregator, data: &Data, store: &Path, connections: usize) -> Result<(Ingested, Seen)> {
    let before = aggregator.usage()?;
    let pushed = load::push_all(&data.pushes, &aggregator.api()?.push_url(), connections).await?;
    let (durable, folding) = (aggregator.usage()?, aggregator.process().processor_seconds_of_threads(BACKGROUND_THREAD)?);
    let seen = quiet::background_work_is_done(aggregator, store).await?;
    let quiet = aggregator.usage()?;
    let ingested = Ingested {
        pushed,
        until_durable: durable.processor_seconds - before.processor_seconds - folding,
        folding_meanwhile: folding,
        until_quiet: quiet.processor_seconds - before.processor_seconds,
        peak_at_durable: durable.peak_bytes,
        peak_at_quiet: quiet.peak_bytes,
    };
    Ok((ingested, seen))
}

async fn ask_after_restart(aggregator: &mut Aggregator, data: &Data, store: &Path, yardsticks: &Yardsticks) -> Result<Vec<Figure>> {
    let ready_seconds = serve::restart(aggregator).await?.as_secs_f64();
    tokio::time::sleep(IDLE).await;
    let idle_bytes = aggregator.process().usage()?.resident_bytes;
    stored::warm(store)?;
    let answers = ask_all(aggregator, &questions::questions(&data.truth)).await?;
    let peak_queries = aggregator.process().usage()?.peak_bytes;
    let mut figures = figures::of_restart(&Restarted { ready_seconds, idle_bytes, peak_queries });
    figures.extend(figures::of_answers(&answers, &data.truth, yardsticks));
    Ok(figures)
}
