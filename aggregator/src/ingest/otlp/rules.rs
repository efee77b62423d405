//! Which attributes become stream labels, which structured metadata, which nothing: Loki's `otlp_config`.
//!
//! The first rule that names an attribute counts; resource attributes that no rule names follow the default list of index labels
//! unless `ignore_defaults` is set, and everything else is structured metadata. Only resource attributes can be labels.

use regex::bytes::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tailwater_logql::regex_dialect::{Anchoring, compile};

/// Resource attributes that become stream labels unless a rule says otherwise.
const DEFAULT_INDEX_LABELS: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

/// What becomes of the attributes of OTLP requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    pub resource_attributes: ResourceAttributes,
    pub scope_attributes: Vec<Rule<MetadataAction>>,
    pub log_attributes: Vec<Rule<MetadataAction>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceAttributes {
    /// Take no attribute for a label but those that rules name.
    pub ignore_defaults: bool,
    pub attributes_config: Vec<Rule<Action>>,
}

/// What is done with an attribute of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    IndexLabel,
    StructuredMetadata,
    Drop,
}

/// What is done with an attribute of a scope or a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataAction {
    StructuredMetadata,
    Drop,
}

/// What is done with the attributes listed, and with those whose whole name the expression matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule<A> {
    pub action: A,
    #[serde(default = "Vec::new")]
    pub attributes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<NamePattern>,
}

/// An anchored regular expression.
#[derive(Debug, Clone)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let regex = compile(&text, Anchoring::Matcher).map_err(serde::de::Error::custom)?;
        Ok(Self { text, regex })
    }
}

impl<A> Rule<A> {
    fn names(&self, name: &[u8]) -> bool {
        self.attributes.iter().any(|listed| listed.as_bytes() == name)
            || self.regex.as_ref().is_some_and(|pattern| pattern.regex.is_match(name))
    }
}

/// The rules for one kind of attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum AttributeRules<'a> {
    OfResource(&'a ResourceAttributes),
    OfOther(&'a [Rule<MetadataAction>]),
}

impl OtlpConfig {
    pub(super) fn of_resource(&self) -> AttributeRules<'_> {
        AttributeRules::OfResource(&self.resource_attributes)
    }

    pub(super) fn of_scope(&self) -> AttributeRules<'_> {
        AttributeRules::OfOther(&self.scope_attributes)
    }

    pub(super) fn of_record(&self) -> AttributeRules<'_> {
        AttributeRules::OfOther(&self.log_attributes)
    }
}

impl AttributeRules<'_> {
    /// What is done with the attribute of this name.
    pub(super) fn action(&self, name: &[u8]) -> Action {
        match self {
            Self::OfResource(rules) => {
                let ruled = rules.attributes_config.iter().find(|rule| rule.names(name)).map(|rule| rule.action);
                let is_default = !rules.ignore_defaults && DEFAULT_INDEX_LABELS.iter().any(|label| label.as_bytes() == name);
                ruled.unwrap_or(if is_default { Action::IndexLabel } else { Action::StructuredMetadata })
            }
            Self::OfOther(rules) => match rules.iter().find(|rule| rule.names(name)).map(|rule| rule.action) {
                Some(MetadataAction::Drop) => Action::Drop,
                Some(MetadataAction::StructuredMetadata) | None => Action::StructuredMetadata,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_names_an_attribute_counts() {
        let config: OtlpConfig = serde_yaml_ng::from_str(
            "resource_attributes:\n  attributes_config:\n    - {action: drop, attributes: [service.name]}\n    \
             - {action: index_label, regex: 'team\\..+', attributes: [owner]}\n    - {action: drop, regex: 'team.*'}\n\
             log_attributes:\n  - {action: drop, regex: 'secret.*'}\n",
        )
        .expect("a configuration");
        for (name, expected) in [
            ("service.name", Action::Drop),
            ("team.name", Action::IndexLabel),
            ("team", Action::Drop),
            ("owner", Action::IndexLabel),
            ("k8s.pod.name", Action::IndexLabel),
            ("my.team.name", Action::StructuredMetadata),
        ] {
            assert_eq!(config.of_resource().action(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(config.of_record().action(b"secret.key"), Action::Drop);
        assert_eq!(config.of_record().action(b"service.name"), Action::StructuredMetadata);
        assert_eq!(config.of_scope().action(b"secret.key"), Action::StructuredMetadata);
    }

    #[test]
    fn defaults_can_be_left_out_and_mistakes_are_told() {
        let config: OtlpConfig = serde_yaml_ng::from_str("resource_attributes: {ignore_defaults: true}").expect("a configuration");
        assert_eq!(config.of_resource().action(b"service.name"), Action::StructuredMetadata);
        for wrong in [
            "log_attributes: [{action: index_label, attributes: [a]}]",
            "log_attributes: [{action: drop, regex: '('}]",
            "resource_attributes: {attributes_config: [{action: keep, attributes: [a]}]}",
            "resource_attribute: {}",
        ] {
            assert!(serde_yaml_ng::from_str::<OtlpConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
