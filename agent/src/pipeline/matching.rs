//! `match`: a nested pipeline for the lines a selector picks, or their end.

use super::context::StageContext;
use super::entry::Entry;
use super::selector::Selector;
use super::settings::Settings;
use super::{Outcome, Pipeline, build};
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_REASON: &str = "match_stage";

#[derive(Debug, Clone)]
pub(crate) struct Match {
    selector: Selector,
    action: Action,
    nested: Pipeline,
}

#[derive(Debug, Clone)]
enum Action {
    Keep,
    Drop { reason: String },
}

impl Match {
    pub(crate) fn from_config(node: &Node, surroundings: &mut build::Surroundings, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("match", node, report)?;
        let selector = settings.required("selector").and_then(|text| match Selector::parse(&text) {
            Ok(selector) => Some(selector),
            Err(error) => {
                let line = settings.line();
                settings.wrong(line, format!("selector `{text}`: {error}"));
                None
            }
        });
        let reason = settings.text("drop_counter_reason").filter(|reason| !reason.is_empty()).unwrap_or_else(|| DEFAULT_REASON.to_owned());
        let (line, name) = (settings.line(), settings.text("pipeline_name"));
        if name.is_some_and(|name| name.is_empty()) {
            settings.wrong(line, "`pipeline_name` is empty; leave it out");
        }
        let stages = settings.take("stages").filter(|stages| stages.sequence().is_none_or(|stages| !stages.is_empty()));
        let action = match (settings.text("action").as_deref().unwrap_or("keep"), stages) {
            ("keep" | "", Some(_)) => Some(Action::Keep),
            ("keep" | "", None) => {
                settings.wrong(line, "`stages` are required unless `action` is `drop`");
                None
            }
            ("drop", None) => Some(Action::Drop { reason }),
            ("drop", Some(_)) => {
                settings.wrong(line, "a dropping match cannot have `stages`");
                None
            }
            (other, _) => {
                let problem = format!("`action` is `{other}`; it can be `keep` or `drop`");
                settings.wrong(line, problem);
                None
            }
        };
        let nested = stages.and_then(|stages| {
            let errors_before = settings.report().errors.len();
            let nested = build::stages(stages, surroundings, settings.report());
            // What is wrong inside is told with where it is.
            settings.report().errors[errors_before..]
                .iter_mut()
                .for_each(|finding| finding.text = format!("match stage: {}", finding.text));
            nested
        });
        let is_right = settings.finish() && nested.is_some() == stages.is_some();
        let nested = Pipeline::new(nested.unwrap_or_default());
        Some(Self { selector: selector?, action: action?, nested }).filter(|_| is_right)
    }

    /// Whether the entry goes through the nested pipeline.
    pub(super) fn is_nested_for(&self, entry: &Entry) -> bool {
        matches!(self.action, Action::Keep) && self.selector.matches(&entry.labels, &entry.line)
    }

    /// For an entry that does not go through the nested pipeline.
    pub(super) fn apply(&self, entry: &Entry, context: &StageContext<'_>) -> Outcome {
        match &self.action {
            Action::Drop { reason } if self.selector.matches(&entry.labels, &entry.line) => {
                context.counters.dropped(reason);
                Outcome::Gone
            }
            _ => Outcome::Keep,
        }
    }

    pub(super) fn nested(&self) -> &Pipeline {
        &self.nested
    }

    pub(super) fn nested_mut(&mut self) -> &mut Pipeline {
        &mut self.nested
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    #[test]
    fn picked_lines_go_through_the_nested_stages() {
        let stages = "- regex: {expression: '(?P<job>\\w+)'}\n- match:\n    selector: '{job=\"t\"} |= \"hit\"'\n    stages:\n    - labels: {copy: job}\n- labels: {after: job}";
        let entries = run_lines(stages, &["hit", "miss"]);
        assert_eq!((entries[0].labels["copy"].as_str(), entries[0].labels["after"].as_str()), ("t", "t"));
        assert_eq!((entries[1].labels.get("copy"), entries[1].labels["after"].as_str()), (None, "miss"));
    }

    #[test]
    fn wrong_settings_are_named() {
        for config in [
            "{stages: [{cri: {}}]}",
            "{selector: '{a=b}', stages: [{cri: {}}]}",
            "{selector: '{a=\"b\"}', action: skip}",
            "{selector: '{a=\"b\"}'}",
            "{selector: '{a=\"b\"}', action: drop, stages: [{cri: {}}]}",
            "{selector: '{a=\"b\"}', stages: [{regex: {}}]}",
        ] {
            let found = problems(&format!("- match: {config}"));
            assert!(!found.is_empty() && found.iter().all(|problem| problem.contains("match stage")), "{config}: {found:?}");
        }
    }
}
