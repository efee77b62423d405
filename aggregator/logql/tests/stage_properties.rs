//! Stages against slow and simple readings of the same lines.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::parse_log;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};

type Labels = BTreeMap<String, String>;

fn compiled(query: &str, needed: &NeededLabels) -> Pipeline {
    let log = parse_log(query).unwrap();
    Pipeline::compile(&log.stages, None, needed, &PipelineOptions::default()).unwrap()
}

/// The labels of each line that passes.
fn run_with(query: &str, needed: &NeededLabels, lines: &[&[u8]]) -> Vec<Option<Labels>> {
    let pipeline = compiled(query, needed);
    let mut pipeline = pipeline.for_stream(&LabelSet::default());
    let mut all = Vec::new();
    for line in lines {
        let processed = pipeline.process(0, line, &[]);
        let labels = processed.map(|processed| processed.labels());
        all.push(labels.map(|labels| labels.iter().map(|(name, value)| (name.into(), value.into())).collect()));
    }
    all
}

fn run(query: &str, line: &[u8]) -> Option<Labels> {
    run_with(query, &NeededLabels::All, &[line]).remove(0)
}

fn json_value() -> BoxedStrategy<Value> {
    let text = prop_oneof!["[a-z ]{0,5}", "\\PC{0,6}", "[\"\\\\/\n\t\u{1}é😀]{0,4}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), json_object(inner).prop_map(Value::from),]
    })
    .boxed()
}

fn json_object(values: BoxedStrategy<Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof!["[a-c_]{1,2}", "[0-9a-c.é\" -]{0,3}"];
    prop::collection::vec((key, values), 0..6).prop_map(|pairs| pairs.into_iter().collect())
}

/// The escapes that serde writes, undone wherever they stand.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        let escaped = rest.next().unwrap();
        plain.push(match escaped {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => char::from_u32(u32::from_str_radix(&rest.by_ref().take(4).collect::<String>(), 16).unwrap()).unwrap(),
            itself => itself,
        });
    }
    plain
}

/// What `| json` makes of a parsed object, in the order of the text.
fn flatten(object: &Map<String, Value>, prefix: &[String], labels: &mut Labels) {
    for (key, value) in object {
        let mut path = prefix.to_vec();
        path.push(key.clone());
        let text = match value {
            Value::Object(inner) => {
                flatten(inner, &path, labels);
                continue;
            }
            Value::Null | Value::Array(_) => continue,
            Value::String(text) => text.replace(char::REPLACEMENT_CHARACTER, " "),
            other => other.to_string(),
        };
        let parts: Vec<&str> = path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut name: String = parts.join("_").chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        if !name.is_empty() {
            labels.entry(name).or_insert(text);
        }
    }
}

/// What `| logfmt` makes of pairs of plain words, one blank apart.
fn split_logfmt(line: &str) -> Labels {
    let mut labels = Labels::new();
    for word in line.split(' ') {
        if let Some((key, value)) = word.split_once('=')
            && !key.is_empty()
            && !value.is_empty()
            && !value.contains('=')
        {
            labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    labels
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_reads_what_serde_reads(object in json_object(json_value()), is_pretty in any::<bool>()) {
        let line = if is_pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
        let mut expected = Labels::new();
        flatten(&object, &[], &mut expected);
        prop_assert_eq!(run("{a=\"b\"} | json", line.as_bytes()), Some(expected));
    }

    #[test]
    fn json_paths_lead_where_serde_pointers_lead(object in json_object(json_value())) {
        let line = serde_json::to_string(&object).unwrap();
        let value = Value::Object(object);
        for (path, pointer) in [("a", "/a"), ("a.b", "/a/b"), ("b[0]", "/b/0"), ("a[1].c", "/a/1/c")] {
            let expected = match value.pointer(pointer) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.replace(char::REPLACEMENT_CHARACTER, " "),
                Some(array @ Value::Array(_)) => without_escapes(&array.to_string()).replace(char::REPLACEMENT_CHARACTER, " "),
                Some(other) => other.to_string(),
            };
            let labels = run(&format!("{{a=\"b\"}} | json x=`{path}`"), line.as_bytes()).unwrap();
            // A key of digits is no index, which serde's pointers do not tell apart.
            let is_ambiguous = pointer.contains(|c: char| c.is_ascii_digit());
            prop_assert!(is_ambiguous || labels["x"] == expected, "{}: {:?} in {}", path, labels, line);
        }
    }

    #[test]
    fn logfmt_splits_plain_words(line in "([ab]{0,2}=?[a-c=]{0,2} ){0,6}") {
        prop_assert_eq!(run("{a=\"b\"} | logfmt", line.as_bytes()), Some(split_logfmt(&line)));
    }

    #[test]
    fn logfmt_reads_back_quoted_values(values in prop::collection::vec("[ -~é\"\\\\=]{1,8}", 1..5)) {
        let pairs = values.iter().enumerate();
        let line: String = pairs.map(|(index, value)| format!("k{index}={} ", serde_json::to_string(value).unwrap())).collect();
        let expected = values.iter().enumerate().map(|(index, value)| (format!("k{index}"), value.clone())).collect();
        prop_assert_eq!(run("{a=\"b\"} | logfmt --strict", line.as_bytes()), Some(expected));
    }

    #[test]
    fn line_filters_find_what_a_search_finds(line in "[ab\n]{0,12}", texts in prop::collection::vec("[ab]{0,3}", 1..4)) {
        let chain = texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" or ");
        let is_any = texts.iter().any(|text| line.contains(text.as_str()));
        prop_assert_eq!(run(&format!("{{a=\"b\"}} |= {chain}"), line.as_bytes()).is_some(), is_any);
        prop_assert_eq!(run(&format!("{{a=\"b\"}} != {chain}"), line.as_bytes()).is_some(), !is_any);
        prop_assert_eq!(run(&format!("{{a=\"b\"}} |~ {chain}"), line.as_bytes()).is_some(), is_any);
    }

    #[test]
    fn needed_labels_are_those_of_a_full_run(object in json_object(json_value()), needed in prop::collection::btree_set("[a-c_]{1,3}", 1..4)) {
        let line = serde_json::to_string(&object).unwrap();
        let full = run("{a=\"b\"} | json", line.as_bytes()).unwrap();
        let only = NeededLabels::Only(needed.clone());
        let found = run_with("{a=\"b\"} | json", &only, &[line.as_bytes()]).remove(0).unwrap();
        let expected: Labels = full.into_iter().filter(|(name, _)| needed.contains(name)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn lines_before_leave_nothing_behind(objects in prop::collection::vec(json_object(json_value()), 1..6)) {
        let lines: Vec<String> = objects.iter().map(|object| serde_json::to_string(object).unwrap()).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let query = "{a=\"b\"} | json | logfmt | drop b | a != \"x\"";
        let together = run_with(query, &NeededLabels::All, &lines);
        let alone: Vec<Option<Labels>> = lines.iter().map(|line| run(query, line)).collect();
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn any_bytes_pass_any_stage(line in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,\\= <>u".to_vec())], 0..80)) {
        for stages in [
            "json", "json x=\"a.b[0]\"", "logfmt", "logfmt --strict --keep-empty", "logfmt x=\"a\"", "unpack", "decolorize",
            "line_format `{{__line__ | upper}} {{.a}} {{.}}`", "label_format a=`{{__line__ | trunc 3}}`, b=a", "pattern `<a> <b>`", "regexp `(?P<a>.)(?P<b>.*)`", "json | unpack | decolorize | logfmt | keep a | a > 5",
        ] {
            run(&format!("{{a=\"b\"}} | {stages}"), &line);
            run_with(&format!("{{a=\"b\"}} | {stages}"), &NeededLabels::Only(BTreeSet::from(["a".into()])), &[&line]);
        }
    }

    #[test]
    fn a_template_of_the_line_changes_nothing(object in json_object(json_value()), text in any::<String>()) {
        for line in [serde_json::to_string(&object).unwrap(), text] {
            let plain = run("{a=\"b\"} | json | logfmt", line.as_bytes());
            let formatted = run("{a=\"b\"} | line_format `{{__line__}}` | json | label_format nothing=missing | logfmt", line.as_bytes());
            prop_assert_eq!(plain, formatted);
        }
    }

    #[test]
    fn renaming_moves_what_a_template_copies(object in json_object(json_value())) {
        let line = serde_json::to_string(&object).unwrap();
        let renamed = run("{a=\"b\"} | json | label_format target=c", line.as_bytes()).unwrap();
        let mut copied = run("{a=\"b\"} | json | label_format target=`{{.c}}` | drop c", line.as_bytes()).unwrap();
        if !run("{a=\"b\"} | json", line.as_bytes()).unwrap().contains_key("c") {
            copied.remove("target");
            prop_assert!(!renamed.contains_key("target"));
        }
        prop_assert_eq!(renamed, copied);
    }
}
