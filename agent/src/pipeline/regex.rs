//! `regex`: named groups of an expression into extracted values.

use regex::bytes::Regex;
use tailwater_logql::regex_dialect;

use super::entry::{Entry, Value};
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;
use crate::relabel::is_label_name;

/// An expression with the names of its groups as they were written.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(super) regex: Regex,
    names: Vec<Option<String>>,
}

impl Expression {
    /// Compiles `pattern`; the error says what is wrong with it.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let compiled = regex_dialect::translate(pattern).and_then(|translated| {
            let regex = translated.compile()?;
            Ok(Self { regex, names: translated.group_names().to_vec() })
        });
        compiled.map_err(|error| error.to_string())
    }

    /// Compiles `pattern`, reporting what is wrong with it.
    pub(super) fn compile(pattern: &str, settings: &mut Settings<'_, '_>) -> Option<Self> {
        match Self::parse(pattern) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let line = settings.line();
                settings.wrong(line, format!("cannot compile `{pattern}`: {error}"));
                None
            }
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Named groups by index.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names.iter().enumerate().filter_map(|(index, name)| Some((index, name.as_deref()?)))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RegexStage {
    expression: Expression,
    source: Option<String>,
    sets_labels: bool,
}

impl RegexStage {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("regex", node, report)?;
        let expression = settings.required("expression").and_then(|pattern| Expression::compile(&pattern, &mut settings));
        let source = settings.source();
        let sets_labels = settings.boolean("labels_from_groups").unwrap_or(false);
        let is_right = settings.finish();
        expression.filter(|_| is_right).map(|expression| Self { expression, source, sets_labels })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let input = match &self.source {
            None => std::borrow::Cow::Borrowed(entry.line.as_str()),
            Some(source) => match entry.extracted.text(source) {
                Some(text) => text,
                None => return,
            },
        };
        let Some(captures) = self.expression.regex.captures(input.as_bytes()) else { return };
        let texts: Vec<(&str, String)> = self
            .expression
            .names()
            .map(|(index, name)| {
                (name, captures.get(index).map_or(String::new(), |group| String::from_utf8_lossy(group.as_bytes()).into_owned()))
            })
            .collect();
        for (name, text) in texts {
            if self.sets_labels && is_label_name(name) {
                entry.set_label(name, text.clone());
            }
            entry.extracted.set(name, Value::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    #[test]
    fn groups_become_values_and_the_last_of_a_name_counts() {
        let stages = "- regex: {expression: '^(?P<a>x)?(?P<b>a+)-(?P<b>b+)', labels_from_groups: true}";
        let entry = run_lines(stages, &["aa-bb"]).remove(0);
        assert_eq!((entry.extracted.text("a").as_deref(), entry.extracted.text("b").as_deref()), (Some(""), Some("bb")));
        assert_eq!(entry.labels["b"], "bb");
    }

    #[test]
    fn a_missing_source_leaves_the_entry_alone() {
        let entry = run_lines("- regex: {source: none, expression: '(?P<all>.*)'}", &["x"]).remove(0);
        assert!(!entry.extracted.contains("all"));
    }

    #[test]
    fn wrong_settings_are_named() {
        for config in
            ["{source: a}", "{expression: '(?P<a>['}", "{expression: a, source: ''}", "{expression: 5}", "{expression: a, sorce: b}"]
        {
            assert!(problems(&format!("- regex: {config}"))[0].contains("regex stage"), "{config}");
        }
    }
}
