//! Cases as they stand in `cases/*.jsonl`, one a line.
//!
//! Bodies of requests are kept as the raw JSON text of the file: the order of keys and the spelling of numbers
//! reach the server as they were recorded. Order of the cases: files by name, lines as written, and every
//! case that writes (has steps) after all others, so that it cannot disturb them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::answer::{Answer, Content};
use crate::rules::Rules;

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) category: String,
    /// Goes to the server that asks for a tenant.
    pub(crate) needs_tenants: bool,
    pub(crate) rules: Rules,
    pub(crate) steps: Vec<Step>,
    /// The case is written as a list of steps: it may push, wait and ask about the present.
    pub(crate) has_steps: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) kind: Option<StepKind>,
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default, deserialize_with = "ordered_pairs")]
    pub(crate) params: Vec<(String, OneOrMany)>,
    #[serde(default, deserialize_with = "ordered_pairs")]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Box<RawValue>>,
    pub(crate) body_b64: Option<String>,
    /// Tail: the push bodies to send once the socket is open.
    #[serde(default)]
    pub(crate) pushes: Vec<Box<RawValue>>,
    /// Tail: how many lines to wait for.
    #[serde(default = "one")]
    pub(crate) lines: usize,
    /// Tail: how many seconds to wait for them.
    #[serde(default = "eight")]
    pub(crate) seconds: f64,
    /// Tail: how many seconds pass between opening the socket and the first push.
    #[serde(default = "one_and_a_half")]
    pub(crate) settle: f64,
    /// For how many seconds the step is repeated until it matches.
    #[serde(default)]
    pub(crate) wait: f64,
    #[serde(default)]
    pub(crate) compare: Rules,
    pub(crate) expect: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepKind {
    Tail,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// A recorded answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Expected {
    status: u16,
    #[serde(rename = "type")]
    kind: ContentKind,
    body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ContentKind {
    Json,
    Text,
}

impl Expected {
    pub(crate) fn answer(&self) -> Answer {
        let content = match (self.kind, &self.body) {
            (ContentKind::Text, Value::String(text)) => Content::Text(text.clone()),
            (_, body) => Content::Json(body.clone()),
        };
        Answer { status: self.status, content }
    }
}

/// Every case of the suite in `directory`, in the order in which they run.
pub(crate) fn load_cases(directory: &Path) -> Result<Vec<Case>> {
    let folder = directory.join("cases");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("no cases in `{}`", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            cases.push(parse_case(line).with_context(|| format!("`{}` line {}", path.display(), index + 1))?);
        }
    }
    let mut ids = BTreeSet::new();
    for case in &cases {
        if !ids.insert(case.id.as_str()) {
            bail!("the id `{}` occurs twice", case.id);
        }
    }
    cases.sort_by_key(|case| case.has_steps);
    Ok(cases)
}

fn parse_case(line: &str) -> Result<Case> {
    #[derive(Deserialize)]
    struct Head {
        id: String,
        category: String,
        #[serde(default)]
        auth: bool,
        #[serde(default)]
        compare: Rules,
        steps: Option<Vec<Step>>,
    }
    let head: Head = serde_json::from_str(line)?;
    let has_steps = head.steps.is_some();
    let steps = match head.steps {
        Some(steps) => steps,
        None => vec![serde_json::from_str(line)?],
    };
    Ok(Case { id: head.id, category: head.category, needs_tenants: head.auth, rules: head.compare, steps, has_steps })
}

fn get() -> String {
    "GET".to_owned()
}

fn one() -> usize {
    1
}

fn eight() -> f64 {
    8.0
}

fn one_and_a_half() -> f64 {
    1.5
}

/// A JSON object, or null, as pairs in the order of the file.
fn ordered_pairs<'de, D, T>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Pairs<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_any(Pairs(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_case_is_its_own_only_step() {
        let case = parse_case(
            r#"{"id":"x-1","category":"x","method":"POST","path":"/p","params":{"z":"1","a":["2","3"]},"headers":null,
                "body":{"b":1.0,"a":"@run"},"compare":{"ordered":true},"expect":{"status":204,"type":"text","body":""}}"#,
        )
        .unwrap();
        assert!(!case.has_steps && !case.needs_tenants);
        let step = &case.steps[0];
        assert_eq!(step.method, "POST");
        let names: Vec<&str> = step.params.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a"], "parameters keep their order");
        assert_eq!(step.params[1].1.as_slice(), ["2", "3"]);
        assert_eq!(step.body.as_ref().unwrap().get(), r#"{"b":1.0,"a":"@run"}"#, "a body keeps its text");
    }

    #[test]
    fn the_recorded_suite_loads_whole_with_writers_last() {
        let cases = load_cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("suite")).unwrap();
        assert_eq!(cases.len(), 3115);
        let first_writer = cases.iter().position(|case| case.has_steps).unwrap();
        assert!(cases[first_writer..].iter().all(|case| case.has_steps));
        assert_eq!(cases.len() - first_writer, 190);
        assert_eq!(cases.iter().filter(|case| case.needs_tenants).count(), 76);
    }

    #[test]
    fn a_repeated_id_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cases")).unwrap();
        let line = r#"{"id":"a","category":"c","path":"/","expect":{"status":200,"type":"json","body":1}}"#;
        std::fs::write(folder.path().join("cases/c.jsonl"), format!("{line}\n{line}\n")).unwrap();
        assert!(load_cases(folder.path()).unwrap_err().to_string().contains("twice"));
    }
}
