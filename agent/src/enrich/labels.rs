//! The default label set, its canonical text, and the standard structured metadata.

use std::collections::BTreeMap;

use super::pods::PodFacts;
use crate::discover::paths::PodDirectory;

/// Not sent, and recorded with the labels, so that a replay of any offset has what it had: whose lines they are, which share of them is kept, how they
/// are joined and how their records are read.
pub(crate) const TENANT: &str = "__tenant_id__";
pub(crate) const SAMPLE: &str = "__sample__";
pub(crate) const MULTILINE: &str = "__multiline__";
pub(crate) const PARSER: &str = "__parser__";

/// Letters and digits of which Kubernetes makes random name suffixes.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Labels of an instance, without `stream`.
pub(crate) fn stream_labels(
    pod: &PodDirectory,
    container: &str,
    node_name: &str,
    external: &BTreeMap<String, String>,
    facts: Option<&PodFacts>,
) -> BTreeMap<String, String> {
    let pod_label = |names: [&str; 2]| {
        let labels = &facts?.labels;
        names.iter().find_map(|name| labels.get(*name).filter(|value| !value.is_empty())).cloned()
    };
    let controller = facts.and_then(|facts| facts.controller.as_deref()).map(without_template_hash);
    let path_app = || if facts.is_some() { pod.pod.as_str() } else { without_pod_suffix(&pod.pod, node_name) };
    let app = pod_label(["app.kubernetes.io/name", "app"]).unwrap_or_else(|| controller.unwrap_or_else(path_app).to_owned());
    let mut labels = external.clone();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            labels.insert(name.to_owned(), value);
        }
    };
    set("job", format!("{}/{app}", pod.namespace));
    set("app", app);
    set("namespace", pod.namespace.clone());
    set("pod", pod.pod.clone());
    set("container", container.to_owned());
    set("node_name", node_name.to_owned());
    for (name, names) in
        [("instance", ["app.kubernetes.io/instance", "instance"]), ("component", ["app.kubernetes.io/component", "component"])]
    {
        set(name, pod_label(names).unwrap_or_default());
    }
    labels
}

/// The standard metadata of an instance.
pub(crate) fn metadata(pod: &PodDirectory, number: u32, facts: Option<&PodFacts>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([("pod_uid".to_owned(), pod.uid.clone()), ("restart".to_owned(), number.to_string())]);
    let facts = facts.map(|facts| [("namespace_uid", &facts.namespace_uid), ("container_id", &facts.container_id)]);
    for (name, value) in facts.into_iter().flatten() {
        if let Some(value) = value {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    metadata
}

/// `{a="b", c="d"}`, sorted, values quoted as Go does.
pub(crate) fn canonical_text(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        quote(value, &mut text);
    }
    text.push('}');
    text
}

/// Appends `value` quoted as Go does.
pub(crate) fn quote(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            control if u32::from(control) < 0x20 || u32::from(control) == 0x7f => out.push_str(&format!("\\x{:02x}", u32::from(control))),
            other if other.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A controller's name without the hash a Deployment gives its ReplicaSets.
pub(super) fn without_template_hash(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((stem, hash)) if !stem.is_empty() && is_template_hash(hash) => stem,
        _ => name,
    }
}

/// A pod's name without what its controller appended, as far as the name alone tells.
fn without_pod_suffix<'a>(name: &'a str, node_name: &str) -> &'a str {
    if let Some(stem) =
        name.strip_suffix(node_name).and_then(|stem| stem.strip_suffix('-')).filter(|stem| !node_name.is_empty() && !stem.is_empty())
    {
        return stem;
    }
    let Some((stem, last)) = name.rsplit_once('-').filter(|(stem, _)| !stem.is_empty()) else { return name };
    let is_random = last.len() == 5 && last.bytes().all(|byte| SUFFIX_ALPHABET.contains(&byte));
    let is_ordinal = !last.is_empty() && last.len() <= 4 && last.bytes().all(|byte| byte.is_ascii_digit());
    if is_random {
        without_template_hash(stem)
    } else if is_ordinal {
        stem
    } else {
        name
    }
}

fn is_template_hash(text: &str) -> bool {
    (8..=10).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodDirectory {
        PodDirectory { namespace: "shop".to_owned(), pod: name.to_owned(), uid: "u-1".to_owned() }
    }

    fn facts(labels: &[(&str, &str)], controller: Option<&str>) -> PodFacts {
        PodFacts {
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            controller: controller.map(str::to_owned),
            namespace_uid: Some("ns-uid".to_owned()),
            container_id: Some("containerd://abc".to_owned()),
            ..PodFacts::default()
        }
    }

    fn app_of(name: &str, facts: Option<&PodFacts>) -> String {
        stream_labels(&pod(name), "c", "node-a", &BTreeMap::new(), facts)["app"].clone()
    }

    #[test]
    fn app_from_labels_then_controller_then_name() {
        for (labels, controller, expected) in [
            (vec![("app.kubernetes.io/name", "web"), ("app", "x")], Some("ctl"), "web"),
            (vec![("app.kubernetes.io/name", ""), ("app", "x")], Some("ctl"), "x"),
            (vec![], Some("cart-6d4cf56db8"), "cart"),
            (vec![], Some("cart-api"), "cart-api"),
            (vec![], None, "cart-6d4cf56db8-x7z9k"),
        ] {
            assert_eq!(app_of("cart-6d4cf56db8-x7z9k", Some(&facts(&labels, controller))), expected);
        }
    }

    #[test]
    fn app_from_the_path_alone() {
        for (name, expected) in [
            ("cart-6d4cf56db8-x7z9k", "cart"),
            ("node-exporter-x7z9k", "node-exporter"),
            ("db-0", "db"),
            ("kube-apiserver-node-a", "kube-apiserver"),
            ("backup-29011234-x7z9k", "backup"),
            ("plain", "plain"),
            ("my-tools", "my-tools"),
            ("x7z9k", "x7z9k"),
        ] {
            assert_eq!(app_of(name, None), expected, "{name}");
        }
    }

    #[test]
    fn the_set_is_that_of_the_chart() {
        let facts = facts(&[("app", "web"), ("app.kubernetes.io/instance", "prod"), ("component", "api")], None);
        let external = BTreeMap::from([("cluster".to_owned(), "c1".to_owned())]);
        let labels = stream_labels(&pod("web-1"), "nginx", "node-a", &external, Some(&facts));
        let expected = r#"{app="web", cluster="c1", component="api", container="nginx", instance="prod", job="shop/web", namespace="shop", node_name="node-a", pod="web-1"}"#;
        assert_eq!(canonical_text(&labels), expected);
    }

    #[test]
    fn metadata_has_what_is_known() {
        let path_only = metadata(&pod("p"), 3, None);
        assert_eq!(canonical_text(&path_only), r#"{pod_uid="u-1", restart="3"}"#);
        let all = metadata(&pod("p"), 3, Some(&facts(&[], None)));
        assert_eq!(canonical_text(&all), r#"{container_id="containerd://abc", namespace_uid="ns-uid", pod_uid="u-1", restart="3"}"#);
    }

    #[test]
    fn values_are_quoted_as_go_does() {
        let labels = BTreeMap::from([("a".to_owned(), "q\"b\\n\n\u{1}\u{7f}é\u{85}".to_owned())]);
        assert_eq!(canonical_text(&labels), "{a=\"q\\\"b\\\\n\\n\\x01\\x7fé\\u0085\"}");
    }
}
