//! The `compare` object of a case: what may differ between the recorded answer and the server's.
//!
//! An unknown rule is an error of the suite, never ignored: a rule that is not understood would make the
//! comparison either too strict or too lax.

use regex::Regex;
use serde::{Deserialize, Deserializer};

/// Every rule is optional, so that the rules of a step can be laid over those of its case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) ties: Option<Ties>,
    /// The direction of the query, for `ties: "limit"`: it decides which end is the cut.
    pub(crate) direction: Option<Direction>,
    /// The rows of a vector or matrix stand in a meaningful order.
    pub(crate) ordered: Option<bool>,
    pub(crate) values: Option<Values>,
    pub(crate) body: Option<Body>,
    pub(crate) cardinality: Option<Cardinality>,
    /// Blanked in error texts.
    #[serde(default, deserialize_with = "patterns")]
    pub(crate) mask: Option<Vec<Regex>>,
    /// Top-level keys of a JSON answer that do not count.
    pub(crate) drop: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ties {
    /// Entries of equal time in any order.
    Any,
    /// A limit cuts through entries of equal time: every timestamp counts, and every entry but those at the cut.
    Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Forward,
    Backward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Values {
    /// Only the labels of a vector or matrix count.
    Ignore,
    /// Of patterns, the pattern, its level and its total count.
    Patterns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    /// Only the status counts.
    Ignore,
    /// Only the names of the top-level keys count.
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cardinality {
    Ignore,
}

impl Rules {
    /// The rules of `step` laid over these of the case, key by key.
    pub(crate) fn overlaid(&self, step: &Self) -> Self {
        Self {
            ties: step.ties.or(self.ties),
            direction: step.direction.or(self.direction),
            ordered: step.ordered.or(self.ordered),
            values: step.values.or(self.values),
            body: step.body.or(self.body),
            cardinality: step.cardinality.or(self.cardinality),
            mask: step.mask.as_ref().or(self.mask.as_ref()).cloned(),
            drop: step.drop.as_ref().or(self.drop.as_ref()).cloned(),
        }
    }

    pub(crate) fn masks(&self) -> &[Regex] {
        self.mask.as_deref().unwrap_or_default()
    }

    pub(crate) fn drops(&self, key: &str) -> bool {
        self.drop.iter().flatten().any(|dropped| dropped == key)
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Regex>>, D::Error> {
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    texts.iter().map(|text| Regex::new(text).map_err(serde::de::Error::custom)).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_overrides_its_case_key_by_key() {
        let case: Rules = serde_json::from_str(r#"{"ties":"any","mask":["a+"]}"#).unwrap();
        let step: Rules = serde_json::from_str(r#"{"ties":"limit","direction":"forward"}"#).unwrap();
        let both = case.overlaid(&step);
        assert_eq!(both.ties, Some(Ties::Limit));
        assert_eq!(both.direction, Some(Direction::Forward));
        assert_eq!(both.masks().len(), 1);
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        assert!(serde_json::from_str::<Rules>(r#"{"tie":"any"}"#).is_err());
        assert!(serde_json::from_str::<Rules>(r#"{"ties":"some"}"#).is_err());
        assert!(serde_json::from_str::<Rules>(r#"{"mask":["("]}"#).is_err());
    }
}
