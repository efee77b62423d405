//! The comparison as a whole: two answers and the rules in, the first difference out.
//!
//! The tests here plant a difference against every rule of comparison, so that each rule proves it can fail.

use crate::answer::Answer;
use crate::difference::first_difference;
use crate::normal_form::normal_form;
use crate::rules::Rules;

/// How `got` differs from the recorded `want` under `rules`, or `None` if it passes.
pub(crate) fn compare(want: &Answer, got: &Answer, rules: &Rules) -> Option<String> {
    let want = match normal_form(want, rules) {
        Ok(want) => want,
        Err(error) => return Some(format!("the recorded answer itself is unusable: {error}")),
    };
    match normal_form(got, rules) {
        Ok(got) => first_difference(&want, &got),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::answer::Content;

    /// The same rules, an answer that must pass, and one with a planted difference that must not.
    struct Plant {
        rules: Value,
        want: Value,
        passes: Value,
        fails: Value,
    }

    fn check(plant: &Plant) {
        let rules: Rules = serde_json::from_value(plant.rules.clone()).unwrap();
        let answer = |body: &Value| Answer { status: 200, content: Content::Json(body.clone()) };
        let want = answer(&plant.want);
        assert_eq!(compare(&want, &want, &rules), None, "an answer equals itself: {}", plant.want);
        assert_eq!(compare(&want, &answer(&plant.passes), &rules), None, "{} / {}", plant.want, plant.passes);
        assert!(compare(&want, &answer(&plant.fails), &rules).is_some(), "not noticed: {} / {}", plant.want, plant.fails);
    }

    fn streams(rows: Value) -> Value {
        json!({"status": "success", "data": {"resultType": "streams", "result": rows}})
    }

    fn vector(rows: Value) -> Value {
        json!({"status": "success", "data": {"resultType": "vector", "result": rows}})
    }

    fn point(labels: Value, value: &str) -> Value {
        json!({"metric": labels, "value": [1768471200, value]})
    }

    #[test]
    fn streams_are_a_set_and_their_entries_a_list() {
        let (a, b) = (
            json!({"stream": {"n": "a", "m": "x"}, "values": [["1", "p"], ["2", "q"]]}),
            json!({"stream": {"n": "b"}, "values": [["1", "r"]]}),
        );
        let reversed = json!({"stream": {"m": "x", "n": "a"}, "values": [["2", "q"], ["1", "p"]]});
        check(&Plant {
            rules: json!({}),
            want: streams(json!([a, b])),
            passes: streams(json!([b, a])),
            fails: streams(json!([b, reversed])),
        });
    }

    #[test]
    fn a_changed_line_label_or_missing_stream_is_noticed() {
        let want = streams(json!([{"stream": {"n": "a"}, "values": [["1", "p"]]}]));
        for fails in [
            streams(json!([{"stream": {"n": "a"}, "values": [["1", "p!"]]}])),
            streams(json!([{"stream": {"n": "a", "x": ""}, "values": [["1", "p"]]}])),
            streams(json!([{"stream": {"nn": "a"}, "values": [["1", "p"]]}])),
            streams(json!([{"stream": {"n": "a"}, "values": [["1", "p"], ["1", "p"]]}])),
            streams(json!([{"stream": {"n": "a"}, "values": [["1", "p", {"m": "x"}]]}])),
            streams(json!([])),
            streams(json!([{"stream": {"n": "a"}}])),
        ] {
            check(&Plant { rules: json!({}), want: want.clone(), passes: want.clone(), fails });
        }
    }

    #[test]
    fn rows_with_equal_labels_are_all_counted() {
        let row = |line: &str| json!({"stream": {"n": "a"}, "values": [["1", line]]});
        check(&Plant {
            rules: json!({}),
            want: streams(json!([row("p"), row("q")])),
            passes: streams(json!([row("q"), row("p")])),
            fails: streams(json!([row("p"), row("p")])),
        });
    }

    #[test]
    fn ties_any_lets_only_entries_of_equal_time_change_places() {
        let row = |values: Value| streams(json!([{"stream": {}, "values": values}]));
        check(&Plant {
            rules: json!({"ties": "any"}),
            want: row(json!([["1", "p"], ["1", "q"], ["2", "r"]])),
            passes: row(json!([["1", "q"], ["1", "p"], ["2", "r"]])),
            fails: row(json!([["1", "q"], ["1", "r"], ["2", "p"]])),
        });
    }

    #[test]
    fn ties_limit_forgives_only_entries_at_the_cut() {
        let rows = |first: &str, last: &str| streams(json!([{"stream": {}, "values": [["1", first], ["2", "q"], ["3", last]]}]));
        let (forward, backward) = (json!({"ties": "limit", "direction": "forward"}), json!({"ties": "limit", "direction": "backward"}));
        check(&Plant { rules: forward.clone(), want: rows("p", "r"), passes: rows("p", "other"), fails: rows("other", "r") });
        check(&Plant { rules: backward, want: rows("p", "r"), passes: rows("other", "r"), fails: rows("p", "other") });
        let moved = streams(json!([{"stream": {}, "values": [["1", "p"], ["2", "q"], ["4", "r"]]}]));
        check(&Plant { rules: forward, want: rows("p", "r"), passes: rows("p", "r"), fails: moved });
    }

    #[test]
    fn vectors_are_sets_unless_ordered() {
        let (a, b) = (point(json!({"n": "a"}), "1"), point(json!({"n": "b"}), "2"));
        let (forth, back) = (vector(json!([a, b])), vector(json!([b, a])));
        let changed = vector(json!([a, point(json!({"n": "b"}), "3")]));
        check(&Plant { rules: json!({}), want: forth.clone(), passes: back.clone(), fails: changed });
        check(&Plant { rules: json!({"ordered": true}), want: forth.clone(), passes: forth, fails: back });
    }

    #[test]
    fn samples_may_deviate_by_a_billionth() {
        let one = |value: &str| vector(json!([point(json!({}), value)]));
        for (want, passes, fails) in [
            ("0.1", "0.10000000000000001", "0.1000001"),
            ("1", "1.0", "2"),
            ("1e+09", "1000000000.5", "1000000002"),
            ("NaN", "NaN", "0"),
            ("1", "1", "NaN"),
            ("+Inf", "+Inf", "-Inf"),
            ("+Inf", "Inf", "5"),
            ("5", "5", "+Inf"),
        ] {
            check(&Plant { rules: json!({}), want: one(want), passes: one(passes), fails: one(fails) });
        }
    }

    #[test]
    fn labels_of_a_sample_are_text_even_where_they_look_like_numbers() {
        let one = |label: &str| vector(json!([point(json!({"n": label}), "1")]));
        for rules in [json!({}), json!({"ordered": true}), json!({"values": "ignore"})] {
            check(&Plant { rules, want: one("1.0"), passes: one("1.0"), fails: one("1") });
        }
    }

    #[test]
    fn the_time_of_a_scalar_does_not_count_but_its_value_does() {
        let scalar = |time: f64, value: &str| json!({"data": {"resultType": "scalar", "result": [time, value]}});
        check(&Plant { rules: json!({}), want: scalar(-9.0, "2"), passes: scalar(1.0, "2"), fails: scalar(-9.0, "3") });
    }

    #[test]
    fn values_ignore_leaves_the_labels() {
        check(&Plant {
            rules: json!({"values": "ignore"}),
            want: vector(json!([point(json!({"n": "a"}), "1"), point(json!({"n": "b"}), "1")])),
            passes: vector(json!([point(json!({"n": "b"}), "7"), point(json!({"n": "a"}), "8")])),
            fails: vector(json!([point(json!({"n": "a"}), "1")])),
        });
    }

    #[test]
    fn the_kind_of_result_counts() {
        let empty = |kind: &str| json!({"data": {"resultType": kind, "result": []}});
        check(&Plant { rules: json!({}), want: empty("matrix"), passes: empty("matrix"), fails: empty("vector") });
    }

    #[test]
    fn lists_of_strings_are_ordered_and_lists_of_objects_are_not() {
        check(&Plant {
            rules: json!({}),
            want: json!({"data": ["a", "b"]}),
            passes: json!({"data": ["a", "b"]}),
            fails: json!({"data": ["b", "a"]}),
        });
        let series = |names: &[&str]| json!({"data": names.iter().map(|name| json!({"n": name})).collect::<Vec<_>>()});
        check(&Plant { rules: json!({}), want: series(&["a", "b"]), passes: series(&["b", "a"]), fails: series(&["a", "a"]) });
    }

    #[test]
    fn patterns_count_by_text_level_and_total() {
        let pattern = |level: &str, samples: Value| json!({"data": [{"pattern": "<_> x", "level": level, "samples": samples}]});
        let rules = json!({"values": "patterns"});
        let want = pattern("info", json!([[1, 2], [2, 3]]));
        check(&Plant {
            rules: rules.clone(),
            want: want.clone(),
            passes: pattern("info", json!([[9, 5]])),
            fails: pattern("info", json!([[1, 4]])),
        });
        check(&Plant { rules, want: want.clone(), passes: want, fails: pattern("warn", json!([[1, 5]])) });
    }

    #[test]
    fn detected_fields_are_a_set_with_estimated_cardinality() {
        let field = |label: &str, cardinality: u64, parsers: Value| json!({"label": label, "type": "int", "cardinality": cardinality, "parsers": parsers});
        let fields = |rows: Value| json!({"fields": rows});
        let (a, b) = (field("a", 100, json!(["json", "logfmt"])), field("b", 2, Value::Null));
        let close = [field("b", 3, Value::Null), field("a", 105, json!(["logfmt", "json"]))];
        let want = fields(json!([a, b]));
        check(&Plant {
            rules: json!({}),
            want: want.clone(),
            passes: fields(json!(close)),
            fails: fields(json!([a, field("b", 4, Value::Null)])),
        });
        check(&Plant {
            rules: json!({}),
            want: want.clone(),
            passes: want.clone(),
            fails: fields(json!([field("a", 106, json!(["json", "logfmt"])), b])),
        });
        check(&Plant {
            rules: json!({}),
            want: want.clone(),
            passes: want.clone(),
            fails: fields(json!([field("a", 100, json!(["json"])), b])),
        });
        check(&Plant {
            rules: json!({"cardinality": "ignore"}),
            want,
            passes: fields(json!([field("a", 9, json!(["json", "logfmt"])), b])),
            fails: fields(json!([a])),
        });
    }

    #[test]
    fn stats_and_dropped_keys_do_not_count_but_others_do() {
        check(&Plant {
            rules: json!({"drop": ["bytes"]}),
            want: json!({"streams": 1, "bytes": 5, "stats": {"a": 1}, "data": {"resultType": "vector", "result": [], "stats": {}}}),
            passes: json!({"streams": 1, "bytes": 6, "stats": {"a": 2}, "data": {"resultType": "vector", "result": null}}),
            fails: json!({"streams": 2, "bytes": 5, "data": {"resultType": "vector", "result": []}}),
        });
    }

    #[test]
    fn body_keys_compares_names_only() {
        check(&Plant {
            rules: json!({"body": "keys"}),
            want: json!({"a": 1, "b": 2}),
            passes: json!({"b": 3, "a": 4}),
            fails: json!({"a": 1}),
        });
    }

    #[test]
    fn status_always_counts() {
        let text = |status: u16| Answer { status, content: Content::Text("no org id".to_owned()) };
        let ignore: Rules = serde_json::from_value(json!({"body": "ignore"})).unwrap();
        for rules in [&Rules::default(), &ignore] {
            assert_eq!(compare(&text(401), &text(401), rules), None);
            assert!(compare(&text(401), &text(400), rules).is_some());
        }
        let other = Answer { status: 401, content: Content::Text("something else".to_owned()) };
        assert!(compare(&text(401), &other, &Rules::default()).is_some());
        assert_eq!(compare(&text(401), &other, &ignore), None);
    }

    #[test]
    fn json_in_place_of_text_is_noticed() {
        let text = Answer { status: 400, content: Content::Text("x".to_owned()) };
        let value = Answer { status: 400, content: Content::Json(json!("x")) };
        assert!(compare(&text, &value, &Rules::default()).is_some());
        assert!(compare(&value, &text, &Rules::default()).is_some());
    }

    #[test]
    fn numbers_outside_samples_are_exact_whatever_their_spelling() {
        check(&Plant { rules: json!({}), want: json!({"a": 1}), passes: json!({"a": 1.0}), fails: json!({"a": 1.000_000_000_01}) });
        check(&Plant { rules: json!({}), want: json!({"a": 1}), passes: json!({"a": 1}), fails: json!({"a": "1"}) });
        check(&Plant { rules: json!({}), want: json!({"a": 1}), passes: json!({"a": 1}), fails: json!({"a": true}) });
    }
}
