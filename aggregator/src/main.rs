//! `tailwater-aggregator`: reads the command line and the configuration, starts what was asked for, ends with 1 and one clear
//! line where it cannot.

use std::process::ExitCode;

use tailwater_aggregator::apiserver::{Apiserver, ApiserverOptions};
use tailwater_aggregator::canary::{self, CanaryOptions};
use tailwater_aggregator::cli::{self, ConfigSource, Invocation};
use tailwater_aggregator::config::{Config, LogFormat, LogLevel};
use tailwater_aggregator::demo::DemoOptions;
use tailwater_aggregator::doctor::{self, DoctorOptions};
use tailwater_aggregator::logging::LogLevelControl;
use tailwater_aggregator::offline::{self, BackupAction, OfflineError, Verdict};
use tailwater_aggregator::server::{Grace, Server};
use tailwater_aggregator::{logging, panics, signals};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Serve(source)) => serve(&source),
        Ok(Invocation::Demo(options)) => demo(options),
        Ok(Invocation::Doctor(options)) => doctor(&options),
        Ok(Invocation::Fsck(options)) => return checked(&options.source, offline::fsck(&options)),
        Ok(Invocation::Backup(options)) if options.action == BackupAction::Verify => {
            return checked(&options.source, offline::backup(&options));
        }
        Ok(Invocation::Backup(options)) => on_store(&options.source, offline::backup(&options)).map(drop),
        Ok(Invocation::Apiserver(options)) => apiserver(&options),
        Ok(Invocation::Canary(options)) => canary(options),
        Ok(Invocation::Export(options)) => on_store(&options.source, offline::export(&options)).map(drop),
        Ok(Invocation::Import(options)) => on_store(&options.source, offline::import(&options)).map(drop),
        Err(error) => error.exit(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tailwater-aggregator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(source: &ConfigSource) -> anyhow::Result<()> {
    let Some((config, log_level)) = configured(source)? else { return Ok(()) };
    panics::count();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(config.clone(), log_level).await?;
        tokio::spawn(server.limits_reload(source.clone(), config).run());
        Ok(server.run(signals::stop()?, Grace::CLUSTER).await?)
    })
}

fn apiserver(options: &ApiserverOptions) -> anyhow::Result<()> {
    let Some((config, _)) = configured(&options.source)? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { Ok(Apiserver::start(options, &config).await?.run(signals::stop()?).await?) })
}

/// Its own log goes to standard error: what it writes to standard output is looked for.
fn canary(options: CanaryOptions) -> anyhow::Result<()> {
    logging::start(LogLevel::Info, LogFormat::Logfmt);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(canary::run(options, signals::stop()?).await?) })
}

/// The configuration, with our own log begun; `None` if it was only asked for.
fn configured(source: &ConfigSource) -> anyhow::Result<Option<(Config, LogLevelControl)>> {
    let merged = source.load()?;
    if source.print {
        print!("{}", merged.config.to_yaml());
    }
    if source.check {
        merged.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        eprintln!("the configuration is right");
    }
    if source.print || source.check {
        return Ok(None);
    }
    let log_level = logging::start(merged.config.log_level, merged.config.log_format);
    merged.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(Some((merged.config, log_level)))
}

/// Ends with 0 if the store or backup is whole, 1 if anything is damaged, 2 if it could not be checked.
fn checked(source: &ConfigSource, check: impl Future<Output = Result<Verdict, OfflineError>>) -> ExitCode {
    match on_store(source, check) {
        Ok(None | Some(Verdict::Whole)) => ExitCode::SUCCESS,
        Ok(Some(Verdict::Damaged)) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tailwater-aggregator: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a command that works on a store by itself; `None` if only its configuration was asked for.
fn on_store<T>(source: &ConfigSource, command: impl Future<Output = Result<T, OfflineError>>) -> anyhow::Result<Option<T>> {
    if configured(source)?.is_none() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(Some(runtime.block_on(command)?))
}

/// The configuration is the first thing that it looks at: one that is wrong is told as a finding.
fn doctor(options: &DoctorOptions) -> anyhow::Result<()> {
    if options.source.check || options.source.print {
        return configured(&options.source).map(drop);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (text, is_wrong) = doctor::report(&runtime.block_on(doctor::examine(options)));
    print!("{text}");
    anyhow::ensure!(!is_wrong, "lines are not stored, or not found, until the problems above are solved");
    Ok(())
}

fn demo(options: DemoOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(tailwater_aggregator::demo::run(options))?)
}
