//! `…/namespaces/NS/pods`: the pods that have logs, those that are gone included, each incarnation on its own.
//!
//! ```text
//! series → names, containers, nodes → for each pod: newest entry, oldest entry (uid, time) → index/stats between them (lines, bytes)
//! ```
//! All of it is asked of the aggregator under the caller's own rights. Incarnations of a pod follow one another, so the time between the first
//! and the last entry of one is its own. At most [`MOST_PODS`] pods are told in one answer, the others after its `continue`.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderValue;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::apiserver::forward::Upstream;
use crate::apiserver::pod_log::{WINDOW, flag, number, quoted, span};
use crate::apiserver::status::Refused;
use crate::http::form::Form;

/// Pods of one answer, as kubectl asks for them.
const MOST_PODS: usize = 500;
/// Incarnations of one pod that are told apart, the newest ones.
const MOST_INCARNATIONS: usize = 16;
/// Pods that are asked about at a time.
const AT_ONCE: usize = 8;

/// Which pods are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodsQuestion {
    namespace: String,
    /// `None`: all of the namespace.
    name: Option<String>,
    /// Nanoseconds since the epoch, both included.
    since: i64,
    until: i64,
    most: usize,
    /// The last name of the answer before.
    after: Option<String>,
}

/// A pod as its logs tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodSummary {
    pub(super) name: String,
    pub(super) namespace: String,
    /// Empty where its shipper does not tell.
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) containers: BTreeSet<String>,
    /// Nanoseconds since the epoch.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Pods by name, incarnations newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodPage {
    pub(super) pods: Vec<PodSummary>,
    /// Where the next answer goes on.
    pub(super) next: Option<String>,
}

impl PodsQuestion {
    /// The text of a refusal says which parameter is wrong.
    pub(super) fn of(form: &Form, namespace: &str, name: Option<&str>, now: i64) -> Result<Self, String> {
        for selector in ["labelSelector", "fieldSelector"] {
            if !form.get(selector).is_empty() {
                return Err(format!("{selector} is not answered here, ask /namespaces/NAMESPACE/loki/api/v1/series"));
            }
        }
        if flag(form, "watch")? {
            return Err("watch is not answered here: what was logged does not change".to_owned());
        }
        let (since, until) = span(form, now)?;
        let asked = number(form, "limit")?.filter(|limit| *limit > 0).unwrap_or(MOST_PODS);
        let after = Some(form.get("continue").to_owned()).filter(|name| !name.is_empty());
        let (namespace, name) = (namespace.to_owned(), name.map(str::to_owned));
        Ok(Self { namespace, name, since: since.unwrap_or(until.saturating_sub(WINDOW)), until, most: asked.min(MOST_PODS), after })
    }

    fn selector(&self, pod: Option<&str>) -> String {
        match pod {
            Some(pod) => format!("{{namespace={}, pod={}}}", quoted(&self.namespace), quoted(pod)),
            None => format!("{{namespace={}, pod!=\"\"}}", quoted(&self.namespace)),
        }
    }
}

/// What the series of a pod tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Places {
    containers: BTreeSet<String>,
    node: String,
}

/// By name of the pod.
fn places(answer: &Value) -> BTreeMap<String, Places> {
    let mut found: BTreeMap<String, Places> = BTreeMap::new();
    for labels in answer["data"].as_array().into_iter().flatten() {
        let Some(pod) = labels["pod"].as_str() else { continue };
        let places = found.entry(pod.to_owned()).or_default();
        places.containers.extend(labels["container"].as_str().map(str::to_owned));
        if let Some(node) = labels["node_name"].as_str() {
            node.clone_into(&mut places.node);
        }
    }
    found
}

/// Stamp and uid of the one entry of an answer.
fn edge(answer: &Value) -> Option<(i64, String)> {
    let entry = answer["data"]["result"].as_array()?.first()?;
    let stamp = entry["values"][0][0].as_str()?.parse().ok()?;
    Some((stamp, entry["stream"]["pod_uid"].as_str().unwrap_or_default().to_owned()))
}

/// Pods on their way out of the aggregator.
pub(super) struct Pods<S> {
    pub(super) upstream: Upstream,
    pub(super) question: PodsQuestion,
    /// The signed rights, for each request anew.
    pub(super) sign: S,
}

impl<S: Fn() -> HeaderValue + Sync> Pods<S> {
    pub(super) async fn page(&self) -> Result<PodPage, Refused> {
        let PodsQuestion { name, since, until, most, after, .. } = &self.question;
        let found = self.places(&self.question.selector(name.as_deref()), (*since, *until)).await?;
        let mut left = found.into_iter().filter(|(name, _)| after.as_ref().is_none_or(|after| name > after));
        let asked: Vec<(String, Places)> = left.by_ref().take(*most).collect();
        let next = left.next().and_then(|_| asked.last().map(|(name, _)| name.clone()));
        let summaries = stream::iter(asked).map(|(name, places)| self.incarnations(name, places)).buffered(AT_ONCE);
        let pods: Vec<Vec<PodSummary>> = summaries.try_collect().await?;
        Ok(PodPage { pods: pods.into_iter().flatten().collect(), next })
    }

    /// One pod's incarnations, newest first.
    async fn incarnations(&self, name: String, places: Places) -> Result<Vec<PodSummary>, Refused> {
        let selector = self.question.selector(Some(&name));
        let (since, mut until) = (self.question.since, self.question.until);
        let mut found: Vec<PodSummary> = Vec::new();
        while found.len() < MOST_INCARNATIONS {
            let Some((last, uid)) = self.edge(&selector, (since, until), "backward").await? else { break };
            let Some((oldest, oldest_uid)) = self.edge(&selector, (since, last), "forward").await? else { break };
            let is_alone = oldest_uid == uid;
            let first = match is_alone {
                true => oldest,
                false => {
                    let of_uid = format!("{selector} | pod_uid={}", quoted(&uid));
                    self.edge(&of_uid, (since, last), "forward").await?.map_or(last, |(first, _)| first)
                }
            };
            let places = match is_alone && found.is_empty() {
                true => places.clone(),
                false => self.places(&selector, (first, last)).await?.remove(&name).unwrap_or_default(),
            };
            let (lines, bytes) = self.size(&selector, (first, last)).await?;
            let namespace = self.question.namespace.clone();
            let Places { containers, node } = places;
            found.push(PodSummary { name: name.clone(), namespace, uid, node, containers, first, last, lines, bytes });
            if is_alone {
                break;
            }
            until = first.saturating_sub(1);
        }
        Ok(found)
    }

    async fn places(&self, selector: &str, span: (i64, i64)) -> Result<BTreeMap<String, Places>, Refused> {
        Ok(places(&self.ask("/loki/api/v1/series", &[("match[]", selector)], span).await?))
    }

    /// The first or the last entry.
    async fn edge(&self, query: &str, span: (i64, i64), direction: &str) -> Result<Option<(i64, String)>, Refused> {
        let parameters = [("query", query), ("limit", "1"), ("direction", direction)];
        Ok(edge(&self.ask("/loki/api/v1/query_range", &parameters, span).await?))
    }

    /// Lines and bytes.
    async fn size(&self, selector: &str, span: (i64, i64)) -> Result<(u64, u64), Refused> {
        let answer = self.ask("/loki/api/v1/index/stats", &[("query", selector)], span).await?;
        let figure = |name: &str| answer[name].as_u64().unwrap_or_default();
        Ok((figure("entries"), figure("bytes")))
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)], (start, end): (i64, i64)) -> Result<Value, Refused> {
        // Ends are left out of a range.
        let (start, end) = (start.to_string(), end.saturating_add(1).to_string());
        let parameters: Vec<_> = parameters.iter().copied().chain([("start", start.as_str()), ("end", end.as_str())]).collect();
        self.upstream.json(path, &parameters, (self.sign)()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use serde_json::json;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_768_903_200 * SECOND;

    fn question(parameters: &[(&str, &str)]) -> Result<PodsQuestion, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        PodsQuestion::of(&Form::new(&HeaderMap::new(), Some(&query), &Bytes::new()), "a", None, NOW)
    }

    #[test]
    fn parameters_say_how_many_from_where_and_since_when() {
        let plain = question(&[]).expect("parameters");
        assert_eq!((plain.most, plain.after.as_deref(), plain.since, plain.until), (MOST_PODS, None, NOW - WINDOW, NOW));
        let asked = question(&[("limit", "2"), ("continue", "web-1"), ("sinceSeconds", "60")]).expect("parameters");
        assert_eq!((asked.most, asked.after.as_deref(), asked.since), (2, Some("web-1"), NOW - 60 * SECOND));
        assert_eq!(question(&[("limit", "9999")]).expect("parameters").most, MOST_PODS);
        for (name, value) in [("labelSelector", "app=x"), ("fieldSelector", "metadata.name=x"), ("watch", "true"), ("limit", "x")] {
            let refusal = question(&[(name, value)]).expect_err(name);
            assert!(refusal.contains(name), "{refusal}");
        }
        assert_eq!(plain.selector(None), r#"{namespace="a", pod!=""}"#);
        assert_eq!(plain.selector(Some("p\"")), r#"{namespace="a", pod="p\""}"#);
    }

    #[test]
    fn series_are_gathered_by_pod() {
        let answer = json!({"data": [
            {"namespace": "a", "pod": "p", "container": "web", "node_name": "n1"},
            {"namespace": "a", "pod": "p", "container": "side", "node_name": "n1"},
            {"namespace": "a", "pod": "q"},
            {"namespace": "a"},
        ]});
        let found = places(&answer);
        let p = Places { containers: BTreeSet::from(["side".to_owned(), "web".to_owned()]), node: "n1".to_owned() };
        assert_eq!(found, BTreeMap::from([("p".to_owned(), p), ("q".to_owned(), Places::default())]));
    }

    #[test]
    fn an_edge_is_the_entry_of_an_answer() {
        let answer = |metadata: Value| json!({"data": {"result": [{"stream": metadata, "values": [["7", "line"]]}]}});
        assert_eq!(edge(&answer(json!({"pod_uid": "u"}))), Some((7, "u".to_owned())));
        assert_eq!(edge(&answer(json!({}))), Some((7, String::new())));
        assert_eq!(edge(&json!({"data": {"result": []}})), None);
    }
}
