//! `tailwater-aggregator doctor`: why are lines not stored, or not found?
//!
//! ```text
//! configuration → bucket.rs: name, connection, TLS, clock, keys, rights, conditions   refusal.rs: what an answer of S3 means
//!               → server.rs: /ready, /ready?strict=1, /metrics                        figures.rs: what the figures say
//!               → peers.rs: the other replicas        → data.rs: tenants, and which time their lines are of
//! ```
//! Looks at each thing a line passes on its way, in that order, and tells what it saw and what to do. It changes nothing but objects of its own
//! under `v1/probe/`, which it removes. None of its checks waits for longer than a few seconds; one that could not be made says so.

mod bucket;
mod data;
mod exposition;
mod figures;
mod options;
mod peers;
mod refusal;
mod server;

use tailwater_agent::doctor::Finding;
use tailwater_storage::store;

pub use options::DoctorOptions;
pub(crate) use options::{command, options_of};
pub use tailwater_agent::doctor::report;

use crate::config::{Config, StorageKind};
use crate::tls::install_provider;
use crate::wiring;

/// All findings, in the order of a line's way.
pub async fn examine(options: &DoctorOptions) -> Vec<Finding> {
    install_provider();
    let (config, mut findings) = match configuration(options) {
        Ok(read) => read,
        Err(problem) => return vec![problem],
    };
    let (of_store, store) = if options.looks_at_store() { store_of(&config).await } else { (Vec::new(), None) };
    findings.extend(of_store);
    let tenants = match &store {
        Some(store) => data::tenants_of(store).await,
        None => Vec::new(),
    };
    let (of_server, server) = server::examine(options, &config).await;
    findings.extend(of_server);
    findings.extend(peers::examine(&config).await);
    if let Some(server) = server {
        findings.extend(data::examine(options, &config, &server, &tenants).await);
    }
    findings
}

fn configuration(options: &DoctorOptions) -> Result<(Config, Vec<Finding>), Finding> {
    const CHECK: &str = "configuration";
    let merged = options.source.load().map_err(|error| {
        let advice = "correct the file, variable or flag; `serve --check-config` tells the same, `serve --print-config` all keys";
        Finding::problem(CHECK, error.to_string(), advice)
    })?;
    let read = match &options.source.file {
        Some(file) => format!("`{}` is right", file.display()),
        None if options.looks_at_store() => "no --config is given; defaults, variables and flags are right".to_owned(),
        None => "neither --config nor a store is given, so only the server is looked at".to_owned(),
    };
    let mut findings = vec![Finding::fine(CHECK, read)];
    let warning = |text: &String| Finding::warning(CHECK, text.clone(), "remove it, or leave it for a Loki that reads the same file");
    findings.extend(merged.warnings.iter().map(warning));
    Ok((merged.config, findings))
}

/// What the store lets us do, and the store if it can be read.
async fn store_of(config: &Config) -> (Vec<Finding>, Option<store::Store>) {
    let mut findings = Vec::new();
    let folder = &config.storage.filesystem.path;
    if config.storage.kind == StorageKind::Filesystem && !folder.exists() {
        let advice = "correct `storage.filesystem.path` or its mount; an aggregator makes the folder at its first start";
        return (vec![Finding::problem("store", format!("there is no folder `{}`", folder.display()), advice)], None);
    }
    if config.storage.kind == StorageKind::S3 {
        match bucket::reach(&config.storage.s3).await {
            Ok(fine) => findings.extend(fine),
            Err(until_broken) => return (until_broken, None),
        }
    }
    match store::open(&wiring::store_options(config), &config.storage.prefix) {
        Ok(store) => {
            let (rights, is_readable) = bucket::rights(&store.examine().await, config);
            findings.extend(rights);
            (findings, is_readable.then_some(store))
        }
        Err(error) => {
            findings.push(Finding::problem("store", error.to_string(), "correct `storage.*`"));
            (findings, None)
        }
    }
}
