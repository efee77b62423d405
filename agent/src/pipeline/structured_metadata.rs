//! `structured_metadata`: extracted values and labels into the entry's metadata. A label moves if its value is what went there.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::labels::named_sources;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

#[derive(Debug, Clone)]
pub(crate) struct StructuredMetadata {
    sources: BTreeMap<String, String>,
}

impl StructuredMetadata {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        named_sources("structured_metadata", node, report).map(|sources| Self { sources })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        for (name, source) in &self.sources {
            let extracted = entry.extracted.text(source).map(std::borrow::Cow::into_owned);
            let label = entry.labels.get(source).cloned();
            let moves = label.is_some() && (extracted.is_none() || extracted == label);
            if let Some(value) = extracted.or(label) {
                entry.metadata.push((name.clone(), value));
            }
            if moves {
                entry.remove_label(source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn a_label_moves_unless_another_value_went_there() {
        let stages =
            "- static_labels: {team: core}\n- regex: {expression: '(?P<job>\\w+)'}\n- structured_metadata: {team: , job: , none: }";
        let entry = run_lines(stages, &["other"]).remove(0);
        let metadata: Vec<_> = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(metadata, [("job", "other"), ("team", "core")]);
        assert_eq!(entry.labels.keys().collect::<Vec<_>>(), ["job"]);
    }
}
