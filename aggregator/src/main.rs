//! `tailwater-aggregator`: reads the command line and the configuration, starts what was asked for, ends with 1 and one clear
//! line where it cannot.

use std::process::ExitCode;

use tailwater_aggregator::cli::{self, ConfigSource, Invocation};
use tailwater_aggregator::config::Config;
use tailwater_aggregator::demo::DemoOptions;
use tailwater_aggregator::server::{Grace, Server};
use tailwater_aggregator::{logging, signals};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Serve(source)) => serve(&source),
        Ok(Invocation::Demo(options)) => demo(options),
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
    let merged = source.load()?;
    if source.print {
        print!("{}", merged.config.to_yaml());
    }
    if source.check {
        merged.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        eprintln!("the configuration is right");
    }
    if source.print || source.check {
        return Ok(());
    }
    let config: Config = merged.config;
    let log_level = logging::start(config.log_level, config.log_format);
    merged.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(config, log_level).await?;
        Ok(server.run(signals::stop()?, Grace::CLUSTER).await?)
    })
}

fn demo(options: DemoOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(tailwater_aggregator::demo::run(options))?)
}
