//! The agent's program: command line, log, signals. Everything else is in the library.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tailwater_agent::config::{keys, load};
use tailwater_agent::{Config, start};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let matches = command_line().get_matches();
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

fn command_line() -> Command {
    let mut command = Command::new("tailwater-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Tails pod logs, labels every line, pushes batches")
        .arg(Arg::new("config").long("config").value_name("FILE").help("Configuration file (agent.yaml)"))
        .arg(Arg::new("check-config").long("check-config").action(ArgAction::SetTrue).help("Check the configuration and exit"))
        .arg(Arg::new("print-config").long("print-config").action(ArgAction::SetTrue).help("Print the configuration in effect and exit"));
    for key in keys::KEYS {
        if let Some(flag) = key.flag() {
            command = command.arg(Arg::new(flag.clone()).long(flag).value_name("VALUE").help(key.about));
        }
    }
    command
}

fn sources(matches: &ArgMatches) -> load::Sources {
    let flags = keys::KEYS.iter().filter_map(|key| {
        let flag = key.flag()?;
        let value = matches.get_one::<String>(&flag)?.clone();
        Some((flag, value))
    });
    let variables: BTreeMap<_, _> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    load::Sources { file: matches.get_one::<String>("config").map(PathBuf::from), variables, flags: flags.collect() }
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let config = load::load(&sources(matches))?;
    if matches.get_flag("print-config") {
        print!("{}", keys::print(&config));
        return Ok(());
    }
    if matches.get_flag("check-config") {
        println!("the configuration is valid");
        return Ok(());
    }
    install_log(&config);
    raise_open_file_limit();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().context("cannot start")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    let agent = start(config, shutdown.clone()).await?;
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    agent.join().await?;
    Ok(())
}

fn install_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(format!("{},kube=warn,hyper=warn", config.log_level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// One descriptor for every unread file: as many as the system gives.
fn raise_open_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(error = %error, "limit of open files not raised");
    }
}
