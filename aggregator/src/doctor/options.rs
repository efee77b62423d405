//! The command line of `doctor`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, builder::NonEmptyStringValueParser, value_parser};

use crate::cli::{ConfigSource, config_source, with_config};

/// What `doctor` was told.
#[derive(Debug, Clone, Default)]
pub struct DoctorOptions {
    pub source: ConfigSource,
    /// The server that is asked; `None`: the configured address on this machine.
    pub url: Option<String>,
    /// Whose lines are looked for; `None`: the configured default's.
    pub tenant: Option<String>,
    pub bearer_token_file: Option<PathBuf>,
    /// PEM file of the authority of the server's certificate.
    pub authority: Option<PathBuf>,
}

impl DoctorOptions {
    /// A server is looked at from anywhere, its store only where it is named.
    pub(super) fn looks_at_store(&self) -> bool {
        self.url.is_none() || self.source.file.is_some() || self.source.flags.iter().any(|(key, _)| key.name.starts_with("storage."))
    }
}

pub(crate) fn command() -> Command {
    let text = |name: &'static str, placeholder: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(placeholder).value_parser(NonEmptyStringValueParser::new()).help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    with_config(
        Command::new("doctor")
            .about("Says why lines are not stored or not found: what it looked at, what is wrong, what to do; ends with 1 if anything is broken")
            .arg(text("url", "URL", "The server that is asked, or a gateway; without it, `listen` on this machine. Without --config and a store, nothing else is looked at"))
            .arg(text("tenant", "TENANT", "Whose lines are looked for; without it, the configured default's"))
            .arg(file("bearer-token-file", "Token of who looks for lines, with `auth.mode: kubernetes`"))
            .arg(file("ca-file", "Authority of the server's certificate (PEM); without it, `tls.ca` and the machine's")),
    )
}

pub(crate) fn options_of(matches: &ArgMatches) -> DoctorOptions {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let file = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    DoctorOptions {
        source: config_source(matches),
        url: text("url"),
        tenant: text("tenant"),
        bearer_token_file: file("bearer-token-file"),
        authority: file("ca-file"),
    }
}
