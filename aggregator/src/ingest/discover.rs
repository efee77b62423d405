//! What is derived from a push: `service_name` of a stream, `detected_level` of an entry.
//!
//! Derived values are stored and queried like pushed ones but never take part in an entry's identity, so that a
//! better rule tomorrow does not make yesterday's entries different ones.

use std::borrow::Cow;

use crate::ingest::level::{LEVEL_NAMES, Level, level_of_line};

pub(crate) const SERVICE_NAME: &str = "service_name";
pub(crate) const DETECTED_LEVEL: &str = "detected_level";
const UNKNOWN_SERVICE: &str = "unknown_service";

/// The name of a stream's service: the first of `sources` that is there and not empty.
pub(crate) fn service_name<'a>(labels: &'a [(String, String)], sources: &[String]) -> &'a str {
    sources.iter().find_map(|source| value_of(labels, source)).unwrap_or(UNKNOWN_SERVICE)
}

/// A level as it is stored: one of the known words, or a label's or metadata's own word where that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DetectedLevel {
    Known(Level),
    Verbatim(String),
}

impl DetectedLevel {
    fn of_value(value: &str) -> Self {
        match Level::of_word(value.as_bytes()) {
            Some(level) => Self::Known(level),
            None => Self::Verbatim(value.to_owned()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(level) => level.as_str(),
            Self::Verbatim(word) => word,
        }
    }
}

/// The level that the labels of a stream state for all of its entries.
pub(crate) fn level_of_labels(labels: &[(String, String)]) -> Option<DetectedLevel> {
    LEVEL_NAMES.iter().find_map(|name| value_of(labels, name)).map(DetectedLevel::of_value)
}

/// The level of an entry. `of_labels` is what its stream states; the line is asked last.
pub(crate) fn detected_level(of_labels: Option<&DetectedLevel>, metadata: &[(Cow<'_, str>, Cow<'_, str>)], line: &[u8]) -> DetectedLevel {
    let pushed = |name: &str| metadata.iter().find(|(candidate, value)| candidate == name && !value.is_empty()).map(|(_, value)| value);
    if let Some(level) = pushed(DETECTED_LEVEL) {
        return DetectedLevel::of_value(level);
    }
    if let Some(level) = of_labels {
        return level.clone();
    }
    if let Some(level) = LEVEL_NAMES.iter().find_map(|name| pushed(name)) {
        return DetectedLevel::of_value(level);
    }
    if let Some(number) = pushed("severity_number") {
        return DetectedLevel::Known(Level::of_severity_number(number));
    }
    DetectedLevel::Known(level_of_line(line))
}

fn value_of<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
    labels.iter().find(|(candidate, value)| candidate == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_label_of_the_list_names_the_service() {
        let sources = Limits::default().discover_service_name;
        for (pairs, expected) in [
            (vec![], "unknown_service"),
            (vec![("app", "app-n"), ("service", "svc-n")], "svc-n"),
            (vec![("app", ""), ("job", "ns/job-j")], "ns/job-j"),
            (vec![("container", "ctr-o"), ("job", "job-o")], "ctr-o"),
            (vec![("k8s_job_name", "kj-k")], "kj-k"),
            (vec![("other", "x")], "unknown_service"),
        ] {
            assert_eq!(service_name(&labels(&pairs), &sources), expected, "{pairs:?}");
        }
    }

    #[test]
    fn labels_come_before_metadata_and_metadata_before_the_line() {
        let of_stream = level_of_labels(&labels(&[("level", "critical")]));
        for (of_labels, metadata, line, expected) in [
            (of_stream.as_ref(), vec![], "level=info a", "critical"),
            (of_stream.as_ref(), vec![("detected_level", "WRN")], "x", "warn"),
            (None, vec![("level", "error")], "plain", "error"),
            (None, vec![("severity", "Warn")], "plain", "warn"),
            (None, vec![("lvl", "bogus")], "error", "bogus"),
            (None, vec![("severity_text", "FATAL"), ("severity_number", "9")], "plain", "fatal"),
            (None, vec![("severity_number", "17")], "plain", "error"),
            (None, vec![("severity_number", "99")], "debug", "unknown"),
            (None, vec![("severity_number", "0")], "debug", "unknown"),
            (None, vec![("severity_number", "-3")], "debug", "trace"),
            (None, vec![("severity_number", "x")], "error", "info"),
            (None, vec![("severity_number", "9"), ("lvl", "err")], "plain", "error"),
            (None, vec![("trace_id", "1")], "info: x", "info"),
        ] {
            let metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = metadata.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
            assert_eq!(detected_level(of_labels, &metadata, line.as_bytes()).as_str(), expected, "{metadata:?} {line}");
        }
    }
}
