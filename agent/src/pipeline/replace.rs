//! `replace`: what the groups of an expression captured, replaced by a template of it.
//!
//! Without a group nothing is replaced; of nested groups the outer one wins. Named groups are extracted as replaced.

use std::borrow::Cow;
use std::collections::HashMap;

use tailwater_logql::template::Template;

use super::entry::{Entry, Value};
use super::regex::Expression;
use super::settings::Settings;
use super::template::{self, TemplateData};
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

#[derive(Debug, Clone)]
pub(crate) struct Replace {
    expression: Expression,
    source: Option<String>,
    /// None that can be read replaces nothing.
    template: Option<Template>,
}

impl Replace {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("replace", node, report)?;
        let expression = settings.required("expression").and_then(|pattern| Expression::compile(&pattern, &mut settings));
        let source = settings.source();
        let text = settings.text("replace").unwrap_or_default();
        let template = template::read(&text).map_err(|error| {
            let line = settings.line();
            settings.report().note(line, format!("replace stage: template `{text}`: {error}; lines stay as they are"));
        });
        let is_right = settings.finish();
        let expression = expression?;
        is_right.then_some(Self { expression, source, template: template.ok() })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let input = match &self.source {
            None => Some(Cow::Borrowed(entry.line.as_str())),
            Some(source) => entry.extracted.text(source),
        };
        let Some((result, named)) = input.and_then(|input| self.replaced(entry, &input)) else { return };
        match &self.source {
            None => entry.line = result,
            Some(source) => entry.extracted.set(source, Value::Text(result)),
        }
        for (name, text) in named {
            entry.extracted.set(name, Value::Text(text));
        }
    }

    /// The new text, and the named groups of the first match as replaced; none without a match, or if the template fails.
    fn replaced(&self, entry: &Entry, input: &str) -> Option<(String, Vec<(&str, String)>)> {
        let (regex, template) = (&self.expression.regex, self.template.as_ref()?);
        let mut out = String::with_capacity(input.len());
        let mut end = 0;
        let mut by_text: HashMap<&str, String> = HashMap::new();
        let mut first = None;
        for captures in regex.captures_iter(input.as_bytes()) {
            for group in captures.iter().skip(1).flatten() {
                let captured = input.get(group.start()..group.end())?;
                let value = Some(Cow::Borrowed(captured));
                let replacement = TemplateData::new(template, &entry.extracted, value, input, false).execute(template)?;
                if end <= group.start() {
                    out.push_str(input.get(end..group.start())?);
                    out.push_str(&replacement);
                    end = group.end();
                }
                by_text.insert(captured, replacement);
            }
            first.get_or_insert(captures);
        }
        let first = first?;
        out.push_str(input.get(end..)?);
        let text_of = |index: usize| first.get(index).and_then(|group| input.get(group.start()..group.end())).unwrap_or_default();
        let named = self.expression.names().filter_map(|(index, name)| Some((name, by_text.get(text_of(index))?.clone())));
        Some((out, named.collect()))
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    fn replaced(config: &str, line: &str) -> String {
        run_lines(&format!("- replace: {config}"), &[line]).remove(0).line
    }

    #[test]
    fn groups_are_replaced_by_the_template() {
        for (config, line, expected) in [
            ("{expression: 'password=(\\S+)', replace: '****'}", "user=a password=s3cret x", "user=a password=**** x"),
            ("{expression: '(\\d+)-(\\d+)', replace: 'N'}", "1-2 and 33-44", "N-N and N-N"),
            ("{expression: 'abc', replace: 'x'}", "abc def", "abc def"),
            ("{expression: '( secret)', replace: ''}", "my secret thing", "my thing"),
            ("{expression: '((\\w+)@(\\w+))', replace: 'X'}", "mail ann@host ok", "mail X ok"),
            ("{expression: 'a(b)?(c)', replace: '_'}", "abc ac abc", "a__ a_ a__"),
            ("{expression: '(a)', replace: '{{ .Value'}", "abc", "abc"),
            ("{expression: '(ß+)', replace: '{{ ToUpper .job }}{{ .Value }}'}", "Straße", "StraTße"),
        ] {
            assert_eq!(replaced(config, line), expected, "{config}");
        }
    }

    #[test]
    fn named_groups_are_extracted_as_replaced_and_sources_are_set() {
        let stages = "- regex: {expression: '(?P<m>.*)'}\n- replace: {source: m, expression: 'user=(?P<user>\\w+)', replace: '{{ ToUpper .Value }}'}";
        let entry = run_lines(stages, &["user=ann x"]).remove(0);
        let text = |name: &str| entry.extracted.text(name).map(Cow::into_owned);
        assert_eq!((text("user").as_deref(), text("m").as_deref(), entry.line.as_str()), (Some("ANN"), Some("user=ANN x"), "user=ann x"));
        assert!(problems("- replace: {replace: a}")[0].contains("replace stage"));
    }

    use std::borrow::Cow;
}
