//! A rule of `retention_stream`: how long the lines of some streams are kept.

use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::parse_selector;

use crate::config::span::Span;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// `{namespace="dev"}`
    pub selector: String,
    #[serde(default)]
    pub priority: i64,
    /// 0: for ever.
    pub period: Span,
}

impl RetentionRule {
    /// The matchers of the selector; the error says what is wrong with it.
    pub fn matchers(&self) -> Result<Vec<StreamMatcher>, String> {
        let told = |error: &dyn std::fmt::Display| format!("the selector `{}` cannot be read: {error}", self.selector);
        let selector = parse_selector(&self.selector).map_err(|error| told(&error))?;
        selector.matchers.iter().map(|matcher| StreamMatcher::new(matcher).map_err(|error| told(&error))).collect()
    }

    /// Whether a value of the file is a list of rules.
    pub(crate) fn check_all(value: &Value) -> Result<(), String> {
        let Some(rules) = value.as_sequence() else {
            return Err("is not a list of rules, write for instance `[{selector: '{app=\"a\"}', priority: 1, period: 24h}]`".to_owned());
        };
        for (place, rule) in rules.iter().enumerate() {
            let in_rule = |problem: String| format!("rule {}: {problem}", place + 1);
            let rule: Self = serde_yaml_ng::from_value(rule.clone()).map_err(|error| in_rule(error.to_string()))?;
            rule.matchers().map_err(in_rule)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_checked_one_by_one() {
        let checked = |yaml: &str| RetentionRule::check_all(&serde_yaml_ng::from_str(yaml).expect("YAML"));
        assert_eq!(checked("[{selector: '{a=\"b\"}', priority: 1, period: 24h}, {selector: '{a=~\"b.*\"}', period: 0s}]"), Ok(()));
        for (yaml, expected) in [
            ("5", "is not a list of rules"),
            ("[{selector: '{a=\"b\"}'}]", "rule 1: missing field `period`"),
            ("[{selector: '{a=\"b\"}', period: 1x}]", "rule 1: unknown unit \"x\" in duration \"1x\""),
            ("[{selector: '{a=\"b\"}', period: 1h, prio: 2}]", "rule 1: unknown field `prio`"),
            ("[{selector: '{a=\"b\"', period: 1h}]", "rule 1: the selector `{a=\"b\"` cannot be read: parse error at line 1"),
            ("[{selector: '{a=~\".*\"}', period: 1h}]", "rule 1: the selector `{a=~\".*\"}` cannot be read: parse error : queries require"),
            ("[{selector: '{a=\"b\"} |= \"x\"', period: 1h}]", "cannot be read: only label matchers are supported"),
        ] {
            let problem = checked(yaml).expect_err(yaml);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
