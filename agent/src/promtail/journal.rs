//! `journal` of a scrape configuration: which entries of systemd's journal, and as what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;

/// Older entries are not read at the start.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 3600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalConfig {
    /// `None`: where journald writes.
    pub(crate) path: Option<PathBuf>,
    pub(crate) max_age: Duration,
    /// All fields as JSON instead of the message.
    pub(crate) is_json: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// Field and value.
    pub(crate) matches: Vec<(String, String)>,
}

pub(super) fn read_journal(node: &Node, report: &mut Report) -> Option<JournalConfig> {
    let mut fields = Fields::of(node, "journal", report)?;
    let line = fields.line();
    let config = JournalConfig {
        path: fields.text("path", report).filter(|path| !path.is_empty()).map(Into::into),
        max_age: fields.duration("max_age", report).filter(|age| !age.is_zero()).unwrap_or(DEFAULT_MAX_AGE),
        is_json: fields.boolean("json", report).unwrap_or(false),
        labels: fields.text_map("labels", report).unwrap_or_default(),
        matches: read_matches(fields.text("matches", report).as_deref().unwrap_or_default(), line, report),
    };
    fields.finish(report);
    Some(config)
}

fn read_matches(text: &str, line: usize, report: &mut Report) -> Vec<(String, String)> {
    let mut matches = Vec::new();
    for part in text.split_whitespace() {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        match part.split_once('=') {
            Some((name, value)) if is_name(name) => matches.push((name.to_owned(), value.to_owned())),
            _ => report.error(line, format!("`journal.matches`: `{part}` is not like `_SYSTEMD_UNIT=kubelet.service`")),
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_is_named() {
        let read = |journal: &str| {
            parse(&format!("clients: [{{url: http://h/p}}]\nscrape_configs:\n- job_name: j\n  journal: {journal}\n"), "me".to_owned())
        };
        let (config, report) = read("{max_age: 12h, path: /var/log/journal, matches: _UID=0 PRIORITY=3, labels: {job: j}}");
        let config = config.unwrap_or_else(|| panic!("{report}"));
        let journal = config.scrape.jobs[0].journal.clone().unwrap();
        assert_eq!((journal.max_age, journal.matches.len(), journal.is_json), (Duration::from_secs(12 * 3600), 2, false));
        let (config, report) = read("{matches: nonsense, nothing: 1}");
        assert!(config.is_none());
        assert_eq!(report.errors.len(), 2, "{report}");
    }
}
