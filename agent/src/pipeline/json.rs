//! `json`: JMESPath expressions over a JSON object into extracted values.
//!
//! An expression that finds nothing sets a null: the key is there, without text. A line that is no object sets nothing. Numbers are 64-bit floats.

use std::sync::Arc;

use jmespath::{Expression, Rcvar, Variable};

use super::Outcome;
use super::entry::{Entry, Value};
use super::go_json;
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

#[derive(Debug, Clone)]
pub(crate) struct Json {
    fields: Vec<(String, Path)>,
    source: Option<String>,
    drops_malformed: bool,
}

/// How a value is found.
#[derive(Clone)]
enum Path {
    /// Names joined by dots: most of all expressions.
    Names(Vec<String>),
    Expression(Expression<'static>),
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Names(names) => f.debug_list().entries(names).finish(),
            Self::Expression(expression) => f.write_str(expression.as_str()),
        }
    }
}

impl Path {
    fn find(&self, data: &Rcvar) -> Option<Rcvar> {
        match self {
            Self::Names(names) => {
                let mut at = Arc::clone(data);
                for name in names {
                    let next = at.as_object().and_then(|object| object.get(name)).map(Arc::clone);
                    at = next.unwrap_or_else(|| Arc::new(Variable::Null));
                }
                Some(at)
            }
            Self::Expression(expression) => expression.search(data).ok(),
        }
    }
}

impl Json {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("json", node, report)?;
        let expressions = settings.sources("expressions").unwrap_or_default();
        if expressions.is_empty() {
            let line = settings.line();
            settings.wrong(line, "`expressions` is required");
        }
        let mut fields = Vec::new();
        for (name, expression) in expressions {
            match compile(&expression) {
                Ok(path) => fields.push((name, path)),
                Err(error) => {
                    let line = settings.line();
                    settings.wrong(line, format!("cannot compile `{expression}` of `{name}`: {error}"));
                }
            }
        }
        let source = settings.source();
        let drops_malformed = settings.boolean("drop_malformed").unwrap_or(false);
        settings.finish().then_some(Self { fields, source, drops_malformed })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) -> Outcome {
        let data = match &self.source {
            None => object(&entry.line),
            Some(source) => match entry.extracted.text(source) {
                Some(text) => object(&text),
                None => return Outcome::Keep,
            },
        };
        let Some(data) = data else {
            return if self.drops_malformed { Outcome::Gone } else { Outcome::Keep };
        };
        for (name, path) in &self.fields {
            if let Some(found) = path.find(&data) {
                entry.extracted.set(name, value(found));
            }
        }
        Outcome::Keep
    }
}

fn compile(expression: &str) -> Result<Path, String> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let names: Vec<&str> = expression.split('.').collect();
    if names.iter().all(|name| is_name(name)) {
        return Ok(Path::Names(names.into_iter().map(str::to_owned).collect()));
    }
    jmespath::compile(expression).map(Path::Expression).map_err(|error| error.reason.to_string())
}

/// A JSON object, or null.
pub(super) fn object(text: &str) -> Option<Rcvar> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if !text.starts_with('{') && text != "null" {
        return None;
    }
    Variable::from_json(text).ok().map(Arc::new)
}

/// What a found variable is as an extracted value.
pub(super) fn value(found: Rcvar) -> Value {
    match &*found {
        Variable::Null => Value::Null,
        Variable::Bool(value) => Value::Bool(*value),
        Variable::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        Variable::String(text) => Value::Text(text.clone()),
        other => {
            let mut text = String::new();
            go_json::write(other, &mut text);
            Value::Text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::{problems, run_lines};

    #[test]
    fn expressions_find_values_and_nulls() {
        let stages = "- json: {expressions: {a: , b: x.y, len: 'length(items)', o: items, none: q.r, quoted: '\"k.s\"'}}";
        let entry = run_lines(stages, &["{\"a\":1.50,\"x\":{\"y\":true},\"items\":[1,{\"c\":\"<\"}],\"k.s\":9007199254740993}"]).remove(0);
        let text = |name: &str| entry.extracted.text(name).map(std::borrow::Cow::into_owned);
        assert_eq!(text("a").as_deref(), Some("1.5"));
        assert_eq!(text("b").as_deref(), Some("true"));
        assert_eq!(text("len").as_deref(), Some("2"));
        assert_eq!(text("o").as_deref(), Some("[1,{\"c\":\"\\u003c\"}]"));
        assert_eq!(text("quoted").as_deref(), Some("9007199254740992"));
        assert_eq!(entry.extracted.get("none").as_deref(), Some(&Value::Null));
    }

    #[test]
    fn only_objects_are_well_formed() {
        for (line, is_kept) in
            [("{}", true), ("null", true), (" {\"a\":1} ", true), ("[1]", false), ("\"t\"", false), ("{\"a\":", false), ("", false)]
        {
            let entries = run_lines("- json: {expressions: {a: }, drop_malformed: true}", &[line]);
            assert_eq!(!entries.is_empty(), is_kept, "{line}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for config in ["{source: a}", "{expressions: {a: 'b['}}", "{expressions: []}", "{expressions: {a: 1}}"] {
            assert!(problems(&format!("- json: {config}"))[0].contains("json stage"), "{config}");
        }
    }
}
