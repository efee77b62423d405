//! The keys of what is sent with lines: labels, structured metadata, and where they come from.

use super::keys::Key;
use super::values::{chosen, duration, name_of, shown};
use super::{Config, MetadataField, MetadataMode, MetadataSource};

const MODES: [(&str, MetadataMode); 3] = [("auto", MetadataMode::Auto), ("standard", MetadataMode::Standard), ("none", MetadataMode::None)];
const SOURCES: [(&str, MetadataSource); 3] =
    [("auto", MetadataSource::Auto), ("kubelet", MetadataSource::Kubelet), ("none", MetadataSource::None)];
/// Whether the pod's name is moved to metadata.
const PLACES_OF_POD: [(&str, bool); 2] = [("label", false), ("metadata", true)];

/// All scalar keys of labels and metadata.
pub(super) const METADATA_KEYS: &[Key] = &[
    Key {
        path: "metadata",
        about: "Structured metadata: auto (to a receiver that announces itself as tailwater), standard (to any) or none; and names of more to send, a list: \
                image, image_digest, node_ip, pod_ip, owner_kind, owner_name, qos, filename",
        set: set_metadata,
        get: |config| {
            let fields = config.metadata_fields.iter().map(|field| field.name().to_owned());
            Some(name_of(&config.metadata, &MODES).into_iter().chain(fields).collect::<Vec<_>>().join(","))
        },
    },
    Key {
        path: "metadata_source",
        about: "Where pod labels come from: auto (the Kubernetes API when in a cluster), kubelet (pods by this node's own) or none",
        set: |config, text| chosen(text, &SOURCES).map(|value| config.metadata_source = value),
        get: |config| name_of(&config.metadata_source, &SOURCES),
    },
    Key {
        path: "metadata_wait",
        about: "How long lines of an unknown pod wait for its metadata",
        set: |config, text| duration(text).map(|value| config.metadata_wait = value),
        get: |config| Some(shown(config.metadata_wait)),
    },
    Key {
        path: "labels.keep",
        about: "Labels that streams have besides namespace, pod and container, a list; empty: all but `filename`, the path of the live file",
        set: |config, text| config.label_choice.set_keep(text),
        get: |config| Some(config.label_choice.keep()),
    },
    Key {
        path: "labels.drop",
        about: "Labels that streams do not have, a list",
        set: |config, text| config.label_choice.set_drop(text),
        get: |config| Some(config.label_choice.dropped()),
    },
    Key {
        path: "labels.pod",
        about: "Where the pod's name goes: label, or metadata where the receiver takes it",
        set: |config, text| chosen(text, &PLACES_OF_POD).map(|value| config.label_choice.moves_pod = value),
        get: |config| name_of(&config.label_choice.moves_pod, &PLACES_OF_POD),
    },
    Key {
        path: "labels.namespace_labels",
        about: "Labels of namespaces to send as structured metadata `k8s_namespace_label_NAME`, a list",
        set: |config, text| config.label_choice.set_namespace_labels(text),
        get: |config| Some(config.label_choice.namespace_labels.join(",")),
    },
    Key {
        path: "labels.pod_annotations",
        about: "Annotations of pods to send as structured metadata `k8s_annotation_NAME`, a list",
        set: |config, text| config.label_choice.set_pod_annotations(text),
        get: |config| Some(config.label_choice.pod_annotations.join(",")),
    },
    Key {
        path: "labels.pod_labels",
        about: "Labels of pods to send as structured metadata `k8s_label_NAME`, a list",
        set: |config, text| config.label_choice.set_pod_labels(text),
        get: |config| Some(config.label_choice.pod_labels()),
    },
];

/// A mode, names of fields, or both; without a mode it is `auto`.
fn set_metadata(config: &mut Config, text: &str) -> Result<(), String> {
    let mut mode = None;
    let mut fields = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match (chosen(name, &MODES), MetadataField::named(name)) {
            (Ok(_), _) if mode.is_some() => return Err("one of `auto`, `standard`, `none`, and names of more".to_owned()),
            (Ok(named), _) => mode = Some(named),
            (Err(_), Some(field)) if !fields.contains(&field) => fields.push(field),
            (Err(_), Some(_)) => {}
            (Err(modes), None) => {
                let known: Vec<String> = MetadataField::ALL.iter().map(|field| format!("`{}`", field.name())).collect();
                return Err(format!("{modes}, and of {}", known.join(", ")));
            }
        }
    }
    let mode = mode.unwrap_or(MetadataMode::Auto);
    if mode == MetadataMode::None && !fields.is_empty() {
        return Err("`none` alone, or names of what to send".to_owned());
    }
    (config.metadata, config.metadata_fields) = (mode, fields);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_a_mode_and_names() {
        for (text, mode, names) in [
            ("auto", MetadataMode::Auto, ""),
            ("standard,image, pod_ip", MetadataMode::Standard, "image pod_ip"),
            ("qos,qos", MetadataMode::Auto, "qos"),
            ("none", MetadataMode::None, ""),
        ] {
            let mut config = Config::default();
            set_metadata(&mut config, text).unwrap();
            let fields: Vec<&str> = config.metadata_fields.iter().map(|field| field.name()).collect();
            assert_eq!((config.metadata, fields.join(" ").as_str()), (mode, names), "{text}");
        }
        for wrong in ["auto,none", "none,image", "some"] {
            assert!(set_metadata(&mut Config::default(), wrong).is_err(), "{wrong}");
        }
    }
}
