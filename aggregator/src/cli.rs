//! The command line: subcommands, and a flag for every scalar key of the configuration.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::NonEmptyStringValueParser, value_parser};

use crate::apiserver::ApiserverOptions;
use crate::canary::CanaryOptions;
use crate::config::key::{Key, Kind};
use crate::config::load::{LoadError, load};
use crate::config::merge::Merged;
use crate::demo::DemoOptions;
use crate::doctor::{self, DoctorOptions};
use crate::offline::{BackupOptions, ExportOptions, FsckOptions, ImportOptions, arguments};

/// What was asked for.
#[derive(Debug)]
pub enum Invocation {
    Serve(ConfigSource),
    Demo(DemoOptions),
    Fsck(FsckOptions),
    Export(ExportOptions),
    Import(ImportOptions),
    Backup(BackupOptions),
    Apiserver(ApiserverOptions),
    Canary(CanaryOptions),
    Doctor(DoctorOptions),
}

/// Where the configuration comes from and what is to be done with it.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    pub file: Option<PathBuf>,
    pub flags: Vec<(&'static Key, String)>,
    /// Say whether the configuration is right and end.
    pub check: bool,
    /// Print the configuration and end.
    pub print: bool,
}

impl ConfigSource {
    /// Merges file, process variables and flags.
    pub fn load(&self) -> Result<Merged, LoadError> {
        load(self.file.as_deref(), |name| std::env::var(name).ok(), &self.flags)
    }
}

/// Reads the command line; help, version and mistakes come back as the error to print.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some(("serve", matches)) => Ok(Invocation::Serve(config_source(matches))),
        Some(("demo", matches)) => Ok(Invocation::Demo(demo_options(matches))),
        Some(("fsck", matches)) => Ok(Invocation::Fsck(arguments::fsck_options(matches))),
        Some(("export", matches)) => Ok(Invocation::Export(arguments::export_options(matches))),
        Some(("import", matches)) => Ok(Invocation::Import(arguments::import_options(matches))),
        Some(("backup", matches)) => {
            Ok(Invocation::Backup(arguments::backup_options(matches).expect("clap requires one of the subcommands of `backup`")))
        }
        Some(("canary", matches)) => Ok(Invocation::Canary(canary_options(matches))),
        Some(("doctor", matches)) => Ok(Invocation::Doctor(doctor::options_of(matches))),
        Some(("apiserver", matches)) => Ok(Invocation::Apiserver(apiserver_options(matches))),
        _ => unreachable!("clap requires one of the subcommands above"),
    }
}

fn command() -> Command {
    Command::new("tailwater-aggregator")
        .about("Makes pushed logs durable on object storage and answers LogQL on Loki's HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_config(Command::new("serve").about("Runs the aggregator")))
        .subcommand(demo())
        .subcommand(with_config(apiserver()))
        .subcommand(canary())
        .subcommand(doctor::command())
        .subcommands(arguments::commands())
}

fn apiserver() -> Command {
    Command::new("apiserver")
        .about("Serves the reading API as a part of the Kubernetes API, logs.tailwater.io/v1")
        .arg(
            Arg::new("address")
                .long("address")
                .value_name("ADDRESS")
                .value_parser(value_parser!(SocketAddr))
                .default_value("0.0.0.0:8443")
                .help("Address of the HTTPS server"),
        )
        .arg(
            Arg::new("aggregator")
                .long("aggregator")
                .value_name("URL")
                .default_value("http://tailwater-aggregator:3100")
                .help("Where the aggregator answers"),
        )
        .arg(Arg::new("audit").long("audit").action(ArgAction::SetTrue).help("Write a line to the log for each read"))
}

fn apiserver_options(matches: &ArgMatches) -> ApiserverOptions {
    let given = "the argument is required or has a default";
    ApiserverOptions {
        source: config_source(matches),
        address: matches.get_one::<SocketAddr>("address").copied().expect(given),
        aggregator: matches.get_one::<String>("aggregator").cloned().expect(given),
        is_audited: matches.get_flag("audit"),
        lifetimes: Default::default(),
    }
}

fn canary() -> Command {
    let text = |name: &'static str, placeholder: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(placeholder).value_parser(NonEmptyStringValueParser::new()).help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("canary")
        .about("Writes a numbered line each second, looks for it where people look, and counts what is lost, late or doubled")
        .arg(text("url", "URL", "Gateway or aggregator that is asked").required(true))
        .arg(text("selector", "SELECTOR", "The stream that its output becomes: {namespace=\"monitoring\", pod=\"…\"}").required(true))
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS")
                .value_parser(value_parser!(SocketAddr))
                .default_value("0.0.0.0:3500")
                .help("Address of /metrics and /live"),
        )
        .arg(text("tenant", "TENANT", "Sent as X-Scope-OrgID"))
        .arg(file("bearer-token-file", "Bearer token of its queries, read before each"))
        .arg(file("username-file", "User of its queries, read before each"))
        .arg(file("password-file", "That user's password").requires("username-file"))
        .arg(file("ca-file", "Authority of the gateway's certificate (PEM); without it, the machine's"))
}

fn canary_options(matches: &ArgMatches) -> CanaryOptions {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let file = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    CanaryOptions {
        url: text("url").expect("the argument is required"),
        address: matches.get_one::<SocketAddr>("listen").copied().expect("the argument has a default"),
        selector: text("selector").expect("the argument is required"),
        tenant: text("tenant"),
        bearer_token: file("bearer-token-file"),
        username: file("username-file"),
        password: file("password-file"),
        authority: file("ca-file"),
    }
}

fn demo() -> Command {
    let path = |name: &'static str| Arg::new(name).long(name).value_name("DIR").value_parser(value_parser!(PathBuf));
    Command::new("demo")
        .about("Runs everything on this machine: pods that log, an agent, the aggregator on a local folder")
        .arg(path("data").default_value("./tailwater-demo").help("Holds the store, the agent's positions and the written logs"))
        .arg(path("pods-dir").help("Tail this tree (such as /var/log/pods) and write nothing"))
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS")
                .value_parser(value_parser!(SocketAddr))
                .default_value("127.0.0.1:3100")
                .help("Address of the HTTP server; port 0 takes a free one"),
        )
        .arg(
            Arg::new("lines-per-second")
                .long("lines-per-second")
                .value_name("NUMBER")
                .value_parser(value_parser!(f64))
                .default_value("50")
                .help("How much the made-up pods log"),
        )
}

fn demo_options(matches: &ArgMatches) -> DemoOptions {
    let given = "the argument has a default";
    DemoOptions {
        data: matches.get_one::<PathBuf>("data").cloned().expect(given),
        listen: matches.get_one::<SocketAddr>("listen").copied().expect(given),
        pods_dir: matches.get_one::<PathBuf>("pods-dir").cloned(),
        lines_per_second: matches.get_one::<f64>("lines-per-second").copied().expect(given),
    }
}

/// Adds the flags of the configuration to a subcommand.
pub fn with_config(command: Command) -> Command {
    let file = Arg::new("config").long("config").value_name("FILE").value_parser(value_parser!(PathBuf)).help("Configuration file (YAML)");
    let check = Arg::new("check-config").long("check-config").action(ArgAction::SetTrue).help("Check the configuration and end");
    let print = Arg::new("print-config").long("print-config").action(ArgAction::SetTrue).help("Print the whole configuration and end");
    command.arg(file).arg(check).arg(print).args(Key::scalars().map(flag))
}

/// The flag of a key. Its texts live as long as the program, which makes them once.
fn flag(key: &'static Key) -> Arg {
    let help = format!("Key `{}`, variable {}", key.name, key.variable());
    let arg = Arg::new(key.name)
        .long(&*key.flag().leak())
        .value_name(key.kind.placeholder())
        .value_parser(NonEmptyStringValueParser::new())
        .hide_short_help(key.name.starts_with("limits."))
        .help(&*help.leak());
    match key.kind {
        Kind::Boolean => arg.num_args(0..=1).default_missing_value("true"),
        Kind::Text => arg.value_parser(value_parser!(String)),
        _ => arg,
    }
}

/// The configuration that a subcommand's flags describe.
pub fn config_source(matches: &ArgMatches) -> ConfigSource {
    let given = |key: &'static Key| matches.get_one::<String>(key.name).map(|text| (key, text.clone()));
    ConfigSource {
        file: matches.get_one::<PathBuf>("config").cloned(),
        flags: Key::scalars().filter_map(given).collect(),
        check: matches.get_flag("check-config"),
        print: matches.get_flag("print-config"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::ImportInput;

    fn source(arguments: &[&str]) -> ConfigSource {
        let all = ["tailwater-aggregator", "serve"].iter().chain(arguments);
        match parse(all).expect("arguments") {
            Invocation::Serve(source) => source,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_scalar_key_is_a_flag() {
        let source =
            source(&["--config", "a.yaml", "--storage-s3-bucket", "logs", "--strict-loki", "--flush-interval=1s", "--storage-prefix="]);
        assert_eq!(source.file, Some(PathBuf::from("a.yaml")));
        let mut flags: Vec<(&str, &str)> = source.flags.iter().map(|(key, text)| (key.name, text.as_str())).collect();
        flags.sort_unstable();
        assert_eq!(flags, [("flush_interval", "1s"), ("storage.prefix", ""), ("storage.s3.bucket", "logs"), ("strict_loki", "true")]);
        command().debug_assert();
    }

    #[test]
    fn commands_on_a_store_take_the_flags_of_the_configuration() {
        let parsed = |text: &str| parse(text.split(' '));
        match parsed("tailwater-aggregator fsck --storage-prefix=p --tenant t --rebuild --skip-damaged --json") {
            Ok(Invocation::Fsck(options)) => {
                assert!(options.rebuild && options.skip_damaged && options.json);
                assert_eq!((options.tenant.as_deref(), options.source.flags.len()), (Some("t"), 1));
            }
            other => panic!("{other:?}"),
        }
        match parsed("tailwater-aggregator export --from 5 --selector {a=\"b\"} --format parquet --out -") {
            Ok(Invocation::Export(options)) => {
                assert_eq!((options.format, options.from.as_deref(), options.to), (arguments::Format::Parquet, Some("5"), None));
            }
            other => panic!("{other:?}"),
        }
        assert!(
            matches!(parsed("tailwater-aggregator import --tenant t -"), Ok(Invocation::Import(options)) if options.input == ImportInput::File("-".into()))
        );
        let from_loki = parsed("tailwater-aggregator import --from-loki http://loki:3100 --org-id o --page 7");
        assert!(
            matches!(from_loki, Ok(Invocation::Import(options)) if matches!(&options.input, ImportInput::Loki(loki) if loki.page == 7))
        );
        for refused in ["fsck --skip-damaged", "export", "export --out x --format csv", "import", "import --from-loki u x"] {
            assert!(parsed(&format!("tailwater-aggregator {refused}")).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_apiserver_takes_its_own_flags_beside_those_of_the_configuration() {
        let parsed = parse("tailwater-aggregator apiserver --tls-certificate c --tls-key k --audit --storage-prefix=p".split(' '));
        match parsed.expect("arguments") {
            Invocation::Apiserver(options) => {
                assert_eq!((options.address.port(), options.aggregator.as_str()), (8443, "http://tailwater-aggregator:3100"));
                let flags: Vec<(&str, &str)> = options.source.flags.iter().map(|(key, text)| (key.name, text.as_str())).collect();
                assert!(options.is_audited && flags.contains(&("tls.key", "k")) && flags.len() == 3, "{flags:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_doctor_asks_another_server_where_it_is_told_to() {
        let parsed = parse("tailwater-aggregator doctor --url http://a:1 --tenant t --storage-prefix=p".split(' '));
        match parsed.expect("arguments") {
            Invocation::Doctor(options) => {
                assert_eq!((options.url.as_deref(), options.tenant.as_deref()), (Some("http://a:1"), Some("t")));
                assert_eq!(options.source.flags.len(), 1);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_told() {
        for arguments in
            [["tailwater-aggregator", "sirve"].as_slice(), &["tailwater-aggregator", "serve", "--nosuch", "1"], &["tailwater-aggregator"]]
        {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
