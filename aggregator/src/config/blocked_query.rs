//! A rule of `blocked_queries`: queries that are refused, by their text, kind, hash or the tags of their client.

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// What kind a query is. `limited`: a selector alone; `filter`: with stages; `metric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryKind {
    Limited,
    Filter,
    Metric,
}

impl QueryKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Limited => "limited",
            Self::Filter => "filter",
            Self::Metric => "metric",
        }
    }
}

/// All that is given has to hold for a query to be refused; a hash stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlockedQuery {
    /// The text of the query; empty or `*`: any.
    pub pattern: String,
    /// The pattern is a regular expression that is looked for in the text.
    pub regex: bool,
    /// A list with commas; empty: all kinds.
    #[serde(deserialize_with = "kinds_of", serialize_with = "kinds_as_text")]
    pub types: Vec<QueryKind>,
    /// The FNV-1a hash of the text, of 32 bits, as the log of queries tells it; 0: not looked at.
    pub hash: u32,
    /// Tags that `X-Query-Tags` has, names in lower case.
    pub tags: BTreeMap<String, String>,
}

impl BlockedQuery {
    /// Whether it refuses a query. A pattern that is no regular expression refuses nothing; the configuration does not take one.
    pub(crate) fn blocks(&self, query: &str, kind: QueryKind, tags: &[(String, String)]) -> bool {
        if self.hash != 0 {
            return self.hash == query_hash(query);
        }
        let has_tag = |(name, value): (&String, &String)| tags.iter().any(|(own, of)| own == name && of == value);
        if !self.tags.iter().all(has_tag) || !(self.types.is_empty() || self.types.contains(&kind)) {
            return false;
        }
        match self.pattern.trim() {
            "" | "*" => true,
            pattern if self.regex => Regex::new(pattern).is_ok_and(|regex| regex.is_match(query)),
            pattern => pattern == query.trim(),
        }
    }

    /// Whether a value of the file is a list of rules.
    pub(crate) fn check_all(value: &Value) -> Result<(), String> {
        let Some(rules) = value.as_sequence() else {
            return Err("is not a list of rules, write for instance `[{pattern: '.*prod.*', regex: true, types: metric}]`".to_owned());
        };
        for (place, rule) in rules.iter().enumerate() {
            let in_rule = |problem: String| format!("rule {}: {problem}", place + 1);
            let rule: Self = serde_yaml_ng::from_value(rule.clone()).map_err(|error| in_rule(error.to_string()))?;
            if rule.regex {
                Regex::new(rule.pattern.trim()).map_err(|error| in_rule(format!("the pattern cannot be read: {error}")))?;
            }
        }
        Ok(())
    }
}

/// FNV-1a of 32 bits.
pub(crate) fn query_hash(query: &str) -> u32 {
    query.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn kinds_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<QueryKind>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let kind = |name: &str| [QueryKind::Limited, QueryKind::Filter, QueryKind::Metric].into_iter().find(|kind| kind.name() == name);
    let known = |name: &str| kind(name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is not one of limited, filter, metric")));
    names.map(known).collect()
}

fn kinds_as_text<S: Serializer>(kinds: &[QueryKind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(yaml: &str) -> BlockedQuery {
        serde_yaml_ng::from_str(yaml).expect(yaml)
    }

    #[test]
    fn queries_are_known_by_text_kind_hash_and_tags() {
        let query = r#"sum(rate({env="prod"}[1m]))"#;
        let tags = [("source".to_owned(), "grafana".to_owned())];
        for (yaml, expected) in [
            ("{pattern: ' sum(rate({env=\"prod\"}[1m])) '}", true),
            ("{pattern: 'env=\"prod\"'}", false),
            ("{pattern: 'env=\"pr.d\"', regex: true}", true),
            ("{pattern: 'env=\"dev\"', regex: true}", false),
            ("{pattern: '*', types: 'filter, limited'}", false),
            ("{types: metric}", true),
            ("{hash: 1}", false),
            ("{tags: {source: grafana}}", true),
            ("{tags: {source: logcli}}", false),
        ] {
            assert_eq!(rule(yaml).blocks(query, QueryKind::Metric, &tags), expected, "{yaml}");
        }
        let by_hash = BlockedQuery { hash: query_hash(query), pattern: "other".to_owned(), ..BlockedQuery::default() };
        assert!(by_hash.blocks(query, QueryKind::Metric, &[]));
        assert_eq!(query_hash(""), 0x811c_9dc5);
        assert_eq!(query_hash("a"), 0xe40c_292c);
    }

    #[test]
    fn rules_are_checked_and_written_as_they_were() {
        let checked = |yaml: &str| BlockedQuery::check_all(&serde_yaml_ng::from_str(yaml).expect("YAML"));
        assert_eq!(checked("[{pattern: 'a.*', regex: true, types: 'metric,filter'}]"), Ok(()));
        for (yaml, expected) in [
            ("5", "is not a list of rules"),
            ("[{pattern: '(', regex: true}]", "rule 1: the pattern cannot be read"),
            ("[{types: logs}]", "`logs` is not one of limited, filter, metric"),
            ("[{patern: a}]", "rule 1: unknown field `patern`"),
        ] {
            let problem = checked(yaml).expect_err(yaml);
            assert!(problem.contains(expected), "{problem}");
        }
        let rule = rule("{pattern: a, types: 'metric,filter'}");
        assert_eq!(serde_yaml_ng::from_str::<BlockedQuery>(&serde_yaml_ng::to_string(&rule).expect("YAML")).expect("a rule"), rule);
    }
}
