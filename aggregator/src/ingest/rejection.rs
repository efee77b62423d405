//! Why single entries or streams of a push are refused, in Loki's words, while the rest of the push is stored.

use std::collections::HashMap;
use std::fmt;

use crate::config::size::ByteSize;
use crate::ingest::stamp::{Stamp, ZonedStamp};

/// One refusal. Display is the text clients see and dashboards search for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("error at least one label pair is required per stream")]
    NoLabels,
    #[error("entry for stream '{stream}' has {count} label names; limit {limit}")]
    TooManyLabels { stream: String, count: usize, limit: usize },
    #[error("stream '{stream}' has label name too long: '{name}'")]
    LabelNameTooLong { stream: String, name: String },
    #[error("stream '{stream}' has label value too long: '{value}'")]
    LabelValueTooLong { stream: String, value: String },
    #[error("stream '{stream}' has duplicate label name: '{name}'")]
    DuplicateLabel { stream: String, name: String },
    #[error("entry for stream '{stream}' has timestamp too old: {timestamp}, oldest acceptable timestamp is: {oldest}")]
    TooOld { stream: String, timestamp: Stamp, oldest: Stamp },
    #[error("entry for stream '{stream}' has timestamp too new: {timestamp}")]
    TooNew { stream: String, timestamp: Stamp },
    #[error("entry for stream '{stream}' has timestamp out of range: {seconds} seconds and {nanos} nanoseconds since the epoch")]
    OutOfRange { stream: String, seconds: i64, nanos: i32 },
    #[error("max entry size '{limit}' bytes exceeded for stream '{stream}' while adding an entry with length '{length}' bytes")]
    LineTooLong { stream: String, limit: u64, length: usize },
    #[error(
        "stream '{stream}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
    )]
    MetadataDisallowed { stream: String },
    #[error(
        "stream '{stream}' has structured metadata too large: '{size}' bytes, limit: '{limit}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it"
    )]
    MetadataTooLarge { stream: String, size: usize, limit: u64 },
    #[error(
        "stream '{stream}' has too many structured metadata labels: '{count}', limit: '{limit}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
    )]
    MetadataTooMany { stream: String, count: usize, limit: usize },
    #[error(
        "entry with timestamp {} ignored, reason: 'entry too far behind, entry timestamp is: {timestamp}, oldest acceptable timestamp is: {oldest}',",
        ZonedStamp(*timestamp)
    )]
    TooFarBehind { timestamp: Stamp, oldest: Stamp },
    #[error(
        "entry with timestamp {} ignored, reason: 'Per stream rate limit exceeded (limit: {limit}/sec) while attempting to ingest for stream '{stream}' totaling {bytes}, consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can be increased',",
        ZonedStamp(*timestamp)
    )]
    StreamRate { timestamp: Stamp, stream: String, limit: Size, bytes: Size },
    #[error(
        "maximum active stream limit exceeded when trying to create stream {stream}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: '{tenant}'"
    )]
    TooManyStreams { stream: String, tenant: String },
    #[error("missing required labels '{labels}' for user '{tenant}' for stream '{stream}' (policy: '')")]
    RequiredLabels { labels: String, tenant: String, stream: String },
    #[error("user '{tenant}', total ignored: {ignored} out of {total} for stream: {stream}")]
    IgnoredOfStream { tenant: String, ignored: usize, total: usize, stream: String },
}

/// Bytes as Loki prints them: `3MB`, `12B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ByteSize::bytes(self.0).to_string().replace("iB", "B"))
    }
}

/// Values of the label `reason` of the metrics about refused lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    LineTooLong,
    TooFarBehind,
    TooOld,
    TooNew,
    TooManyLabels,
    LabelNameTooLong,
    LabelValueTooLong,
    DuplicateLabels,
    MissingLabels,
    MetadataTooLarge,
    MetadataTooMany,
    MetadataDisallowed,
    StreamRate,
    StreamLimit,
    RequiredLabels,
}

impl Reason {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::LineTooLong,
        Self::TooFarBehind,
        Self::TooOld,
        Self::TooNew,
        Self::TooManyLabels,
        Self::LabelNameTooLong,
        Self::LabelValueTooLong,
        Self::DuplicateLabels,
        Self::MissingLabels,
        Self::MetadataTooLarge,
        Self::MetadataTooMany,
        Self::MetadataDisallowed,
        Self::StreamRate,
        Self::StreamLimit,
        Self::RequiredLabels,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::TooFarBehind => "too_far_behind",
            Self::TooOld => "greater_than_max_sample_age",
            Self::TooNew => "too_far_in_future",
            Self::TooManyLabels => "max_label_names_per_series",
            Self::LabelNameTooLong => "label_name_too_long",
            Self::LabelValueTooLong => "label_value_too_long",
            Self::DuplicateLabels => "duplicate_label_names",
            Self::MissingLabels => "missing_labels",
            Self::MetadataTooLarge => "structured_metadata_too_large",
            Self::MetadataTooMany => "structured_metadata_too_many",
            Self::MetadataDisallowed => "disallowed_structured_metadata",
            Self::StreamRate => "per_stream_rate_limit",
            Self::StreamLimit => "stream_limit",
            Self::RequiredLabels => "missing_enforced_labels",
        }
    }
}

impl Rejection {
    /// Whether the reference's store tells it, rather than what checks a push before.
    fn is_of_store(&self) -> bool {
        matches!(self, Self::TooFarBehind { .. } | Self::StreamRate { .. } | Self::TooManyStreams { .. } | Self::IgnoredOfStream { .. })
    }

    /// How it is counted; `None` for texts that only accompany another.
    pub(crate) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::NoLabels => Reason::MissingLabels,
            Self::TooManyLabels { .. } => Reason::TooManyLabels,
            Self::LabelNameTooLong { .. } => Reason::LabelNameTooLong,
            Self::LabelValueTooLong { .. } => Reason::LabelValueTooLong,
            Self::DuplicateLabel { .. } => Reason::DuplicateLabels,
            Self::TooOld { .. } => Reason::TooOld,
            Self::TooNew { .. } | Self::OutOfRange { .. } => Reason::TooNew,
            Self::LineTooLong { .. } => Reason::LineTooLong,
            Self::MetadataDisallowed { .. } => Reason::MetadataDisallowed,
            Self::MetadataTooLarge { .. } => Reason::MetadataTooLarge,
            Self::MetadataTooMany { .. } => Reason::MetadataTooMany,
            Self::TooFarBehind { .. } => Reason::TooFarBehind,
            Self::StreamRate { .. } => Reason::StreamRate,
            Self::TooManyStreams { .. } => Reason::StreamLimit,
            Self::RequiredLabels { .. } => Reason::RequiredLabels,
            Self::IgnoredOfStream { .. } => return None,
        })
    }
}

/// What was refused of one push: its distinct texts, as many as a client can read, and counts of everything.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    /// In the order in which they came.
    texts: Vec<Told>,
    /// Places in `texts`.
    seen: HashMap<Rejection, usize>,
    bytes: usize,
    /// Refusals looked at for their text.
    weighed: usize,
    untold: u64,
    counts: Vec<(Reason, u64, u64)>,
}

/// A text, and how often it was met.
#[derive(Debug)]
struct Told {
    text: String,
    times: u64,
    is_of_store: bool,
}

/// Texts kept of one push, their bytes, and how many refusals are looked at to find them.
const KEPT_TEXTS: usize = 100;
const KEPT_BYTES: usize = 256 << 10;
const WEIGHED: usize = 1000;

impl Rejections {
    /// Is there room for another text? Where there is not, refusals are only counted and need none.
    pub(crate) fn wants_texts(&self) -> bool {
        self.texts.len() < KEPT_TEXTS && self.bytes < KEPT_BYTES && self.weighed < WEIGHED
    }

    /// Notes a refusal of `lines` lines with `bytes` bytes.
    pub(crate) fn add(&mut self, rejection: Rejection, lines: u64, bytes: u64) {
        if let Some(reason) = rejection.reason() {
            match self.counts.iter_mut().find(|(counted, ..)| *counted == reason) {
                Some(count) => (count.1, count.2) = (count.1 + lines, count.2 + bytes),
                None => self.counts.push((reason, lines, bytes)),
            }
        }
        if !self.wants_texts() {
            self.untold += lines;
            return;
        }
        self.weighed += 1;
        if let Some(&place) = self.seen.get(&rejection) {
            self.texts[place].times += 1;
            return;
        }
        let told = Told { text: rejection.to_string(), times: 1, is_of_store: rejection.is_of_store() };
        self.bytes += told.text.len();
        self.seen.insert(rejection, self.texts.len());
        self.texts.push(told);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether any of them may be pushed again later: too much at this time, rather than wrong.
    pub(crate) fn are_for_later(&self) -> bool {
        self.counts.iter().any(|(reason, ..)| matches!(reason, Reason::StreamRate | Reason::StreamLimit))
    }

    /// Reason, lines, bytes.
    pub(crate) fn counts(&self) -> &[(Reason, u64, u64)] {
        &self.counts
    }
}

/// A line for each text of the store, then what does not pass the checks before it: `2 errors like: x; 1 errors like: y`.
impl fmt::Display for Rejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of_store, checked): (Vec<&Told>, Vec<&Told>) = self.texts.iter().partition(|told| told.is_of_store);
        let are_counted = checked.len() > 1 || checked.iter().any(|told| told.times > 1);
        let grouped = checked.iter().map(|Told { text, times, .. }| match are_counted {
            true => format!("{times} errors like: {text}"),
            false => text.clone(),
        });
        let grouped = grouped.collect::<Vec<_>>().join("; ");
        let lines: Vec<&str> =
            of_store.iter().map(|told| told.text.as_str()).chain((!checked.is_empty()).then_some(grouped.as_str())).collect();
        f.write_str(&lines.join("\n"))?;
        if self.untold > 0 {
            write!(f, "\nand {} more entries", self.untold)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_new(second: i64) -> Rejection {
        Rejection::TooNew { stream: "{a=\"b\"}".to_owned(), timestamp: Stamp(second * 1_000_000_000) }
    }

    #[test]
    fn equal_texts_are_told_once_and_counted_each() {
        let mut rejections = Rejections::default();
        for _ in 0..3 {
            rejections.add(too_new(1), 1, 10);
        }
        rejections.add(too_new(2), 1, 10);
        let text = |second: &str| format!("entry for stream '{{a=\"b\"}}' has timestamp too new: 1970-01-01T00:00:{second}Z");
        assert_eq!(rejections.to_string(), format!("3 errors like: {}; 1 errors like: {}", text("01"), text("02")));
        assert_eq!(rejections.counts(), [(Reason::TooNew, 4, 40)]);
        let told = |seconds: &[i64]| {
            let mut rejections = Rejections::default();
            seconds.iter().for_each(|second| rejections.add(too_new(*second), 1, 10));
            rejections.to_string()
        };
        assert_eq!(told(&[1]), text("01"), "one alone is not counted");
        assert_eq!(told(&[1, 1]), format!("2 errors like: {}", text("01")));
    }

    #[test]
    fn texts_of_the_store_have_lines_of_their_own() {
        let mut rejections = Rejections::default();
        rejections.add(too_new(1), 1, 10);
        let stream = "{a=\"b\"}".to_owned();
        rejections.add(Rejection::IgnoredOfStream { tenant: "t".to_owned(), ignored: 1, total: 2, stream: stream.clone() }, 0, 0);
        rejections.add(Rejection::NoLabels, 1, 10);
        let expected = "user 't', total ignored: 1 out of 2 for stream: {a=\"b\"}\n\
                        1 errors like: entry for stream '{a=\"b\"}' has timestamp too new: 1970-01-01T00:00:01Z; \
                        1 errors like: error at least one label pair is required per stream";
        assert_eq!(rejections.to_string(), expected);
    }

    #[test]
    fn a_million_refusals_take_the_room_of_a_hundred() {
        let mut rejections = Rejections::default();
        for second in 0..1_000_000 {
            rejections.add(too_new(second), 1, 1);
        }
        assert_eq!(rejections.texts.len(), KEPT_TEXTS);
        assert!(rejections.to_string().ends_with("and 999900 more entries"));
        assert_eq!(rejections.counts(), [(Reason::TooNew, 1_000_000, 1_000_000)]);
    }

    #[test]
    fn an_entry_behind_the_window_is_told_in_two_lines() {
        let mut rejections = Rejections::default();
        let timestamp = Stamp(1_768_903_000_000_000_000);
        rejections.add(Rejection::TooFarBehind { timestamp, oldest: Stamp(1_768_906_600_300_000_000) }, 1, 7);
        let stream = r#"{conf="wfar"}"#.to_owned();
        rejections.add(Rejection::IgnoredOfStream { tenant: "fake".to_owned(), ignored: 1, total: 1, stream }, 0, 0);
        assert_eq!(
            rejections.to_string(),
            "entry with timestamp 2026-01-20 09:56:40 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: \
             2026-01-20T09:56:40Z, oldest acceptable timestamp is: 2026-01-20T10:56:40Z',\n\
             user 'fake', total ignored: 1 out of 1 for stream: {conf=\"wfar\"}"
        );
    }
}
