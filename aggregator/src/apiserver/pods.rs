//! `…/pods`: the pods that have logs, of one namespace or of all that may be read, those that are gone included, each incarnation on its own.
//!
//! ```text
//! series → names, containers, nodes, labels → for each pod: newest entry, oldest entry (uid, time) → index/stats between them (lines, bytes)
//! ```
//! All of it is asked of the aggregator under the caller's own rights. Incarnations of a pod follow one another, so the time between the first
//! and the last entry of one is its own. At most [`MOST_PODS`] pods are told in one answer, the others after its `continue`. Changes: `pod_watch.rs`.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderValue;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::apiserver::forward::Upstream;
use crate::apiserver::pod_log::{WINDOW, number, quoted, span};
use crate::apiserver::selection::{self, is_label_value};
use crate::apiserver::status::Refused;
use crate::apiserver::version::ResourceVersion;
use crate::http::form::Form;

/// Pods of one answer, as kubectl asks for them.
const MOST_PODS: usize = 500;
/// Incarnations of one pod that are told apart, the newest ones.
pub(super) const MOST_INCARNATIONS: usize = 16;
/// Pods that are asked about at a time.
const AT_ONCE: usize = 8;
/// Fields that can be selected by, and the labels of streams that stand for them.
const FIELDS: [(&str, &str); 4] =
    [("metadata.name", "pod"), ("metadata.namespace", "namespace"), ("spec.nodeName", "node_name"), ("status.nodeName", "node_name")];
/// Labels that tell of a stream, not of its pod, or stand elsewhere in the object.
const NOT_OF_PODS: [&str; 7] = ["namespace", "pod", "container", "node_name", "stream", "filename", "detected_level"];

/// Which pods are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodsQuestion {
    /// `None`: all that may be read.
    namespace: Option<String>,
    /// Of LogQL, from selectors and the one name that is asked for.
    matchers: Vec<String>,
    /// Nanoseconds since the epoch, both included.
    pub(super) since: i64,
    pub(super) until: i64,
    most: usize,
    /// The last pod of the answer before.
    after: Option<PodKey>,
}

/// Which pod of the cluster, whichever of its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PodKey {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A pod as its logs tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodSummary {
    pub(super) key: PodKey,
    /// Empty where its shipper does not tell.
    pub(super) uid: String,
    pub(super) places: Places,
    /// Nanoseconds since the epoch.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// What the series of a pod tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) containers: BTreeSet<String>,
    pub(super) node: String,
    /// Those that all of its streams have, as far as Kubernetes knows such values.
    pub(super) labels: BTreeMap<String, String>,
}

/// Pods by namespace and name, incarnations newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodPage {
    pub(super) pods: Vec<PodSummary>,
    /// Where the next answer goes on.
    pub(super) next: Option<String>,
    pub(super) version: ResourceVersion,
}

impl PodsQuestion {
    /// The text of a refusal says which parameter is wrong.
    pub(super) fn of(form: &Form, namespace: Option<&str>, name: Option<&str>, now: i64) -> Result<Self, String> {
        let mut matchers = selection::of_labels(form.get("labelSelector"))?;
        matchers.extend(selection::of_fields(form.get("fieldSelector"), &FIELDS)?.iter().map(selection::FieldRequirement::matcher));
        matchers.extend(name.map(|name| format!("pod={}", quoted(name))));
        let (since, until) = span(form, now)?;
        let asked = number(form, "limit")?.filter(|limit| *limit > 0).unwrap_or(MOST_PODS);
        let after = match form.get("continue") {
            "" => None,
            token => Some(PodKey::of_token(token).ok_or_else(|| format!("continue: `{token}` is of no answer"))?),
        };
        let (namespace, since) = (namespace.map(str::to_owned), since.unwrap_or(until.saturating_sub(WINDOW)));
        Ok(Self { namespace, matchers, since, until, most: asked.min(MOST_PODS), after })
    }

    /// The streams of all that are asked for.
    pub(super) fn selector(&self) -> String {
        let namespace = self.namespace.as_ref().map(|namespace| format!("namespace={}", quoted(namespace)));
        let matchers: Vec<&str> =
            ["pod!=\"\""].into_iter().chain(namespace.as_deref()).chain(self.matchers.iter().map(String::as_str)).collect();
        format!("{{{}}}", matchers.join(", "))
    }
}

impl PodKey {
    /// All its streams.
    fn selector(&self) -> String {
        format!("{{namespace={}, pod={}}}", quoted(&self.namespace), quoted(&self.name))
    }

    fn token(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn of_token(token: &str) -> Option<Self> {
        let (namespace, name) = token.split_once('/')?;
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn places(answer: &Value) -> BTreeMap<PodKey, Places> {
    let mut found: BTreeMap<PodKey, Places> = BTreeMap::new();
    for labels in answer["data"].as_array().into_iter().flatten() {
        let (Some(namespace), Some(name)) = (labels["namespace"].as_str(), labels["pod"].as_str()) else { continue };
        let own = own_labels(labels);
        let key = PodKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let places = found
            .entry(key)
            .and_modify(|known| known.labels.retain(|name, value| own.get(name) == Some(value)))
            .or_insert_with(|| Places { labels: own.clone(), ..Places::default() });
        places.containers.extend(labels["container"].as_str().map(str::to_owned));
        if let Some(node) = labels["node_name"].as_str() {
            node.clone_into(&mut places.node);
        }
    }
    found
}

/// Labels of a stream that are its pod's.
fn own_labels(labels: &Value) -> BTreeMap<String, String> {
    let pairs = labels.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    pairs.filter(|(name, value)| !NOT_OF_PODS.contains(&name.as_str()) && name.len() <= 63 && is_label_value(value)).collect()
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
        let PodsQuestion { since, until, most, after, .. } = &self.question;
        let found = self.all((*since, *until)).await?;
        let version = ResourceVersion::new(*until, found.keys());
        let mut left = found.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        let asked: Vec<(PodKey, Places)> = left.by_ref().take(*most).collect();
        let next = left.next().and_then(|_| asked.last().map(|(key, _)| key.token()));
        let pods = self.summaries(asked, (*since, *until), MOST_INCARNATIONS).await?;
        Ok(PodPage { pods, next, version })
    }

    /// All that have logged within a span.
    pub(super) async fn all(&self, span: (i64, i64)) -> Result<BTreeMap<PodKey, Places>, Refused> {
        self.places(&self.question.selector(), span).await
    }

    /// Pods as they are told, each pod's newest incarnations first. `asked`: with the places that [`Pods::all`] gave for the same span.
    pub(super) async fn summaries(&self, asked: Vec<(PodKey, Places)>, span: (i64, i64), most: usize) -> Result<Vec<PodSummary>, Refused> {
        let summaries = stream::iter(asked).map(|(key, places)| self.incarnations(key, places, span, most)).buffered(AT_ONCE);
        let pods: Vec<Vec<PodSummary>> = summaries.try_collect().await?;
        Ok(pods.into_iter().flatten().collect())
    }

    /// One pod's incarnations, newest first.
    async fn incarnations(
        &self,
        key: PodKey,
        places: Places,
        (since, mut until): (i64, i64),
        most: usize,
    ) -> Result<Vec<PodSummary>, Refused> {
        let selector = key.selector();
        // Matchers may have left streams of the pod out.
        let are_whole = self.question.matchers.is_empty();
        let mut found: Vec<PodSummary> = Vec::new();
        while found.len() < most {
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
            let places = match is_alone && are_whole && found.is_empty() {
                true => places.clone(),
                false => self.places(&selector, (first, last)).await?.remove(&key).unwrap_or_default(),
            };
            let (lines, bytes) = self.size(&selector, (first, last)).await?;
            found.push(PodSummary { key: key.clone(), uid, places, first, last, lines, bytes });
            if is_alone {
                break;
            }
            until = first.saturating_sub(1);
        }
        Ok(found)
    }

    async fn places(&self, selector: &str, span: (i64, i64)) -> Result<BTreeMap<PodKey, Places>, Refused> {
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
        PodsQuestion::of(&Form::new(&HeaderMap::new(), Some(&query), &Bytes::new()), Some("a"), None, NOW)
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn parameters_say_how_many_from_where_and_since_when() {
        let plain = question(&[]).expect("parameters");
        assert_eq!((plain.most, plain.after.clone(), plain.since, plain.until), (MOST_PODS, None, NOW - WINDOW, NOW));
        let asked = question(&[("limit", "2"), ("continue", "a/web-1"), ("sinceSeconds", "60")]).expect("parameters");
        assert_eq!((asked.most, asked.after, asked.since), (2, Some(key("web-1")), NOW - 60 * SECOND));
        assert_eq!(question(&[("limit", "9999")]).expect("parameters").most, MOST_PODS);
        for (name, value) in [("labelSelector", "app>1"), ("fieldSelector", "status.phase=x"), ("continue", "web-1"), ("limit", "x")] {
            let refusal = question(&[(name, value)]).expect_err(name);
            assert!(refusal.contains(name), "{refusal}");
        }
    }

    #[test]
    fn selectors_are_matchers_of_streams() {
        assert_eq!(question(&[]).expect("parameters").selector(), r#"{pod!="", namespace="a"}"#);
        let asked =
            question(&[("labelSelector", "app in (x,y)"), ("fieldSelector", "metadata.name=p,spec.nodeName!=n")]).expect("parameters");
        assert_eq!(asked.selector(), r#"{pod!="", namespace="a", app=~"x|y", pod="p", node_name!="n"}"#);
        let everywhere = PodsQuestion::of(&Form::default(), None, None, NOW).expect("parameters");
        assert_eq!(everywhere.selector(), r#"{pod!=""}"#);
        let one = PodsQuestion::of(&Form::default(), Some("a"), Some("p"), NOW).expect("parameters");
        assert_eq!(one.selector(), r#"{pod!="", namespace="a", pod="p"}"#);
        assert_eq!(key("p\"").selector(), r#"{namespace="a", pod="p\""}"#);
    }

    #[test]
    fn series_are_gathered_by_pod() {
        let answer = json!({"data": [
            {"namespace": "a", "pod": "p", "container": "web", "node_name": "n1", "app": "shop", "tier": "x"},
            {"namespace": "a", "pod": "p", "container": "side", "node_name": "n1", "app": "shop", "job": "a/p"},
            {"namespace": "b", "pod": "p"},
            {"namespace": "a", "pod": "q"},
            {"namespace": "a"},
        ]});
        let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let p = Places { containers: BTreeSet::from(["side".to_owned(), "web".to_owned()]), node: "n1".to_owned(), labels };
        let elsewhere = PodKey { namespace: "b".to_owned(), ..key("p") };
        assert_eq!(places(&answer), BTreeMap::from([(key("p"), p), (key("q"), Places::default()), (elsewhere, Places::default())]));
    }

    #[test]
    fn an_edge_is_the_entry_of_an_answer() {
        let answer = |metadata: Value| json!({"data": {"result": [{"stream": metadata, "values": [["7", "line"]]}]}});
        assert_eq!(edge(&answer(json!({"pod_uid": "u"}))), Some((7, "u".to_owned())));
        assert_eq!(edge(&answer(json!({}))), Some((7, String::new())));
        assert_eq!(edge(&json!({"data": {"result": []}})), None);
    }
}
