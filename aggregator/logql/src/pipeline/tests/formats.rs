//! Lines and labels made by templates.

use super::*;

/// `name=label`, or `name="template"` where it has braces.
/// The line after the stages.
fn line_of(stages: &[Ast], line: &str) -> String {
    let pipeline = pipeline(stages).with_now(1_768_480_000_000_000_000);
    let mut pipeline = pipeline.for_stream(&stream());
    let processed = pipeline.process(1_500_000_000, line.as_bytes(), &[("user", "u1")]).unwrap();
    String::from_utf8(processed.line().to_vec()).unwrap()
}

#[test]
fn lines_are_formatted_from_labels() {
    for (template, expected) in [
        ("{{.a}}-{{.app}}-{{.user}}-{{.missing}}", "1-a-u1-"),
        ("{{.a}}", "1"),
        ("{{.missing}}", ""),
        ("{{__line__ | upper}} {{__timestamp__ | unixEpochMillis}} {{now | unixEpoch}}", "A=1 B= 1500 1768480000"),
        ("{{.}}", "map[a:1 app:a pod:p user:u1]"),
        ("{{div 1 0}}", "a=1 b="),
        ("", ""),
    ] {
        assert_eq!(line_of(&[logfmt(), line_format(template)], "a=1 b="), expected, "{template}");
    }
    assert_eq!(line_of(&[line_format("{{.pod}}"), line_format("{{__line__}}!")], "x"), "p!");
    assert_eq!(run(&[line_format("b=2"), logfmt()], "a=1").as_deref(), Some(r#"{b="2"}"#));
    let filter = |text: &str| {
        Ast::LineFilter(ast::LineFilter { op: LineFilterOp::Contains, alternatives: vec![ast::LineFilterArg::Text(text.into())] })
    };
    assert_eq!(run(&[line_format("new"), filter("new")], "old").as_deref(), Some("{}"));
    assert_eq!(run(&[line_format("new"), filter("old")], "old"), None);
}

#[test]
fn templates_see_errors_and_make_them() {
    assert_eq!(line_of(&[json(), line_format("<{{.__error__}}>")], "no"), "<JSONParserErr>");
    assert_eq!(line_of(&[json(), line_format("{{.__error__}}")], "no"), "");
    assert_eq!(
        run(&[line_format("{{div 1 0}}")], "x").as_deref(),
        Some(
            r#"{__error__="TemplateFormatErr", __error_details__="template: line:1:2: executing \"line\" at <div 1 0>: error calling div: runtime error: integer divide by zero"}"#
        )
    );
    assert!(run(&[label_format(&[("x", "{{div 1 0}}")])], "x").unwrap().contains("template: label:1:2"));
}

#[test]
fn what_a_stage_has_set_no_parser_sets_again() {
    let labels = |stages: &[Ast], line: &str| {
        let (pipeline, stream) = (pipeline(stages), LabelSet::default());
        pipeline.for_stream(&stream).process(0, line.as_bytes(), &[]).unwrap().labels().to_string()
    };
    assert_eq!(labels(&[label_format(&[("a", "{{ `x` }}")]), logfmt()], "a=1 b=2"), r#"{a="x", b="2"}"#);
    let path = Ast::Json { extractions: extractions(&[("a", "b"), ("c", "missing")]) };
    assert_eq!(labels(&[path, json()], r#"{"a":"1","b":"2","c":"3"}"#), r#"{a="2", b="2", c=""}"#);
}

#[test]
fn labels_are_renamed_and_formatted() {
    for (formats, expected) in [
        (&[("x", "a")][..], r#"{b="2", x="1"}"#),
        (&[("x", "{{.a}}{{.b}}")], r#"{a="1", b="2", x="12"}"#),
        (&[("x", "missing")], r#"{a="1", b="2"}"#),
        (&[("x", "{{.missing}}")], r#"{a="1", b="2", x=""}"#),
        (&[("x", "a"), ("a", "b")], r#"{a="2", x="1"}"#),
        (&[("a", "{{.b}}"), ("b", "{{.a}}")], r#"{a="2", b="1"}"#),
        (&[("x", "{{.a}}"), ("y", "{{.x}}")], r#"{a="1", b="2", x="1", y=""}"#),
        (&[("x", "a"), ("y", "{{.x}}")], r#"{b="2", x="1", y="1"}"#),
        (&[("x", "{{.a}}"), ("y", "a"), ("z", "{{.a}}")], r#"{b="2", x="1", y="1", z="1"}"#),
        (&[("app", "{{.a}}")], r#"{a="1", app="1", b="2"}"#),
        (&[("x", "pod")], r#"{a="1", b="2", x="p"}"#),
    ] {
        assert_eq!(run(&[logfmt(), label_format(formats)], "a=1 b=2").as_deref(), Some(expected), "{formats:?}");
    }
}

#[test]
fn texts_that_grow_and_grow_become_an_error() {
    let details = |stages: &[Ast]| {
        let pipeline = pipeline(stages);
        let mut pipeline = pipeline.for_stream(&stream());
        let labels = pipeline.process(0, b"x", &[]).unwrap().labels();
        labels.get("__error_details__").unwrap().to_owned()
    };
    let first = label_format(&[("a", "{{repeat 500000 \"x\"}}")]);
    let doubled = |_| label_format(&[("a", "{{.a}}{{.a}}")]);
    let stages: Vec<Ast> = std::iter::once(first.clone()).chain((0..8).map(doubled)).collect();
    assert!(details(&stages).ends_with("more than 2097152 bytes of text"));
    let copies: Vec<String> = (0..80).map(|index| format!("a{index}")).collect();
    let copies: Vec<(&str, &str)> = copies.iter().map(|name| (name.as_str(), "{{.a}}")).collect();
    assert_eq!(details(&[first, label_format(&copies)]), "labels of more than 4194304 bytes");
}

#[test]
fn broken_templates_are_refused_with_their_stage() {
    let refused = |stage: Ast| Pipeline::compile(&[stage], None, &NeededLabels::All, &PipelineOptions::default()).unwrap_err().to_string();
    assert_eq!(
        refused(line_format("{{")),
        "parse error : stage '| line_format \"{{\"' : invalid line template: template: line:1: unclosed action"
    );
    assert_eq!(
        refused(label_format(&[("x", "{{end}}")])),
        "parse error : stage '| label_format x=\"{{end}}\"' : invalid template for label 'x': template: label:1: unexpected {{end}}"
    );
}

#[test]
fn only_what_reads_the_line_asks_for_it() {
    let reads = |formats: &[(&str, &str)]| pipeline(&[label_format(formats)]).reads_line();
    assert!(reads(&[("x", "{{__line__}}")]) && !reads(&[("x", "{{.a}}"), ("y", "b")]));
}
