//! Which labels streams have, by the operator's word: some left out, the pod's name among the metadata, labels of pods and of their namespaces added there.

use std::collections::BTreeMap;

use super::pods::PodFacts;

/// What every stream has: receivers and dashboards rely on it.
const ALWAYS: [&str; 3] = ["namespace", "container", "pod"];
const POD: &str = "pod";
pub(super) const FILENAME: &str = "filename";

/// By default everything as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelChoice {
    /// If any are named: these alone, and those that are always there.
    keep: Vec<String>,
    drop: Vec<String>,
    /// For clusters with many short-lived pods: the pod's name is no label.
    pub(crate) moves_pod: bool,
    /// Of pods, added to the metadata.
    pod_labels: Vec<String>,
    /// The same of their annotations.
    pub(crate) pod_annotations: Vec<String>,
    /// The same of labels of their namespaces.
    pub(crate) namespace_labels: Vec<String>,
}

impl LabelChoice {
    pub(crate) fn set_keep(&mut self, text: &str) -> Result<(), String> {
        self.keep = names(text);
        Ok(())
    }

    pub(crate) fn set_drop(&mut self, text: &str) -> Result<(), String> {
        let names = names(text);
        if names.iter().any(|name| ALWAYS.contains(&name.as_str())) {
            return Err(format!("none of `{}`; to move the pod's name set `labels.pod: metadata`", ALWAYS.join("`, `")));
        }
        self.drop = names;
        Ok(())
    }

    pub(crate) fn set_pod_labels(&mut self, text: &str) -> Result<(), String> {
        self.pod_labels = names(text);
        Ok(())
    }

    pub(crate) fn set_pod_annotations(&mut self, text: &str) -> Result<(), String> {
        self.pod_annotations = names(text);
        Ok(())
    }

    pub(crate) fn set_namespace_labels(&mut self, text: &str) -> Result<(), String> {
        self.namespace_labels = names(text);
        Ok(())
    }

    /// Whether streams are to have the path of their live file: only if it is named.
    pub(super) fn keeps_filename(&self) -> bool {
        self.keep.iter().any(|name| name == FILENAME)
    }

    pub(crate) fn keep(&self) -> String {
        self.keep.join(",")
    }

    pub(crate) fn dropped(&self) -> String {
        self.drop.join(",")
    }

    pub(crate) fn pod_labels(&self) -> String {
        self.pod_labels.join(",")
    }

    /// Makes labels and, where the receiver takes it, metadata what they are to be; `external` labels stay.
    pub(super) fn apply(
        &self,
        labels: &mut BTreeMap<String, String>,
        metadata: Option<&mut BTreeMap<String, String>>,
        external: &BTreeMap<String, String>,
        facts: Option<&PodFacts>,
    ) {
        let is_kept = |name: &String| {
            ALWAYS.contains(&name.as_str()) || external.contains_key(name) || self.keep.is_empty() || self.keep.contains(name)
        };
        labels.retain(|name, _| is_kept(name) && !self.drop.contains(name));
        // Without metadata the name would be nowhere.
        let Some(metadata) = metadata else { return };
        if self.moves_pod {
            metadata.extend(labels.remove_entry(POD));
        }
        let Some(facts) = facts else { return };
        for (prefix, names, values) in [
            ("k8s_label", &self.pod_labels, &facts.labels),
            ("k8s_annotation", &self.pod_annotations, &facts.annotations),
            ("k8s_namespace_label", &self.namespace_labels, &facts.namespace_labels),
        ] {
            let found = names.iter().filter_map(|name| Some((format!("{prefix}_{}", as_label_name(name)), values.get(name)?.clone())));
            metadata.extend(found);
        }
    }
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What no label's name may hold becomes an underscore, as Prometheus does it.
fn as_label_name(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect()
    }

    fn apply(choice: &LabelChoice, takes_metadata: bool) -> (String, String) {
        let facts = PodFacts {
            labels: map(&["app.kubernetes.io/team", "tier"]),
            annotations: map(&["example.com/owner"]),
            namespace_labels: map(&["cost-center"]),
            ..PodFacts::default()
        };
        let (mut labels, mut metadata) = (map(&["namespace", "pod", "container", "app", "job", "cluster"]), map(&["pod_uid"]));
        choice.apply(&mut labels, takes_metadata.then_some(&mut metadata), &map(&["cluster"]), Some(&facts));
        let names = |map: BTreeMap<String, String>| map.into_keys().collect::<Vec<_>>().join(" ");
        (names(labels), names(metadata))
    }

    #[test]
    fn labels_are_left_out_moved_and_added() {
        let mut choice = LabelChoice::default();
        assert_eq!(apply(&choice, true).0, "app cluster container job namespace pod");
        choice.set_drop("job").unwrap();
        assert_eq!(apply(&choice, true).0, "app cluster container namespace pod");
        choice.set_keep("job").unwrap();
        assert_eq!(apply(&choice, true).0, "cluster container namespace pod");
        assert!(choice.set_drop("job, pod").unwrap_err().contains("labels.pod"));
        choice.moves_pod = true;
        choice.set_pod_labels("app.kubernetes.io/team, none").unwrap();
        let moved = ("cluster container namespace".to_owned(), "k8s_label_app_kubernetes_io_team pod pod_uid".to_owned());
        assert_eq!(apply(&choice, true), moved);
        assert_eq!(apply(&choice, false).0, "cluster container namespace pod");
        choice.set_pod_annotations("example.com/owner, none").unwrap();
        assert!(apply(&choice, true).1.starts_with("k8s_annotation_example_com_owner "));
        choice.set_namespace_labels("cost-center, none").unwrap();
        assert!(apply(&choice, true).1.contains(" k8s_namespace_label_cost_center "));
    }
}
