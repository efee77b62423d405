//! `template`: a Go template over extracted values into one of them, and what `replace` shares with it.
//!
//! All values are texts; a name that is absent prints as `<no value>`. A template that fails leaves the value as it was, an empty result removes it.

mod chance;
mod dates;
mod lists;
mod maps;
mod more;
mod strict;
mod texts;
mod urls;
mod wrapping;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use tailwater_logql::template::{Dialect, Environment, Template, functions};

use super::entry::{Entry, Extracted, Value};
use super::settings::Settings;
use crate::clock;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

/// Go's functions, Sprig's, and Promtail's own.
static PROMTAIL: Dialect = Dialect {
    functions: &[
        lists::INSTEAD_OF_BUILTIN,
        functions::BUILTIN,
        functions::COMPARE,
        functions::TEXT,
        functions::SEARCH,
        functions::NUMBER,
        // Before those of queries, of which some have the same name.
        dates::FUNCTIONS,
        functions::CONVERT,
        functions::DATE,
        texts::FUNCTIONS,
        lists::FUNCTIONS,
        maps::FUNCTIONS,
        more::FUNCTIONS,
        strict::FUNCTIONS,
        chance::FUNCTIONS,
        urls::FUNCTIONS,
        wrapping::FUNCTIONS,
    ],
    // Queries have these, Promtail has not.
    without: &[
        "__line__",
        "__timestamp__",
        "alignLeft",
        "alignRight",
        "bytes",
        "count",
        "duration_seconds",
        "toDateInZone",
        "unixEpochMillis",
        "unixEpochNanos",
        "unixToTime",
        "urldecode",
        "urlencode",
    ],
    is_data_text: false,
};

/// Parses a template.
pub(super) fn read(text: &str) -> Result<Template, impl std::fmt::Display + use<>> {
    Template::parse("pipeline_template", text, &PROMTAIL)
}

/// The same, reporting what is wrong with it.
pub(super) fn parse(text: &str, settings: &mut Settings<'_, '_>) -> Option<Template> {
    match read(text) {
        Ok(template) => Some(template),
        Err(error) => {
            let line = settings.line_of("template");
            settings.wrong(line, format!("template `{text}`: {error}"));
            None
        }
    }
}

/// What a template sees: extracted values, `.Value`, and `.Entry` where there is one.
pub(super) struct TemplateData<'a> {
    extracted: &'a Extracted,
    value: Option<Cow<'a, str>>,
    line: &'a str,
    has_entry: bool,
    /// By the template's numbers.
    fields: Vec<Option<Cow<'a, str>>>,
    all: OnceCell<BTreeMap<String, String>>,
}

impl<'a> TemplateData<'a> {
    pub(super) fn new(template: &Template, extracted: &'a Extracted, value: Option<Cow<'a, str>>, line: &'a str, has_entry: bool) -> Self {
        let mut data = Self { extracted, value, line, has_entry, fields: Vec::new(), all: OnceCell::new() };
        data.fields = template.fields().iter().map(|name| data.get(name)).collect();
        data
    }

    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        match name {
            "Value" if self.value.is_some() => self.value.clone(),
            "Entry" if self.has_entry => Some(Cow::Borrowed(self.line)),
            name => self.extracted.text(name),
        }
    }

    fn all(&self) -> &BTreeMap<String, String> {
        self.all.get_or_init(|| {
            let mut all: BTreeMap<String, String> =
                self.extracted.texts().map(|(name, text)| (name.to_owned(), text.into_owned())).collect();
            all.extend(self.value.as_ref().map(|value| ("Value".to_owned(), value.clone().into_owned())));
            if self.has_entry {
                all.insert("Entry".to_owned(), self.line.to_owned());
            }
            all
        })
    }

    /// The result; none if the template fails.
    pub(super) fn execute(&self, template: &Template) -> Option<String> {
        let mut out = Vec::new();
        match template.execute(self, &mut out) {
            Ok(()) => Some(String::from_utf8_lossy(&out).into_owned()),
            Err(error) => {
                tracing::debug!(error = %error, "template failed");
                None
            }
        }
    }
}

impl Environment for TemplateData<'_> {
    fn field(&self, index: usize) -> Option<&[u8]> {
        self.fields.get(index)?.as_deref().map(str::as_bytes)
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        self.all().get(name).map(String::as_bytes)
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        self.all().iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect()
    }

    fn line(&self) -> &[u8] {
        self.line.as_bytes()
    }

    fn timestamp(&self) -> i64 {
        0
    }

    fn now(&self) -> i64 {
        clock::now()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TemplateStage {
    source: String,
    template: Template,
}

impl TemplateStage {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("template", node, report)?;
        let source = settings.required("source");
        let text = settings.text("template").unwrap_or_default();
        let template = parse(&text, &mut settings);
        let is_right = settings.finish();
        let (source, template) = (source?, template?);
        is_right.then_some(Self { source, template })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let value = entry.extracted.text(&self.source);
        let result = TemplateData::new(&self.template, &entry.extracted, value, &entry.line, true).execute(&self.template);
        match result {
            Some(text) if text.is_empty() => entry.extracted.remove(&self.source),
            Some(text) => entry.extracted.set(&self.source, Value::Text(text)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    /// The value `v`, at first the line, after a template.
    pub(super) fn result(template: &str, line: &str) -> Option<String> {
        let quoted = template.replace('\'', "''");
        let stages = format!("- regex: {{expression: '^(?P<v>.*)$'}}\n- template: {{source: v, template: '{quoted}'}}");
        run_lines(&stages, &[line])[0].extracted.text("v").map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn values_entry_and_what_is_missing() {
        for (template, expected) in [
            ("{{ ToUpper .Value }}-{{ .job }}-{{ .none }}", Some("ABC-t-<no value>")),
            ("[{{ .Entry }}]", Some("[abc]")),
            ("{{ if eq .v \"x\" }}y{{ end }}", None),
            ("{{ ToUpper .none }}", Some("abc")),
            ("{{ if .none }}a{{ else }}b{{ end }}", Some("b")),
            ("{{ default \"d\" .none }}", Some("d")),
        ] {
            assert_eq!(result(template, "abc").as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn wrong_templates_are_named() {
        for (config, part) in [
            ("{template: a}", "source"),
            ("{source: a, template: '{{ .a '}", "template"),
            ("{source: a, template: '{{ nofunc .a }}'}", "nofunc"),
            ("{source: a, template: '{{ genCA .a 1 }}'}", "function \"genCA\" not defined"),
            ("{source: a, template: '{{ .a | ToUpper | md5sum }}'}", "function \"md5sum\" not defined"),
        ] {
            let found = problems(&format!("- template: {config}"));
            assert!(found[0].contains("template stage") && found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn what_only_queries_have_is_an_error_of_its_line() {
        for name in super::PROMTAIL.without {
            let text = format!(
                "clients: [{{url: http://h/p}}]\nscrape_configs:\n- job_name: j\n  pipeline_stages:\n  - cri: {{}}\n  - template:\n      \
                 source: a\n      template: '{{{{ {name} }}}}'\n"
            );
            let (config, report) = crate::promtail::parse(&text, "host".to_owned());
            let told = report.to_string();
            assert!(config.is_none() && told.contains("line 8") && told.contains(&format!("function \"{name}\" not defined")), "{told}");
        }
    }
}
