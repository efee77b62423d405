//! Every entry that passes a pipeline satisfies what it requires: the pipeline itself is the truth.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::labels::LabelSet;
use crate::needed::NeededLabels;
use crate::parse_log;
use crate::pipeline::{Pipeline, PipelineOptions};

const STREAM: [(&str, &str); 2] = [("app", "disk"), ("z", "error")];

fn requirement(query: &str) -> Requirement {
    let log = parse_log(&format!("{{app=\"disk\"}} {query}")).unwrap();
    required_text(&log.stages, |name| STREAM.iter().any(|(known, _)| *known == name))
}

fn holds(requirement: &Requirement, rows: &[&[u8]]) -> bool {
    match requirement {
        Requirement::Anything => true,
        Requirement::All(parts) => parts.iter().all(|part| holds(part, rows)),
        Requirement::Any(parts) => parts.iter().any(|part| holds(part, rows)),
        Requirement::Text { bytes, fold_case: false } => {
            let wanted = bytes.to_ascii_lowercase();
            rows.iter().any(|row| memchr::memmem::find(&row.to_ascii_lowercase(), &wanted).is_some())
        }
        Requirement::Text { bytes, fold_case: true } => {
            let text = std::str::from_utf8(bytes).unwrap();
            let folded = regex::bytes::Regex::new(&format!("(?i){}", regex::escape(text))).unwrap();
            rows.iter().any(|row| folded.is_match(row))
        }
    }
}

/// Texts of which lines, metadata and queries are made, so that they often meet.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "error",
        "disk",
        "Disk",
        "mission",
        "kiss",
        "naïve",
        "10.0.0.1",
        "a/b",
        "it's",
        "x y",
        "7",
        "b\\c",
        "q\"q",
        "tab\t",
        "\u{fffd}x",
        "İ",
        "ſk\u{212a}",
        "caf\u{e9}",
        "deadbeef01",
    ])
    .prop_map(str::to_owned)
}

/// The same text in another case, some of which only lower case or folding makes equal.
fn cased() -> impl Strategy<Value = String> {
    let change = |character: char, choice: u8| match (character, choice % 16) {
        ('k', 0) => '\u{212a}',
        ('s', 0) => 'ſ',
        ('i', 0) => 'İ',
        (character, 1) => character.to_ascii_uppercase(),
        (character, _) => character,
    };
    (word(), prop::collection::vec(any::<u8>(), 12)).prop_map(move |(word, choices)| {
        let same = choices[0] % 2 == 0;
        word.chars()
            .zip(choices.iter().cycle())
            .map(|(character, choice)| if same { character } else { change(character, *choice) })
            .collect()
    })
}

/// A text between quotes, each character itself or escaped in one of the ways there are.
fn quoted(text: &str, choices: &[u8], is_json: bool) -> String {
    let mut out = String::from("\"");
    for (character, choice) in text.chars().zip(choices.iter().cycle()) {
        match (character, choice % 8) {
            ('"' | '\\', _) => out.extend(['\\', character]),
            ('/', 0) => out.push_str("\\/"),
            ('\'', 0) if !is_json => out.push_str("\\'"),
            ('\t', _) => out.push_str("\\t"),
            (character, 1) => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            (character, _) => out.push(character),
        }
    }
    out.push('"');
    out
}

type Pairs = Vec<(String, String)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    let name = prop::sample::select(vec!["x", "y", "z", "app", "n.x"]).prop_map(str::to_owned);
    prop::collection::vec((name, cased()), 1..4)
}

fn json(pairs: &Pairs, choices: &[u8]) -> String {
    let members: Vec<String> = pairs.iter().map(|(name, value)| format!("\"{name}\":{}", quoted(value, choices, true))).collect();
    format!("{{{}}}", members.join(","))
}

fn logfmt(pairs: &Pairs, choices: &[u8]) -> String {
    let is_plain = |value: &str| !value.contains(|c: char| c.is_control() || " \"=\\".contains(c));
    let written = |value: &String| if is_plain(value) { value.clone() } else { quoted(value, choices, false) };
    pairs.iter().map(|(name, value)| format!("{name}={}", written(value))).collect::<Vec<_>>().join(" ")
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let choices = prop::collection::vec(any::<u8>(), 16);
    (pairs(), choices, 0_u8..6, any::<prop::sample::Index>(), 0_u8..6).prop_map(|(pairs, choices, form, at, damage)| {
        let plain = || pairs.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
        let packed = |entry: &str| format!("{{\"_entry\":{},{}", quoted(entry, &choices, true), &json(&pairs, &choices)[1..]);
        let text = match form {
            0 | 1 => json(&pairs, &choices),
            2 => logfmt(&pairs, &choices),
            3 => packed(&logfmt(&pairs, &choices)),
            4 => packed(&json(&pairs, &choices)),
            _ => plain(),
        };
        let mut line = text.into_bytes();
        let at = at.index(line.len() + 1);
        let inserted: &[u8] = match damage {
            0 => b"\xff",
            1 => b"\x1b[31m",
            _ => b"",
        };
        line.splice(at..at, inserted.iter().copied());
        line
    })
}

/// A stage as written in a query.
fn stage() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["x", "y", "z", "app", "n_x", "x_extracted", "app_extracted", "z_extracted"]);
    let pattern = (word(), word(), 0_u8..6).prop_map(|(left, right, form)| {
        let (left, right) = (regex::escape(&left), regex::escape(&right));
        match form {
            0 => left,
            1 => format!("(?i){left}"),
            2 => format!("{left}.*{right}"),
            3 => format!(".*({left}|{right})"),
            4 => format!("(?i){left}|{right}"),
            _ => format!("{left}.*"),
        }
    });
    // Plain texts behind `(?i)` are read in their own way.
    let lowered = prop::sample::select(vec![
        "(?i)mission",
        "(?i)kiss",
        "(?i)disk|error",
        "(?i)error|",
        "error|",
        "(?i)naïve",
        "(?i)İ",
        "(?i)İ7",
        "x(?i)disk",
    ]);
    let pattern = prop_oneof![3 => pattern, 1 => lowered.prop_map(str::to_owned)].boxed();
    let quote = |text: &str| crate::literal::go_quote(text).to_string();
    let label_test = (name, word(), pattern.clone(), 0_u8..8).prop_map(move |(name, word, pattern, form)| match form {
        0..=3 => format!("{name}={}", quote(&word)),
        4 | 5 => format!("{name}=~{}", quote(&pattern)),
        6 => format!("{name}!={}", quote(&word)),
        _ => format!("{name}>6"),
    });
    let label_test = label_test.boxed();
    let fixed = prop::sample::select(vec![
        "| json",
        "| json",
        "| json x=\"y\", y=\"n.x\"",
        "| logfmt",
        "| logfmt x=\"y\"",
        "| regexp \"(?P<x>\\\\S+) (?P<y>.*)\"",
        "| pattern \"<x> <y>\"",
        "| unpack",
        "| decolorize",
        "| drop x",
        "| keep x, y",
        "| label_format x=y",
        "| label_format y=\"{{.x}}error\"",
        "| line_format \"x={{.x}}\"",
    ]);
    prop_oneof![
        2 => (word(), word(), any::<bool>()).prop_map(move |(left, right, chain)| match chain {
            true => format!("|= {} or {}", quote(&left), quote(&right)),
            false => format!("|= {}", quote(&left)),
        }),
        1 => word().prop_map(move |word| format!("!= {}", quote(&word))),
        2 => pattern.prop_map(move |pattern| format!("|~ {}", quote(&pattern))),
        1 => (word(), word()).prop_map(move |(left, right)| format!("|> {}", quote(&format!("{left}<_>{right}<_>")))),
        6 => label_test.clone().prop_map(|test| format!("| {test}")),
        2 => (label_test.clone(), label_test, prop::sample::select(vec!["or", "and", ","])).prop_map(|(left, right, by)| format!("| {left} {by} {right}")),
        6 => fixed.prop_map(str::to_owned),
    ]
}

#[test]
fn entries_that_pass_hold_what_is_required() {
    let metadata = prop_oneof![1 => Just(Pairs::new()), 1 => pairs()];
    let queries = prop::collection::vec(stage(), 1..4).prop_map(|stages| stages.join(" "));
    let strategy = (queries, prop::collection::vec((line(), metadata), 24), any::<bool>());
    let (passed, required) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig { cases: 4000, failure_persistence: None, max_shrink_iters: 1000, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&strategy, |(query, entries, strict_loki)| {
        let log = parse_log(&format!("{{app=\"disk\"}} {query}")).unwrap();
        let Ok(pipeline) = Pipeline::compile(&log.stages, None, &NeededLabels::All, &PipelineOptions { strict_loki }) else {
            return Ok(());
        };
        let requirement = requirement(&query);
        let mut pipeline = pipeline.for_stream(&LabelSet::from_pairs(STREAM));
        for (line, metadata) in &entries {
            let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if pipeline.process(0, line, &metadata).is_none() {
                continue;
            }
            let rows: Vec<&[u8]> = std::iter::once(line.as_slice()).chain(metadata.iter().map(|(_, value)| value.as_bytes())).collect();
            prop_assert!(
                holds(&requirement, &rows),
                "{:?} with {:?} passes without {:?}",
                String::from_utf8_lossy(line),
                metadata,
                requirement
            );
            passed.set(passed.get() + 1);
            required.set(required.get() + u32::from(requirement != Requirement::Anything));
        }
        Ok(())
    });
    outcome.unwrap();
    println!("{} entries passed, {} of them with something required", passed.get(), required.get());
    assert!(required.get() > 800, "too few entries say anything: {} of {}", required.get(), passed.get());
}

fn text(bytes: &str) -> Requirement {
    Requirement::text(bytes.as_bytes())
}

fn all<const N: usize>(parts: [Requirement; N]) -> Requirement {
    Requirement::All(parts.to_vec())
}

fn any_of<const N: usize>(parts: [Requirement; N]) -> Requirement {
    Requirement::Any(parts.to_vec())
}

#[test]
fn each_place_of_literals_is_used() {
    let folded = |bytes: &str| Requirement::literal(bytes.as_bytes(), true);
    let cases = [
        (r#"|= "abc""#, text("abc")),
        (r#"|= "abc" |= "def""#, all([text("abc"), text("def")])),
        (r#"|= "abc" or "def""#, any_of([text("abc"), text("def")])),
        (r#"|= "abc" or ip("10.0.0.1")"#, Requirement::Anything),
        (r#"|> "from <_> to <_>""#, all([text("from "), text(" to ")])),
        (r#"|~ "tim(e|ing) out""#, any_of([text("time out"), text("timing out")])),
        (r#"|~ "(?i)error""#, folded("error")),
        (r#"!= "abc" !~ "def" !> "ghi<_>""#, Requirement::Anything),
        (r#"| x="v w""#, text("v w")),
        (r#"| json | x="abc""#, any_of([text("abc"), text(r"\u00")])),
        (r#"| json | x="ab c/d é""#, any_of([all([text("ab"), text("c"), text("d")]), text(r"\u00")])),
        (r#"| json | x="é""#, Requirement::Anything),
        (r#"| logfmt | x=~"abc.*def""#, all([any_of([text("abc"), text(r"\u00")]), any_of([text("def"), text(r"\u00")])])),
        (r#"| pattern "<x> <_>" | x="ab c""#, text("ab c")),
        (r#"| regexp "(?P<x>.*)" | x="ab c""#, text("ab c")),
        (r#"| x="abc" or y="def""#, any_of([text("abc"), text("def")])),
        (r#"| x="abc", y="def""#, all([text("abc"), text("def")])),
        (r#"| x="abc" or y>5"#, Requirement::Anything),
        (r#"| x="abc" and y>5"#, text("abc")),
        (r#"| x="""#, Requirement::Anything),
        (r#"| x!="abc" | x!~"abc""#, Requirement::Anything),
        (r#"| x=ip("10.0.0.1")"#, Requirement::Anything),
    ];
    for (query, expected) in cases {
        assert_eq!(requirement(query), expected, "{query}");
    }
}

#[test]
fn what_cannot_be_traced_requires_nothing() {
    for query in [
        r#"| app="disk""#,
        r#"| json | z="abc""#,
        r#"| __error__="abc""#,
        r#"| unpack | x="abc""#,
        r#"| unpack |= "abc""#,
        r#"| decolorize |= "abc""#,
        r#"| line_format "{{.x}}" |= "abc""#,
        r#"| decolorize | logfmt | x="abc""#,
        r#"| line_format "{{.x}}" | json | x="abc""#,
        r#"| label_format x=y | x="abc""#,
    ] {
        assert_eq!(requirement(query), Requirement::Anything, "{query}");
    }
    assert_eq!(requirement(r#"| json | decolorize | x="abc""#), any_of([text("abc"), text(r"\u00")]));
    assert_eq!(requirement(r#"|= "abc" | line_format "{{.x}}" |= "def""#), text("abc"));
    assert_eq!(requirement(r#"| label_format y="1" | x="abc""#), text("abc"));
}

#[test]
fn long_chains_do_not_nest() {
    let mut chain = crate::ast::LabelFilter::Compare {
        name: "x".into(),
        op: crate::ast::CompareOp::Equal,
        value: crate::ast::FilterValue::Number(1.0),
    };
    for _ in 0..2000 {
        chain = crate::ast::LabelFilter::And { left: Box::new(chain), right: Box::new(equal("x", "abc")) };
    }
    let Requirement::All(parts) = required_text(&[Stage::LabelFilter(chain)], |_| false) else { panic!("many are required") };
    assert_eq!(parts.len(), 2000);
}

fn equal(name: &str, value: &str) -> crate::ast::LabelFilter {
    crate::ast::LabelFilter::String(crate::ast::Matcher { name: name.into(), op: crate::ast::MatchOp::Equal, value: value.into() })
}
