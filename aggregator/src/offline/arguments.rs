//! The command line of the commands that work on a store by themselves.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::NonEmptyStringValueParser, builder::PossibleValuesParser, value_parser};

use crate::cli::{ConfigSource, config_source, with_config};
use crate::config::span::Span;

/// What `fsck` was told.
#[derive(Debug)]
pub struct FsckOptions {
    pub source: ConfigSource,
    /// `None`: all.
    pub tenant: Option<String>,
    pub rebuild: bool,
    pub skip_damaged: bool,
    /// The report as JSON.
    pub json: bool,
}

/// A file format for lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Parquet,
}

/// What `export` was told.
#[derive(Debug)]
pub struct ExportOptions {
    pub source: ConfigSource,
    /// `None`: the configured default.
    pub tenant: Option<String>,
    /// Without it, from the oldest.
    pub from: Option<String>,
    /// Without it, to the newest.
    pub to: Option<String>,
    pub selector: Option<String>,
    pub format: Format,
    /// `-`: standard output.
    pub out: PathBuf,
}

/// What `import` was told.
#[derive(Debug)]
pub struct ImportOptions {
    pub source: ConfigSource,
    /// `None`: the configured default.
    pub tenant: Option<String>,
    pub input: ImportInput,
}

/// Where `import` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportInput {
    /// `-`: standard input.
    File(PathBuf),
    Loki(LokiSource),
}

/// A Loki whose lines are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LokiSource {
    pub url: String,
    /// `None`: every stream.
    pub selector: Option<String>,
    /// Without it, a month ago.
    pub from: Option<String>,
    /// Without it, now.
    pub to: Option<String>,
    /// Whose lines; `None`: of a Loki without tenants.
    pub tenant: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub bearer_token_file: Option<PathBuf>,
    /// Entries of one answer.
    pub page: usize,
}

/// What `backup` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupAction {
    Create,
    List,
    Verify,
    Restore,
    /// Takes away all but the newest and those that began within this time.
    Prune {
        keep: NonZeroUsize,
        within: Option<Span>,
    },
}

/// What `backup` was told.
#[derive(Debug)]
pub struct BackupOptions {
    pub source: ConfigSource,
    pub action: BackupAction,
    /// The URL of a folder or bucket with backups.
    pub place: String,
    /// `None`: the newest.
    pub id: Option<String>,
    /// The list as JSON.
    pub json: bool,
}

const NDJSON: &str = "ndjson";
const PARQUET: &str = "parquet";

fn text(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).value_parser(NonEmptyStringValueParser::new()).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// `fsck`, `export`, `import` and `backup`.
pub(crate) fn commands() -> [Command; 4] {
    let fsck = Command::new("fsck")
        .about("Verifies every object of a store, while no server works on it; ends with 0 (whole), 1 (damage) or 2 (could not run)")
        .arg(text("tenant", "TENANT", "Only this tenant's files and manifest; segments are everybody's"))
        .arg(switch("rebuild", "First make the manifest anew from the data files: no line is lost or doubled, nothing is deleted"))
        .arg(switch("skip-damaged", "With --rebuild: go on without files that cannot be read, which are listed").requires("rebuild"))
        .arg(switch("json", "The report as JSON"));
    let export = Command::new("export")
        .about("Writes lines of a tenant as NDJSON or Parquet, each entry once, day by day and stream by stream")
        .arg(text("tenant", "TENANT", "Without it, the configured default tenant"))
        .arg(text("from", "TIME", "RFC 3339 or nanoseconds since the epoch, included; without it, from the oldest"))
        .arg(text("to", "TIME", "The same, not included; without it, to the newest"))
        .arg(text("selector", "SELECTOR", "Streams, as in LogQL: {app=\"cart\"}; without it, all"))
        .arg(format_argument())
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .required(true)
                .help("A new file, or - for standard output"),
        );
    let import = Command::new("import")
        .about("Stores the lines of an NDJSON or Parquet file, or of a Loki, however old they are; importing them again changes nothing")
        .arg(text("tenant", "TENANT", "Without it, the configured default tenant"))
        .arg(
            Arg::new("input")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .required_unless_present("from-loki")
                .conflicts_with("from-loki")
                .help("NDJSON or Parquet, told apart by how it begins, or - for NDJSON from standard input"),
        )
        .arg(text("from-loki", "URL", "In place of a file: a Loki, which is read by its query API, such as http://loki:3100"))
        .args(loki_arguments());
    let [fsck, export, import] = [fsck, export, import].map(with_config);
    [fsck, export, import, backup()]
}

/// What only an import from a Loki takes.
fn loki_arguments() -> [Arg; 8] {
    let file = |name: &'static str, help: &'static str| text(name, "FILE", help).value_parser(value_parser!(PathBuf));
    [
        text("selector", "SELECTOR", "Of the Loki: streams, as in LogQL; without it, all"),
        text("from", "TIME", "Of the Loki: RFC 3339 or nanoseconds since the epoch, included; without it, 31 days ago"),
        text("to", "TIME", "Of the Loki: the same, not included; without it, now"),
        text("org-id", "TENANT", "Of the Loki: whose lines, sent as X-Scope-OrgID"),
        text("username", "USER", "Of the Loki: user of basic authentication").requires("password-file"),
        file("password-file", "Of the Loki: file with the user's password").requires("username"),
        file("bearer-token-file", "Of the Loki: file with a bearer token").conflicts_with("username"),
        Arg::new("page")
            .long("page")
            .value_name("NUMBER")
            .value_parser(value_parser!(NonZeroUsize))
            .default_value("5000")
            .help("Of the Loki: entries of one answer, at most its max_entries_limit_per_query"),
    ]
    .map(|argument| if argument.get_id() == "page" { argument } else { argument.requires("from-loki") })
}

fn backup() -> Command {
    let place = || {
        text("to", "URL", "Where backups are: /folder, s3://bucket/prefix, or https://server/bucket/prefix").alias("from").required(true)
    };
    let id = || text("id", "BACKUP", "Which one; without it, the newest");
    let create =
        Command::new("create").about("Copies what is new into a backup, while servers go on; what was acknowledged before is in it");
    let list = Command::new("list").about("Tells which backups there are").arg(switch("json", "As JSON"));
    let verify =
        Command::new("verify").about("Reads every checksum of a backup; ends with 0 (whole), 1 (damage) or 2 (could not run)").arg(id());
    let restore =
        Command::new("restore").about("Makes the configured store, which must be empty, from a backup; no server may work on it").arg(id());
    let prune = Command::new("prune")
        .about("Takes away old backups and what only they need; the newest always stays")
        .arg(
            Arg::new("keep")
                .long("keep")
                .value_name("NUMBER")
                .value_parser(value_parser!(NonZeroUsize))
                .required(true)
                .help("So many stay, the newest ones"),
        )
        .arg(
            Arg::new("keep-within")
                .long("keep-within")
                .value_name("TIME")
                .value_parser(|text: &str| Span::parse(text).map_err(|error| error.to_string()))
                .help("Those stay too that began within this time, such as 30d"),
        );
    Command::new("backup")
        .about("Makes, lists, checks, restores and prunes backups of a store")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([create, list, verify, restore, prune].map(|command| with_config(command.arg(place()))))
}

fn format_argument() -> Arg {
    Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new([NDJSON, PARQUET]))
        .default_value(NDJSON)
        .help("Of the file that is written")
}

fn given(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn path(matches: &ArgMatches, name: &str) -> PathBuf {
    matches.get_one::<PathBuf>(name).cloned().expect("the argument is required")
}

pub(crate) fn fsck_options(matches: &ArgMatches) -> FsckOptions {
    FsckOptions {
        source: config_source(matches),
        tenant: given(matches, "tenant"),
        rebuild: matches.get_flag("rebuild"),
        skip_damaged: matches.get_flag("skip-damaged"),
        json: matches.get_flag("json"),
    }
}

pub(crate) fn export_options(matches: &ArgMatches) -> ExportOptions {
    let format = match given(matches, "format").as_deref() {
        Some(PARQUET) => Format::Parquet,
        _ => Format::JsonLines,
    };
    ExportOptions {
        source: config_source(matches),
        tenant: given(matches, "tenant"),
        from: given(matches, "from"),
        to: given(matches, "to"),
        selector: given(matches, "selector"),
        format,
        out: path(matches, "out"),
    }
}

/// `None` without one of its subcommands.
pub(crate) fn backup_options(matches: &ArgMatches) -> Option<BackupOptions> {
    let (name, matches) = matches.subcommand()?;
    let action = match name {
        "create" => BackupAction::Create,
        "list" => BackupAction::List,
        "verify" => BackupAction::Verify,
        "restore" => BackupAction::Restore,
        "prune" => BackupAction::Prune {
            keep: matches.get_one("keep").copied().expect("the argument is required"),
            within: matches.get_one("keep-within").copied(),
        },
        _ => return None,
    };
    let place = given(matches, "to").expect("the argument is required");
    let id = matches!(action, BackupAction::Verify | BackupAction::Restore).then(|| given(matches, "id")).flatten();
    let json = action == BackupAction::List && matches.get_flag("json");
    Some(BackupOptions { source: config_source(matches), action, place, id, json })
}

pub(crate) fn import_options(matches: &ArgMatches) -> ImportOptions {
    let file = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let input = match given(matches, "from-loki") {
        None => ImportInput::File(path(matches, "input")),
        Some(url) => ImportInput::Loki(LokiSource {
            url,
            selector: given(matches, "selector"),
            from: given(matches, "from"),
            to: given(matches, "to"),
            tenant: given(matches, "org-id"),
            username: given(matches, "username"),
            password_file: file("password-file"),
            bearer_token_file: file("bearer-token-file"),
            page: matches.get_one::<NonZeroUsize>("page").map_or(1, |page| page.get()),
        }),
    };
    ImportOptions { source: config_source(matches), tenant: given(matches, "tenant"), input }
}
