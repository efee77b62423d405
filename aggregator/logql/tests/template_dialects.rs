//! The template engine without queries: another dialect, with functions of its own and data of another type.

#![allow(clippy::unwrap_used)]

use tailwater_logql::template::{Dialect, Environment, FieldsRead, Function, Template, Type, Value, functions};

/// What a stage that changes one value offers: the value, and the line it came from.
struct Stage<'s> {
    template: &'s Template,
    value: &'s str,
    entry: &'s str,
}

impl Environment for Stage<'_> {
    fn field(&self, index: usize) -> Option<&[u8]> {
        self.named(&self.template.fields()[index])
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        self.pairs().into_iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        vec![("Entry", self.entry.as_bytes()), ("Value", self.value.as_bytes())]
    }

    fn line(&self) -> &[u8] {
        self.entry.as_bytes()
    }

    fn timestamp(&self) -> i64 {
        0
    }

    fn now(&self) -> i64 {
        0
    }
}

const OWN: &[Function] = &[
    Function::new("Reverse", &[Type::String], |call| {
        let mut text = call.text(0).into_owned();
        text.reverse();
        Ok(Value::text(text))
    }),
    Function::new("Join", &[Type::String], |call| {
        let separator = call.string(0);
        let parts: Vec<String> = (1..call.count()).map(|index| call.string(index)).collect();
        Ok(Value::text(parts.join(&separator)))
    })
    .with_rest(Type::String),
    Function::new("Refuse", &[Type::Int], |call| Err(format!("not {}", call.integer(0)))),
];

static DIALECT: Dialect =
    Dialect { functions: &[functions::BUILTIN, functions::COMPARE, functions::TEXT, OWN], without: &["urlencode"], is_data_text: false };

fn run(text: &str) -> String {
    let template = match Template::parse("pipeline_template", text, &DIALECT) {
        Ok(template) => template,
        Err(error) => return error.to_string(),
    };
    let mut out = Vec::new();
    match template.execute(&Stage { template: &template, value: "abc", entry: "the line" }, &mut out) {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn functions_come_from_tables() {
    for (text, expected) in [
        ("{{ Reverse .Value }} {{ .Entry | ToUpper }}", "cba THE LINE"),
        ("{{ Join \"-\" .Value .Entry }}", "abc-the line"),
        ("{{ Refuse 3 }}", "template: pipeline_template:1:3: executing \"pipeline_template\" at <Refuse 3>: error calling Refuse: not 3"),
        ("{{ urlencode .Value }}", "template: pipeline_template:1: function \"urlencode\" not defined"),
        ("{{ __line__ }}", "template: pipeline_template:1: function \"__line__\" not defined"),
    ] {
        assert_eq!(run(text), expected, "{text}");
    }
}

#[test]
fn data_that_is_no_text_has_no_value_for_missing_names() {
    assert_eq!(run("{{ .missing }}"), "<no value>");
    assert_eq!(run("{{ if .missing }}a{{ else }}b{{ end }}"), "b");
    assert!(run("{{ .missing.x }}").ends_with("nil pointer evaluating interface {}.x"));
    assert!(run("{{ . | ToUpper }}").ends_with("got map[string]interface {}"));
    assert!(run("{{ ToUpper .missing }}").ends_with("wrong type for value; expected string; got interface {}"));
}

#[test]
fn what_is_read_is_known_before() {
    let template = Template::parse("x", "{{ .Value }}{{ if .Entry }}{{ Reverse .Value }}{{ end }}", &DIALECT).unwrap();
    assert_eq!(template.fields_read(), FieldsRead::Only(["Entry".to_owned(), "Value".to_owned()].into()));
    assert!(template.calls("Reverse") && !template.calls("Join"));
}
