//! The agent's program: command line, log, signals. Everything else is in the library.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tailwater_agent::config::{PromtailConfig, RunMode, keys, load};
use tailwater_agent::promtail::PromtailFlag;
use tailwater_agent::reload::RunError;
use tailwater_agent::{Config, StartError, doctor, own_log, promtail, reload, request_rewind};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[allow(unsafe_code, reason = "the allocator finds its settings by this name, which nothing else has")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 60] = tailwater_agent::ALLOCATOR_SETTINGS;

fn main() -> ExitCode {
    let matches = command_line().get_matches_from(arguments(std::env::args_os()));
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("tailwater-agent: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The command line with Promtail's own flags, which have one dash, in our form.
fn arguments(mut given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let ours = |text: &str| match text.split('=').next() {
        Some("-config.file" | "--config.file") => Some(text.replacen("-config.file", "-promtail-config", 1)),
        Some("-config.expand-env" | "--config.expand-env") => Some(text.replacen("config.expand-env", "config-expand-env", 1)),
        Some("-check-syntax" | "--check-syntax") => Some("--check-config".to_owned()),
        Some("-dry-run") => Some("--dry-run".to_owned()),
        Some("-inspect") => Some("--inspect".to_owned()),
        Some("-version") => Some("--version".to_owned()),
        _ => None,
    };
    let with_dashes = |text: String| if text.starts_with("--") { text } else { format!("-{text}") };
    let mut arguments = Vec::new();
    while let Some(argument) = given.next() {
        let Some(text) = argument.to_str() else {
            arguments.push(argument);
            continue;
        };
        // Ours have no dot, and no flag of Promtail is one of ours in another sense.
        let (name, value) =
            text.trim_start_matches('-').split_once('=').map_or((text.trim_start_matches('-'), None), |(n, v)| (n, Some(v.to_owned())));
        match promtail::promtail_flag(name).filter(|_| text.starts_with('-')) {
            Some(PromtailFlag::WithoutEffect) => {}
            Some(PromtailFlag::Sets { is_switch }) => {
                let value = value.or_else(|| if is_switch { Some("true".to_owned()) } else { given.next()?.into_string().ok() });
                arguments.push(format!("--promtail-flag={name}={}", value.unwrap_or_default()).into());
            }
            None => arguments.push(ours(text).map_or_else(|| argument.clone(), |text| with_dashes(text).into())),
        }
    }
    arguments
}

fn command_line() -> Command {
    let mut command = Command::new("tailwater-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Tails pod logs, labels every line, pushes batches")
        .arg(Arg::new("config").global(true).long("config").value_name("FILE").help("Configuration file (agent.yaml)"))
        .arg(
            Arg::new("promtail-config")
                .global(true)
                .long("promtail-config")
                .value_name("FILE")
                .help("Run this promtail.yaml (also -config.file)"),
        )
        .arg(
            Arg::new("config-expand-env")
                .long("config-expand-env")
                .global(true)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(clap::builder::BoolishValueParser::new())
                .help("Replace ${VAR} in the promtail.yaml by the environment (also -config.expand-env)"),
        )
        .arg(Arg::new("promtail-flag").long("promtail-flag").global(true).hide(true).action(ArgAction::Append).value_name("NAME=VALUE"))
        .arg(Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("Print entries; send nothing, move no position"))
        .arg(Arg::new("inspect").long("inspect").action(ArgAction::SetTrue).help("As --dry-run, and print what every stage did"))
        .arg(Arg::new("check-config").long("check-config").action(ArgAction::SetTrue).help("Check the configuration and exit"))
        .arg(Arg::new("print-config").long("print-config").action(ArgAction::SetTrue).help("Print the configuration in effect and exit"));
    command = command.subcommand(Command::new("doctor").about("Says why there are no logs: what it looked at, what is wrong, what to do"));
    let convert = Command::new("convert")
        .about("Prints a promtail.yaml as the native configuration that does the same, and tells what it does not carry over; secrets stay as they are");
    command = command.subcommand(convert);
    let rewind = Command::new("rewind")
        .about("Read lines of the last while again, at the next start: for a receiver that was set back to an older state")
        .arg(Arg::new("since").long("since").value_name("DURATION").required(true).value_parser(humantime::parse_duration))
        .arg(Arg::new("config").long("config").value_name("FILE").help("The agent's configuration file, for its `data_dir`"));
    command = command.subcommand(rewind);
    for key in keys::all() {
        if let Some(flag) = key.flag() {
            command = command.arg(Arg::new(flag.clone()).long(flag).value_name("VALUE").help(key.about).global(true));
        }
    }
    command
}

fn sources(matches: &ArgMatches) -> load::Sources {
    let flags = keys::all().filter_map(|key| {
        let flag = key.flag()?;
        let value = matches.get_one::<String>(&flag)?.clone();
        Some((flag, value))
    });
    let file = matches.get_one::<String>("config").map(PathBuf::from);
    load::Sources { file, variables: variables(), flags: flags.collect(), promtail: None }
}

fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// The `promtail.yaml` to run, if one is given. What it does not carry is printed; errors end the program.
fn read_promtail(matches: &ArgMatches) -> anyhow::Result<Option<Arc<PromtailConfig>>> {
    let Some(path) = matches.get_one::<String>("promtail-config") else { return Ok(None) };
    anyhow::ensure!(!matches.contains_id("config"), "give either `--config` or `--promtail-config`");
    let expands = matches.get_one::<bool>("config-expand-env").copied().unwrap_or(false);
    let flags: Vec<(String, String)> =
        matches.get_many::<String>("promtail-flag").into_iter().flatten().filter_map(|flag| flag.split_once('=')).map(owned).collect();
    let (config, report) = promtail::load_with(Path::new(path), expands, |name| std::env::var(name).ok(), &flags)?;
    if config.is_none() {
        anyhow::bail!("`{path}` cannot be run:\n{report}");
    }
    if !report.notes.is_empty() {
        eprintln!("tailwater-agent: `{path}` is run with these differences:\n{report}");
    }
    Ok(config.map(Arc::new))
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Prints the native form of a `promtail.yaml`.
fn convert(matches: &ArgMatches) -> anyhow::Result<()> {
    let path =
        matches.get_one::<String>("promtail-config").context("give the file: `tailwater-agent convert --promtail-config promtail.yaml`")?;
    let expands = matches.get_one::<bool>("config-expand-env").copied().unwrap_or(false);
    let (converted, report) = promtail::convert(Path::new(path), expands, |name| std::env::var(name).ok())?;
    let Some(text) = converted else { anyhow::bail!("`{path}` cannot be converted:\n{report}") };
    if !report.notes.is_empty() {
        eprintln!("{report}");
    }
    print!("{text}");
    Ok(())
}

/// Leaves a request in the data directory.
fn rewind(matches: &ArgMatches) -> anyhow::Result<()> {
    let since = *matches.get_one::<std::time::Duration>("since").expect("clap requires it");
    // The receiver is of no account here.
    let mut sources = sources(matches);
    sources.flags.entry("push-url".to_owned()).or_insert_with(|| "http://localhost".to_owned());
    let config = load::load(&sources)?;
    for directory in request_rewind(&config.data_dir, since)? {
        println!(
            "lines of the last {} are read again when the agent with `{}` starts next",
            humantime::format_duration(since),
            directory.display()
        );
    }
    Ok(())
}

/// The configuration as files, variables and flags say now.
fn read(matches: &ArgMatches) -> anyhow::Result<Config> {
    let promtail = read_promtail(matches)?;
    let mut config = load::load(&load::Sources { promtail, ..sources(matches) })?;
    for note in config.scrape_configs.iter().flat_map(|native| &native.notes) {
        eprintln!("tailwater-agent: note: line {}: {}: {}", note.line, note.path, note.text);
    }
    config.run_mode = match (matches.get_flag("dry-run"), matches.get_flag("inspect")) {
        (_, true) => RunMode::Inspect,
        (true, _) => RunMode::DryRun,
        _ => RunMode::Ship,
    };
    Ok(config)
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if let Some(("rewind", matches)) = matches.subcommand() {
        return rewind(matches);
    }
    if let Some(("convert", matches)) = matches.subcommand() {
        return convert(matches);
    }
    let config = read(matches)?;
    if matches.get_flag("print-config") {
        print!("{}", keys::print(&config));
        return Ok(());
    }
    if matches.get_flag("check-config") {
        println!("the configuration is valid");
        return Ok(());
    }
    if matches.subcommand_matches("doctor").is_some() {
        return examine(&config);
    }
    own_log::start(&config.log_level, config.log_format);
    raise_open_file_limit();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().context("cannot start")?;
    runtime.block_on(serve(config, matches))
}

fn examine(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let (text, is_wrong) = doctor::report(&runtime.block_on(doctor::examine(config)));
    print!("{text}");
    anyhow::ensure!(!is_wrong, "lines cannot arrive until the problems above are solved");
    Ok(())
}

async fn serve(config: Config, matches: &ArgMatches) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot receive SIGHUP")?;
    let (requests, incoming) = reload::channel();
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    let asks = requests.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // The outcome is in the log.
            drop(reload::request(&asks).await);
        }
    });
    if config.enable_reload {
        let files = ["config", "promtail-config"].iter().filter_map(|name| matches.get_one::<String>(name).map(PathBuf::from));
        tokio::spawn(reload::watch_files(files.collect(), requests.clone(), shutdown.clone()));
    }
    let ended = reload::run(config, || read(matches).map_err(|error| error.to_string()), (requests, incoming), shutdown).await;
    match ended {
        Err(RunError::Start(StartError::Locked { .. })) => Ok(()),
        ended => Ok(ended?),
    }
}

/// One descriptor for every unread file: as many as the system gives.
fn raise_open_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(error = %error, "limit of open files not raised");
    }
}
