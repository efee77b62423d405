//! Derives for imported lines what a push derives: the service's name and the level.
//!
//! An exported line carries its level as metadata, whether it was pushed or derived. If the line by itself gives the same level, it counts as
//! derived, so that the entry has the identity it had when it was pushed.

use std::borrow::Cow;
use std::sync::Arc;

use tailwater_storage::entry::{Metadata, StreamLabels};
use tailwater_storage::pairs::Pairs;
use tailwater_storage::transfer::Derive;

use crate::ingest::{DETECTED_LEVEL, DetectedLevel, SERVICE_NAME, detected_level, level_of_labels, sanitised_name, service_name};
use crate::limits::Limits;

/// By the limits of a tenant. Limits of sizes and ages protect from clients and do not hold here.
pub(super) struct ImportDerive {
    pub(super) limits: Arc<Limits>,
}

impl Derive for ImportDerive {
    /// The level that the labels state.
    type Stream = Option<DetectedLevel>;

    fn stream(&self, pushed: Pairs) -> Result<(StreamLabels, Self::Stream), String> {
        let labels: Vec<(String, String)> = pushed.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let sources = &self.limits.discover_service_name;
        let is_derived = pushed.get(SERVICE_NAME).is_none() && !sources.is_empty();
        let derived = is_derived.then(|| service_name(&labels, sources));
        if labels.is_empty() && derived.is_none() {
            return Err("it has no labels".to_owned());
        }
        Ok((StreamLabels::new(pushed, derived), level_of_labels(&labels)))
    }

    fn metadata(&self, of_labels: &Self::Stream, given: Pairs, line: &str) -> Metadata {
        let given = sanitised(given);
        if !self.limits.discover_log_levels {
            return Metadata { pushed: given, derived: Pairs::default() };
        }
        let level = |pairs: &Pairs| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect();
            detected_level(of_labels.as_ref(), &pairs, line.as_bytes()).as_str().to_owned()
        };
        let pushed = given.without(DETECTED_LEVEL);
        let by_itself = level(&pushed);
        match given.get(DETECTED_LEVEL) {
            Some(stated) if stated != by_itself => {
                let known = level(&given);
                let derived = if known == stated { Pairs::default() } else { Pairs::from_pairs([(DETECTED_LEVEL, known)]) };
                Metadata { pushed: given, derived }
            }
            _ => Metadata { pushed, derived: Pairs::from_pairs([(DETECTED_LEVEL, by_itself)]) },
        }
    }
}

fn sanitised(given: Pairs) -> Pairs {
    if given.is_empty() {
        return given;
    }
    let named = given
        .iter()
        .map(|(name, value)| (sanitised_name(name.as_bytes()), value))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty());
    Pairs::from_pairs(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive() -> ImportDerive {
        ImportDerive { limits: Arc::new(Limits::default()) }
    }

    #[test]
    fn a_stream_gets_the_name_that_a_push_gives_it() {
        let pushed = Pairs::from_pairs([("app", "cart"), ("level", "warn")]);
        let (labels, level) = derive().stream(pushed.clone()).expect("accepted");
        assert_eq!(labels, StreamLabels::new(pushed, Some("cart")));
        assert_eq!(level.map(|level| level.as_str().to_owned()), Some("warn".to_owned()));
        let nameless = ImportDerive { limits: Arc::new(Limits { discover_service_name: Vec::new(), ..Limits::default() }) };
        assert!(nameless.stream(Pairs::default()).is_err());
    }

    #[test]
    fn a_level_that_the_line_gives_is_derived_and_another_was_pushed() {
        let stated = |level: &str| Pairs::from_pairs([("a.b", "1"), (DETECTED_LEVEL, level)]);
        let pushed = Pairs::from_pairs([("a_b", "1")]);
        let level = |level: &str| Pairs::from_pairs([(DETECTED_LEVEL, level)]);
        for (given, line, expected) in [
            (stated("error"), "level=error x", Metadata { pushed: pushed.clone(), derived: level("error") }),
            (stated("info"), "level=error x", Metadata { pushed: pushed.with(DETECTED_LEVEL, "info"), derived: Pairs::default() }),
            (stated("WRN"), "x", Metadata { pushed: pushed.with(DETECTED_LEVEL, "WRN"), derived: level("warn") }),
            (Pairs::default(), "level=error x", Metadata { pushed: Pairs::default(), derived: level("error") }),
        ] {
            assert_eq!(derive().metadata(&None, given, line), expected);
        }
    }
}
