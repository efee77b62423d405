//! `drop`: lines for which all given conditions hold are left out.

use std::time::Duration;

use super::Outcome;
use super::context::StageContext;
use super::entry::Entry;
use super::regex::Expression;
use super::settings::{Settings, text_of};
use crate::promtail::reader::byte_size;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_REASON: &str = "drop_stage";
const DEFAULT_SEPARATOR: &str = ";";

#[derive(Debug, Clone)]
enum Pattern {
    Value(String),
    Expression(Expression),
}

#[derive(Debug, Clone)]
pub(crate) struct DropStage {
    /// Names of extracted values; empty is the line.
    sources: Vec<String>,
    separator: String,
    pattern: Option<Pattern>,
    older_than: Option<Duration>,
    longer_than: Option<usize>,
    reason: String,
}

impl DropStage {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("drop", node, report)?.weakly_typed();
        let line = settings.line();
        let sources = match settings.take("source") {
            None => Vec::new(),
            Some(node) => {
                let one = text_of(node).map(|text| vec![text]);
                let many = node.sequence().and_then(|items| items.iter().map(text_of).collect());
                let sources: Vec<String> = one.or(many).unwrap_or_default();
                if sources.is_empty() || sources.iter().any(String::is_empty) {
                    settings.wrong(node.line, "`source` must be a name or a list of names");
                }
                sources
            }
        };
        let separator = settings.text("separator").unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned());
        let value = settings.text("value");
        let expression = settings.text("expression");
        let pattern = match (value, expression) {
            (Some(_), Some(_)) => {
                settings.wrong(line, "give either `value` or `expression`");
                None
            }
            (Some(value), None) => {
                if sources.is_empty() {
                    settings.wrong(line, "`value` needs a `source`");
                }
                Some(Pattern::Value(value))
            }
            (None, Some(pattern)) => Expression::compile(&pattern, &mut settings).map(Pattern::Expression),
            (None, None) => None,
        };
        let older_than = settings.duration("older_than");
        let longer_than = settings.text("longer_than").and_then(|text| {
            let size = byte_size(&text).and_then(|size| usize::try_from(size).ok());
            if size.is_none() {
                settings.wrong(line, format!("`longer_than` is `{text}`, which is no size like `8kb`"));
            }
            size
        });
        let reason = settings.text("drop_counter_reason").filter(|reason| !reason.is_empty()).unwrap_or_else(|| DEFAULT_REASON.to_owned());
        let is_empty = sources.is_empty() && pattern.is_none() && older_than.is_none() && longer_than.is_none();
        let is_right = settings.finish();
        if is_right && is_empty {
            report.error(line, "drop stage: give at least one of `source`, `expression`, `older_than` and `longer_than`");
            return None;
        }
        is_right.then_some(Self { sources, separator, pattern, older_than, longer_than, reason })
    }

    pub(crate) fn apply(&self, entry: &Entry, context: &StageContext<'_>) -> Outcome {
        if !self.holds(entry, context.now) {
            return Outcome::Keep;
        }
        context.counters.dropped(&self.reason);
        Outcome::Gone
    }

    fn holds(&self, entry: &Entry, now: i64) -> bool {
        if self.longer_than.is_some_and(|limit| entry.line.len() <= limit) {
            return false;
        }
        if let Some(age) = self.older_than {
            let horizon = now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
            if entry.timestamp.unwrap_or(now) >= horizon {
                return false;
            }
        }
        match &self.pattern {
            None => self.sources.iter().all(|source| entry.extracted.contains(source)),
            Some(Pattern::Expression(expression)) if self.sources.is_empty() => expression.is_match(&entry.line),
            Some(pattern) => self.joined(entry).is_some_and(|text| match pattern {
                Pattern::Value(value) => text == *value,
                Pattern::Expression(expression) => expression.is_match(&text),
            }),
        }
    }

    /// The values that are there, joined; none if one of them is a null.
    fn joined(&self, entry: &Entry) -> Option<String> {
        let present = self.sources.iter().filter(|source| entry.extracted.contains(source));
        let texts: Option<Vec<_>> = present.map(|source| entry.extracted.text(source)).collect();
        Some(texts?.join(&self.separator))
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    fn kept(config: &str, lines: &[&str]) -> Vec<String> {
        let stages = format!("- json: {{expressions: {{a: , b: }}}}\n- drop: {config}");
        run_lines(&stages, lines).into_iter().map(|entry| entry.line).collect()
    }

    #[test]
    fn all_conditions_must_hold() {
        let (a, ab, n) = ("{\"a\":\"x\"}", "{\"a\":\"x\",\"b\":\"y\"}", "{\"a\":null}");
        for (config, expected) in [
            ("{expression: 'x'}", vec![n]),
            ("{source: a, value: x}", vec![n]),
            ("{source: [a, b], expression: '^x;y$'}", vec![a, n]),
            ("{source: [a, b], separator: '#', value: 'x#y'}", vec![a, n]),
            ("{source: a, value: x, longer_than: 9b}", vec![a, n]),
            ("{longer_than: 10b}", vec![a, n]),
            ("{older_than: 1h}", vec![a, ab, n]),
        ] {
            // A name without a value is extracted as a null where the line is JSON.
            let expected: Vec<&str> = expected.into_iter().filter(|line| !(config.contains("[a, b]") && *line == "?")).collect();
            assert_eq!(kept(config, &[a, ab, n]), expected, "{config}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for config in [
            "{}",
            "{value: a, longer_than: 1b}",
            "{source: a, value: a, expression: b}",
            "{older_than: 2 weeks}",
            "{longer_than: big}",
            "{source: ''}",
        ] {
            assert!(problems(&format!("- drop: {config}"))[0].contains("drop stage"), "{config}");
        }
    }
}
