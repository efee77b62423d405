//! From the text of a stream's labels to the labels that are stored: parsed, completed, checked, remembered.
//!
//! Agents send the same streams in every request, so what a text came to is kept. [`StreamCache`] is bounded by count and
//! bytes; when its younger half is full, the older half is dropped. Only accepted streams are kept.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tailwater_storage::entry::{StreamLabels, TenantId};
use tailwater_storage::pairs::Pairs;

use crate::ingest::discover::{DetectedLevel, SERVICE_NAME, level_of_labels, service_name};
use crate::ingest::label_text::{LabelPairs, LabelTextError, parse_label_text};
use crate::ingest::rejection::Rejection;
use crate::limits::Limits;

/// A stream that may be written to.
#[derive(Debug)]
pub(crate) struct KnownStream {
    pub(crate) labels: Arc<StreamLabels>,
    /// What the labels state for every entry.
    pub(crate) level: Option<DetectedLevel>,
}

/// Why the labels of a stream were not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamRefused {
    /// The text is no label set: the whole request is refused.
    Text(LabelTextError),
    /// The labels break a limit: the entries of this stream are refused.
    Limit(Rejection),
}

/// Labels beyond the limit that are kept to be told.
const KEPT_BEYOND_LIMIT: usize = 16;

/// Reads, completes and checks the labels of a stream.
pub(crate) fn known_stream(text: &str, limits: &Limits) -> Result<KnownStream, StreamRefused> {
    let keep = limits.max_label_names_per_series.saturating_add(KEPT_BEYOND_LIMIT);
    let LabelPairs { kept: mut labels, left_out } = parse_label_text(text, keep).map_err(StreamRefused::Text)?;
    labels.sort_by(|left, right| left.0.cmp(&right.0));
    let derived = derived_service_name(&labels, limits).map(str::to_owned);
    check(&labels, left_out, derived.as_deref(), limits).map_err(StreamRefused::Limit)?;
    let level = level_of_labels(&labels);
    let stored = StreamLabels::new(Pairs::from_pairs(labels), derived.as_deref());
    Ok(KnownStream { labels: Arc::new(stored), level })
}

fn derived_service_name<'a>(labels: &'a [(String, String)], limits: &Limits) -> Option<&'a str> {
    let is_there = labels.iter().any(|(name, _)| name == SERVICE_NAME);
    let is_wanted = !is_there && !limits.discover_service_name.is_empty();
    is_wanted.then(|| service_name(labels, &limits.discover_service_name))
}

/// Label limits, in Loki's order: their number, then name, value and repetition of each.
fn check(pushed: &[(String, String)], left_out: usize, derived: Option<&str>, limits: &Limits) -> Result<(), Rejection> {
    let mut all: Vec<(&str, &str)> = pushed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Some(value) = derived {
        let place = all.partition_point(|(name, _)| *name < SERVICE_NAME);
        all.insert(place, (SERVICE_NAME, value));
    }
    if all.is_empty() {
        return Err(Rejection::NoLabels);
    }
    let counted = left_out + all.iter().filter(|(name, _)| *name != SERVICE_NAME).count();
    if counted > limits.max_label_names_per_series {
        return Err(Rejection::TooManyLabels { stream: text_of(&all), count: counted, limit: limits.max_label_names_per_series });
    }
    let mut previous = None;
    for &(name, value) in &all {
        if name.len() > limits.max_label_name_length {
            return Err(Rejection::LabelNameTooLong { stream: text_of(&all), name: told(name) });
        }
        if value.len() > limits.max_label_value_length {
            return Err(Rejection::LabelValueTooLong { stream: text_of(&all), value: told(value) });
        }
        if previous == Some(name) {
            return Err(Rejection::DuplicateLabel { stream: text_of(&all), name: told(name) });
        }
        previous = Some(name);
    }
    Ok(())
}

/// `{a="b", c="d"}`, with repeated names as they are.
fn text_of(labels: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| {
        let braced = Pairs::from_pairs([(*name, *value)]).canonical_text();
        braced[1..braced.len() - 1].to_owned()
    };
    told(&format!("{{{}}}", labels.iter().map(one).collect::<Vec<_>>().join(", ")))
}

/// Text of a refusal, cut where nobody would read on.
fn told(text: &str) -> String {
    const LONGEST: usize = 64 << 10;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST)])
}

/// Streams seen of late, by tenant and label text.
#[derive(Debug, Default)]
pub(crate) struct StreamCache {
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Box<[u8]>, Arc<KnownStream>>,
    young_bytes: usize,
    old: HashMap<Box<[u8]>, Arc<KnownStream>>,
    key: Vec<u8>,
}

/// Streams in one half of the cache, and bytes of their keys and labels.
const HALF_STREAMS: usize = 16_384;
const HALF_BYTES: usize = 4 << 20;

impl StreamCache {
    /// The stream of a label text: remembered, or read and then remembered.
    pub(crate) fn stream(&self, tenant: &TenantId, text: &str, limits: &Limits) -> Result<Arc<KnownStream>, StreamRefused> {
        if let Some(known) = self.halves.lock().get(tenant, text) {
            return Ok(known);
        }
        let stream = Arc::new(known_stream(text, limits)?);
        self.halves.lock().insert(tenant, text, Arc::clone(&stream));
        Ok(stream)
    }
}

impl Halves {
    fn set_key(&mut self, tenant: &TenantId, text: &str) {
        self.key.clear();
        self.key.extend_from_slice(tenant.as_str().as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(text.as_bytes());
    }

    fn get(&mut self, tenant: &TenantId, text: &str) -> Option<Arc<KnownStream>> {
        self.set_key(tenant, text);
        if let Some(known) = self.young.get(self.key.as_slice()) {
            return Some(Arc::clone(known));
        }
        let (key, known) = self.old.remove_entry(self.key.as_slice())?;
        self.put(key, Arc::clone(&known));
        Some(known)
    }

    fn insert(&mut self, tenant: &TenantId, text: &str, stream: Arc<KnownStream>) {
        self.set_key(tenant, text);
        let key = self.key.clone().into_boxed_slice();
        self.put(key, stream);
    }

    fn put(&mut self, key: Box<[u8]>, stream: Arc<KnownStream>) {
        let bytes = key.len() + stream.labels.stored().as_bytes().len();
        if bytes > HALF_BYTES / 16 {
            return;
        }
        if self.young.len() >= HALF_STREAMS || self.young_bytes + bytes > HALF_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match known_stream(text, &Limits::default()) {
            Err(StreamRefused::Limit(rejection)) => rejection.to_string(),
            Err(StreamRefused::Text(error)) => error.to_string(),
            Ok(stream) => panic!("accepted as {:?}", stream.labels.stored().canonical_text()),
        }
    }

    #[test]
    fn labels_are_sorted_completed_and_freed_of_empty_values() {
        let stream = known_stream(r#"{conf="w", app="zz", gone=""}"#, &Limits::default()).expect("accepted");
        assert_eq!(stream.labels.stored().canonical_text(), r#"{app="zz", conf="w", service_name="zz"}"#);
        let stream = known_stream("{}", &Limits::default()).expect("accepted");
        assert_eq!(stream.labels.stored().canonical_text(), r#"{service_name="unknown_service"}"#);
    }

    #[test]
    fn labels_over_a_limit_are_refused_with_lokis_texts() {
        assert_eq!(
            refusal(r#"{a="b", a="c"}"#),
            r#"stream '{a="b", a="c", service_name="unknown_service"}' has duplicate label name: 'a'"#
        );
        let long = "v".repeat(2049);
        assert_eq!(
            refusal(&format!(r#"{{a="{long}"}}"#)),
            format!(r#"stream '{{a="{long}", service_name="unknown_service"}}' has label value too long: '{long}'"#)
        );
        let long = "n".repeat(1025);
        assert_eq!(
            refusal(&format!(r#"{{{long}="v"}}"#)),
            format!(r#"stream '{{{long}="v", service_name="unknown_service"}}' has label name too long: '{long}'"#)
        );
        let many: Vec<String> = (0..16).map(|i| format!(r#"l{i:02}="v""#)).collect();
        assert_eq!(
            refusal(&format!("{{{}}}", many.join(","))),
            format!(r#"entry for stream '{{{}, service_name="unknown_service"}}' has 16 label names; limit 15"#, many.join(", "))
        );
    }

    #[test]
    fn what_is_told_of_a_monstrous_stream_is_short() {
        let text = format!("{{{}}}", r#"a="bbbbbbbbbbbbbbbb","#.repeat(100_000));
        assert!(refusal(&text).ends_with("has 100000 label names; limit 15"));
        let text = refusal(&format!(r#"{{a="{}"}}"#, "é".repeat(1_000_000)));
        assert!(text.len() < 200_000 && text.ends_with("…'"), "{} bytes", text.len());
    }

    #[test]
    fn without_service_names_a_stream_needs_labels() {
        let limits = Limits { discover_service_name: Vec::new(), ..Limits::default() };
        let refused = known_stream("{}", &limits).expect_err("no labels");
        assert_eq!(refused, StreamRefused::Limit(Rejection::NoLabels));
    }

    #[test]
    fn the_cache_keeps_tenants_apart_and_its_bounds() {
        let (cache, limits) = (StreamCache::default(), Limits::default());
        let (left, right) = (TenantId::new("left"), TenantId::new("right"));
        let first = cache.stream(&left, r#"{a="b"}"#, &limits).expect("accepted");
        assert!(Arc::ptr_eq(&first, &cache.stream(&left, r#"{a="b"}"#, &limits).expect("accepted")));
        assert!(!Arc::ptr_eq(&first, &cache.stream(&right, r#"{a="b"}"#, &limits).expect("accepted")));
        for number in 0..3 * HALF_STREAMS {
            cache.stream(&left, &format!(r#"{{n="{number}"}}"#), &limits).expect("accepted");
        }
        let halves = cache.halves.lock();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF_STREAMS);
    }
}
