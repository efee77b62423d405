//! From labels as stored back to labels as pushed, by the stream's id.

use crate::entry::{StreamId, StreamLabels};
use crate::pairs::Pairs;

const SERVICE_NAME: &str = "service_name";
const NAMESPACE: &str = "namespace";

/// The labels whose id this is: those given, or without what is derived of them (the service's name; the namespace, which has a column of
/// its own in Parquet even where it comes from another label). As they are, if none of these is right.
pub(super) fn pushed_labels(id: StreamId, stored: &Pairs) -> Pairs {
    let is_it = |labels: &Pairs| StreamLabels::new(labels.clone(), None).id() == id;
    let without = [&[][..], &[SERVICE_NAME], &[NAMESPACE], &[SERVICE_NAME, NAMESPACE]];
    let candidates = without.into_iter().map(|names| names.iter().fold(stored.clone(), |labels, name| labels.without(name)));
    candidates.into_iter().find(is_it).unwrap_or_else(|| stored.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_derived_falls_off() {
        let pushed = Pairs::from_pairs([("app", "a"), ("k8s_namespace_name", "n")]);
        let id = StreamLabels::new(pushed.clone(), None).id();
        for stored in [
            pushed.clone(),
            pushed.with(SERVICE_NAME, "a"),
            pushed.with(NAMESPACE, "n"),
            pushed.with(NAMESPACE, "n").with(SERVICE_NAME, "a"),
        ] {
            assert_eq!(pushed_labels(id, &stored), pushed);
        }
        let named = pushed.with(SERVICE_NAME, "own");
        assert_eq!(pushed_labels(StreamLabels::new(named.clone(), None).id(), &named), named);
        assert_eq!(pushed_labels(StreamId(1), &named), named);
    }
}
