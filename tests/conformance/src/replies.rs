//! What a server replied to the cases that only read, kept in a file, and compared with what the same data gives when it is stored in another way.
//!
//! Everything counts, also the order of what is a set, but for what tells of the work rather than of the data: the `stats` block, how many chunks
//! there are, the last digits of a sum of floats (they follow the order of the additions), which of several series that fail is named first, the
//! length of a range that ends now, volumes (estimates from page indexes, whose pages differ), and bodies that do not count in the suite either.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};

use crate::client::Client;
use crate::difference::first_difference;
use crate::exchange::request_of;
use crate::placeholders::Placeholders;
use crate::runner::Runner;
use crate::suite::{Case, Step};

/// In an error text, from here on it tells which of several came first, or what time it is.
const VARYING: [&str; 2] = [" for series: ", " (query length: "];

/// `{"status": …, "body": …}`, by case.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replies {
    by_case: BTreeMap<String, Value>,
}

impl Replies {
    /// Asks all cases that only read and whose server there is.
    pub(crate) async fn of(runner: &Runner, cases: &[Case]) -> Result<Self> {
        let counts = |case: &&Case| !case.has_steps && case.rules.overlaid(&case.steps[0].compare).body.is_none();
        let asked = cases.iter().filter(counts).filter_map(|case| {
            let server = if case.needs_tenants { runner.tenant_server.as_ref() } else { Some(&runner.server) };
            server.map(|server| async move { anyhow::Ok((case.id.clone(), reply(server, &case.steps[0]).await?)) })
        });
        let mut replies = stream::iter(asked).buffer_unordered(runner.connections.max(1));
        let mut by_case = BTreeMap::new();
        while let Some(reply) = replies.next().await {
            let (id, text) = reply?;
            by_case.insert(id, text);
        }
        Ok(Self { by_case })
    }

    pub(crate) fn len(&self) -> usize {
        self.by_case.len()
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let by_case = serde_json::from_str(&text).with_context(|| format!("`{}` holds no replies", path.display()))?;
        Ok(Self { by_case })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(&self.by_case)?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// One text for each case that was not replied to in the same way as `before`.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let cases: BTreeSet<&String> = self.by_case.keys().chain(before.by_case.keys()).collect();
        let of = |replies: &Self, case: &String| replies.by_case.get(case).cloned().unwrap_or_default();
        let difference = |case: &String| first_difference(&of(before, case), &of(self, case));
        cases.into_iter().filter_map(|case| Some(format!("{case} {}", difference(case)?))).collect()
    }
}

async fn reply(server: &Client, step: &Step) -> Result<Value> {
    let placeholders = Placeholders::new(0, "same".to_owned());
    let reply = server.send(&request_of(step, &placeholders)?).await?;
    Ok(json!({"status": reply.status, "body": comparable(&step.path, &reply.text)}))
}

/// The body without what tells of the work.
fn comparable(path: &str, body: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else {
        let end = VARYING.iter().filter_map(|text| body.find(text)).min().unwrap_or(body.len());
        return Value::from(&body[..end]);
    };
    if let Some(data) = value.get_mut("data").and_then(Value::as_object_mut) {
        data.remove("stats");
    }
    if path.contains("/index/volume") && value.get("data").is_some() {
        return Value::from("estimated");
    }
    if let Some(members) = value.as_object_mut() {
        if path.ends_with("/index/stats") {
            members.remove("chunks");
        }
        if path.starts_with("/api/prom/") {
            members.remove("stats");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(pairs: &[(&str, Value)]) -> Replies {
        Replies { by_case: pairs.iter().map(|(case, body)| ((*case).to_owned(), json!({"status": 200, "body": body}))).collect() }
    }

    #[test]
    fn what_differs_or_is_missing_is_told() {
        let vector = |value: &str| json!({"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}});
        let before = replies(&[("a", json!(["x", "y"])), ("b", vector("0.30000000000000004"))]);
        let now = replies(&[("a", json!(["y", "x"])), ("b", vector("0.3")), ("c", json!("w"))]);
        assert!(before.differences(&before).is_empty());
        let told = now.differences(&before);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("a /body[0]: expected x, got y") && told[1].starts_with("c "), "{told:?}");
    }

    #[test]
    fn only_what_tells_of_the_work_is_left_out() {
        let body = r#"{"status":"success","data":{"result":[{"b":1,"a":"2"}],"stats":{"x":1}}}"#;
        assert_eq!(comparable("/q", body), json!({"status": "success", "data": {"result": [{"a": "2", "b": 1}]}}));
        assert_eq!(comparable("/api/prom/query", r#"{"streams":[],"stats":{}}"#), json!({"streams": []}));
        assert_eq!(comparable("/loki/api/v1/index/stats", r#"{"chunks":3,"bytes":7}"#), json!({"bytes": 7}));
        assert_eq!(comparable("/q", "pipeline error: 'E' for series: '{a=\"b\"}'"), json!("pipeline error: 'E'"));
    }
}
