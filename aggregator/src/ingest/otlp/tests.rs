//! Whole requests, in both encodings.

use proptest::prelude::*;
use prost::encoding::encode_varint;
use serde_json::{Value, json};
use tailwater_storage::entry::TenantId;

use super::*;
use crate::ingest::otlp::json::to_protobuf;

const NOW: i64 = 1_768_903_200_000_000_000;

fn nested(out: &mut Vec<u8>, number: u8, message: &[u8]) {
    out.push(number << 3 | 2);
    encode_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

/// An `AnyValue` message.
pub(super) fn value(sent: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match sent {
        Value::Null => {}
        Value::String(text) => nested(&mut out, 1, text.as_bytes()),
        Value::Bool(is_true) => out.extend_from_slice(&[2 << 3, u8::from(*is_true)]),
        Value::Number(number) if number.is_i64() => {
            out.push(3 << 3);
            encode_varint(number.as_i64().expect("an integer").cast_unsigned(), &mut out);
        }
        Value::Number(number) => {
            out.push(4 << 3 | 1);
            out.extend_from_slice(&number.as_f64().expect("a number").to_le_bytes());
        }
        Value::Array(values) => return array(&values.iter().map(value).collect::<Vec<_>>()),
        Value::Object(pairs) => {
            return map(&pairs.iter().map(|(key, sent)| (key.as_bytes(), value(sent))).collect::<Vec<_>>());
        }
    }
    out
}

pub(super) fn array(values: &[Vec<u8>]) -> Vec<u8> {
    let (mut list, mut out) = (Vec::new(), Vec::new());
    values.iter().for_each(|message| nested(&mut list, 1, message));
    nested(&mut out, 5, &list);
    out
}

fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, 1, key);
    nested(&mut out, 2, value);
    out
}

pub(super) fn map(pairs: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let (mut list, mut out) = (Vec::new(), Vec::new());
    pairs.iter().for_each(|(key, message)| nested(&mut list, 1, &pair(key, message)));
    nested(&mut out, 6, &list);
    out
}

/// A value as the JSON of a request has it.
fn wrapped(sent: &Value) -> Value {
    match sent {
        Value::Null => json!({}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Bool(is_true) => json!({"boolValue": is_true}),
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        Value::Array(values) => json!({"arrayValue": {"values": values.iter().map(wrapped).collect::<Vec<_>>()}}),
        Value::Object(_) => json!({"kvlistValue": {"values": attributes(sent)}}),
    }
}

fn attributes(sent: &Value) -> Value {
    let pairs = sent.as_object().expect("an object");
    pairs.iter().map(|(key, sent)| json!({"key": key, "value": wrapped(sent)})).collect()
}

fn request(resource: &Value, scope: Value, records: Value) -> Value {
    json!({"resourceLogs": [{"resource": {"attributes": attributes(resource)}, "scopeLogs": [{"scope": scope, "logRecords": records}]}]})
}

fn accept(request: &Value, limits: &Limits) -> Result<Accepted, PushRefused> {
    Intake::new(false).accept_otlp(&TenantId::new("fake"), limits, NOW, Format::Json, request.to_string().as_bytes())
}

/// Labels, stamp, line and metadata of each entry.
fn entries(accepted: &Accepted) -> Vec<(String, i64, String, String)> {
    let of_stream = accepted.batch.streams.iter().flat_map(|stream| {
        (0..stream.len()).map(|row| {
            let line = String::from_utf8_lossy(stream.line(row)).into_owned();
            let metadata = stream.metadata(row).stored().canonical_text();
            (stream.labels().stored().canonical_text(), stream.timestamps()[row], line, metadata)
        })
    });
    of_stream.collect()
}

fn only_entry(request: &Value) -> (String, i64, String, String) {
    let accepted = accept(request, &Limits::default()).expect("accepted");
    assert!(accepted.rejections.is_empty(), "{}", accepted.rejections);
    let mut all = entries(&accepted);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_record_becomes_an_entry_with_labels_of_its_resource() {
    let resource = json!({"service.name": "shop", "k8s.pod.name": "p-1", "host.name": "h", "nested": {"a": "b"}, "list": ["x", "y"]});
    let scope = json!({"name": "lib", "version": "1.2", "attributes": attributes(&json!({"s.a": 1})), "droppedAttributesCount": 3});
    let record = json!({
        "timeUnixNano": NOW.to_string(), "observedTimeUnixNano": NOW + 5, "severityNumber": 17, "severityText": "ERROR",
        "body": {"stringValue": "a line"}, "droppedAttributesCount": 2, "flags": 1,
        "traceId": "5B8EFFF798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
        "attributes": attributes(&json!({"nested": {"a": {"b": "c"}}, "list": [1, 2], "1digit": "e", "dash-key": null, "ok": true})),
    });
    let (labels, stamp, line, metadata) = only_entry(&request(&resource, scope, json!([record])));
    assert_eq!(labels, r#"{k8s_pod_name="p-1", service_name="shop"}"#);
    assert_eq!((stamp, line.as_str()), (NOW, "a line"));
    assert_eq!(
        metadata,
        r#"{detected_level="error", dropped_attributes_count="2", flags="1", host_name="h", key_1digit="e", "#.to_owned()
            + r#"list="[\"x\",\"y\"]", nested_a="b", nested_a_b="c", "#
            + &format!(r#"observed_timestamp="{}", ok="true", s_a="1", scope_dropped_attributes_count="3", "#, NOW + 5)
            + r#"scope_name="lib", scope_version="1.2", "#
            + r#"severity_number="17", severity_text="ERROR", span_id="eee19b7ec3c1b174", trace_id="5b8efff798038103d269b633813fc60c"}"#
    );
}

#[test]
fn the_time_of_a_record_is_its_own_or_when_it_was_observed_or_now() {
    let stamp_of = |record: Value| {
        let (_, stamp, _, metadata) = only_entry(&request(&json!({}), json!({}), json!([record])));
        (stamp, metadata)
    };
    let unknown = r#"{detected_level="unknown"}"#.to_owned();
    assert_eq!(stamp_of(json!({"observedTimeUnixNano": (NOW - 5).to_string()})), (NOW - 5, unknown.clone()));
    assert_eq!(stamp_of(json!({"timeUnixNano": 0, "body": null})), (NOW, unknown));
}

#[test]
fn severities_are_numbers_or_names() {
    for (severity, expected) in [
        (json!(9), r#"{detected_level="info", severity_number="9"}"#),
        (json!("SEVERITY_NUMBER_WARN3"), r#"{detected_level="warn", severity_number="15"}"#),
        (json!("SEVERITY_NUMBER_FATAL"), r#"{detected_level="fatal", severity_number="21"}"#),
        (json!("SEVERITY_NUMBER_UNSPECIFIED"), r#"{detected_level="unknown"}"#),
    ] {
        let record = json!({"severity_number": severity, "trace_id": "00000000000000000000000000000000"});
        assert_eq!(only_entry(&request(&json!({}), json!({}), json!([record]))).3, expected);
    }
}

#[test]
fn without_labels_the_service_is_unknown_and_index_labels_are_asked_for_it() {
    let labels = |resource: Value| only_entry(&request(&resource, json!({}), json!([{}]))).0;
    assert_eq!(labels(json!({})), r#"{service_name="unknown_service"}"#);
    assert_eq!(labels(json!({"k8s.job.name": "j"})), r#"{k8s_job_name="j", service_name="j"}"#);
    assert_eq!(labels(json!({"service.name": ""})), r#"{service_name="unknown_service"}"#);
}

#[test]
fn rules_of_the_tenant_decide_what_is_a_label() {
    let yaml = "resource_attributes:\n  attributes_config:\n    - {action: index_label, regex: 'team\\..*'}\n    \
                - {action: drop, attributes: [host.name]}\nlog_attributes: [{action: drop, attributes: [secret]}]\n";
    let limits = Limits { otlp_config: serde_yaml_ng::from_str(yaml).expect("rules"), ..Limits::default() };
    let resource = json!({"team.name": "t", "host.name": "h", "zone": "z"});
    let record = json!({"attributes": attributes(&json!({"secret": "s", "open": "o"}))});
    let accepted = accept(&request(&resource, json!({}), json!([record])), &limits).expect("accepted");
    let (labels, _, _, metadata) = entries(&accepted).remove(0);
    assert_eq!(labels, r#"{service_name="unknown_service", team_name="t"}"#);
    assert_eq!(metadata, r#"{detected_level="unknown", open="o", zone="z"}"#);
}

#[test]
fn scopes_of_one_resource_share_a_stream_and_keep_their_names_apart() {
    let scope = |name: &str| json!({"scope": {"name": name}, "logRecords": [{"timeUnixNano": NOW, "body": {"stringValue": name}}]});
    let body = json!({"resource_logs": [{"scope_logs": [scope("one"), {"logRecords": []}, scope("two")]}, {}, {"scopeLogs": [scope("")]}]});
    let accepted = accept(&body, &Limits::default()).expect("accepted");
    assert_eq!(accepted.batch.streams.len(), 1);
    let seen: Vec<_> = entries(&accepted).into_iter().map(|(_, _, line, metadata)| (line, metadata)).collect();
    let expected = [
        ("one", r#"{detected_level="unknown", scope_name="one"}"#),
        ("two", r#"{detected_level="unknown", scope_name="two"}"#),
        ("", r#"{detected_level="unknown"}"#),
    ];
    assert_eq!(seen, expected.map(|(line, metadata)| (line.to_owned(), metadata.to_owned())));
}

#[test]
fn entries_that_break_a_limit_are_refused_alone() {
    let records =
        json!([{"body": {"stringValue": "x".repeat(300_000)}}, {"timeUnixNano": u64::MAX.to_string()}, {"body": {"stringValue": "good"}}]);
    let accepted = accept(&request(&json!({"service.name": "s"}), json!({}), records), &Limits::default()).expect("accepted");
    assert_eq!(accepted.batch.entries(), 1);
    let texts = accepted.rejections.to_string();
    assert!(texts.contains("max entry size '262144' bytes exceeded for stream '{service_name=\"s\"}'"), "{texts}");
    assert!(texts.contains("timestamp"), "{texts}");
}

#[test]
fn requests_without_records_and_malformed_ones_are_refused() {
    let intake = Intake::new(false);
    let tenant = TenantId::new("fake");
    let refusal = |format, body: &[u8]| {
        intake.accept_otlp(&tenant, &Limits::default(), NOW, format, body).expect_err(&String::from_utf8_lossy(body)).to_string()
    };
    let none = "error at least one valid stream is required for ingestion";
    for body in [
        "{}",
        "null",
        r#"{"resourceLogs":[]}"#,
        r#"{"resourceLogs":[{}, null]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[]}]}]}"#,
    ] {
        assert_eq!(refusal(Format::Json, body.as_bytes()), none);
    }
    assert_eq!(refusal(Format::Protobuf, b""), none);
    assert_eq!(refusal(Format::Protobuf, b"garbage"), "unexpected EOF");
    assert_eq!(refusal(Format::Json, b""), "EOF");
    for (record, expected) in [
        (r#"{"timeUnixNano":"abc"}"#, r#"timeUnixNano is no number in range: "abc""#),
        (r#"{"traceId":"abcd"}"#, "the trace id has 2 bytes, it must have 16"),
        (r#"{"traceId":"xy"}"#, "traceId is not encoded as it should be"),
        (r#"{"body":{"bytesValue":"*"}}"#, "bytesValue is not encoded as it should be"),
    ] {
        assert_eq!(
            refusal(Format::Json, format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#).as_bytes()),
            expected
        );
    }
    assert!(refusal(Format::Json, b"not json").starts_with("expect an object, but found n"));
}

#[test]
fn deep_nesting_is_refused_in_either_encoding() {
    let deep = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(50_000), "]}}".repeat(50_000));
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{deep}}}]}}]}}]}}"#);
    assert_eq!(to_protobuf(body.as_bytes()), Err(OtlpError::TooDeep { limit: MAX_DEPTH }));
    let attribute = (0..MAX_DEPTH + 1).fold(json!("x"), |inner, _| json!({"k": inner}));
    let record = json!({"attributes": attributes(&json!({"a": attribute}))});
    let refused = accept(&request(&json!({}), json!({}), json!([record])), &Limits::default()).expect_err("too deep");
    assert_eq!(refused, OtlpError::TooDeep { limit: MAX_DEPTH }.into());
}

#[test]
fn what_a_small_request_makes_us_hold_is_bounded() {
    // 100 attributes of a resource, worked through for each of very many scopes.
    let resource: serde_json::Map<String, Value> = (0..100).map(|number| (format!("attribute.{number}"), json!("v"))).collect();
    let scopes = vec![json!({"logRecords": [{}]}); 40_000];
    let body = json!({"resourceLogs": [{"resource": {"attributes": attributes(&Value::Object(resource))}, "scopeLogs": scopes}]});
    let refused = accept(&body, &Limits::default()).expect_err("too much");
    assert!(matches!(refused, PushRefused::BatchTooLarge { .. }), "{refused}");
    // A long name of a map is the beginning of the names of all that is in it.
    let inner: serde_json::Map<String, Value> = (0..2000).map(|number| (number.to_string(), json!(1))).collect();
    let record = json!({"attributes": attributes(&json!({"n".repeat(1 << 20): inner}))});
    let refused = accept(&request(&json!({}), json!({}), json!([record])), &Limits::default()).expect_err("too much");
    assert!(matches!(refused, PushRefused::BatchTooLarge { .. }), "{refused}");
}

/// The same value with every number as a float: JSON does not say which a number is.
fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(with_floats).collect(),
        Value::Object(pairs) => pairs.iter().map(|(key, value)| (key.clone(), with_floats(value))).collect(),
        other => other.clone(),
    }
}

fn arbitrary_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-100_000..100_000_i32).prop_map(|number| Value::from(f64::from(number) / 1024.0)),
        "[a-z<é\"]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c.]{0,3}", inner, 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_stands_for_the_same_protobuf(sent in arbitrary_value()) {
        let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": wrapped(&sent)}]}]}]});
        let written = to_protobuf(body.to_string().as_bytes()).expect("well formed");
        let accepted = |request: &[u8]| {
            let accepted = Intake::new(false).accept_otlp(&TenantId::new("t"), &Limits::default(), NOW, Format::Protobuf, request);
            entries(&accepted.expect("accepted"))
        };
        let (mut record, mut scope, mut resource, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        nested(&mut record, 5, &value(&sent));
        nested(&mut scope, 2, &record);
        nested(&mut resource, 2, &scope);
        nested(&mut whole, 1, &resource);
        prop_assert_eq!(accepted(&written), accepted(&whole));
    }

    #[test]
    fn structured_bodies_are_json_again(sent in arbitrary_value().prop_filter("structured", |sent| sent.is_array() || sent.is_object())) {
        let (_, _, line, _) = only_entry(&request(&json!({}), json!({}), json!([{"body": wrapped(&sent)}])));
        let read: Value = serde_json::from_str(&line).expect("JSON");
        prop_assert_eq!(with_floats(&read), with_floats(&sent));
    }

    #[test]
    fn any_bytes_are_taken_or_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for format in [Format::Protobuf, Format::Json] {
            drop(Intake::new(false).accept_otlp(&TenantId::new("t"), &Limits::default(), NOW, format, &body));
        }
    }

    #[test]
    fn a_damaged_request_is_taken_or_refused_without_panic(at in 0..400usize, byte: u8, cut in 0..400usize) {
        let resource = json!({"service.name": "s", "nested": {"a": [1, "x", {"b": true}]}});
        let record = json!({"timeUnixNano": NOW, "traceId": "5b8efff798038103d269b633813fc60c", "body": wrapped(&resource), "attributes": attributes(&resource)});
        let text = request(&resource, json!({"name": "n"}), json!([record])).to_string().into_bytes();
        let wire = to_protobuf(&text).expect("well formed");
        for (format, mut damaged) in [(Format::Json, text), (Format::Protobuf, wire)] {
            let (at, cut) = (at % damaged.len(), cut % damaged.len());
            damaged[at] = byte;
            drop(Intake::new(false).accept_otlp(&TenantId::new("t"), &Limits::default(), NOW, format, &damaged));
            drop(Intake::new(false).accept_otlp(&TenantId::new("t"), &Limits::default(), NOW, format, &damaged[..cut]));
        }
    }
}
