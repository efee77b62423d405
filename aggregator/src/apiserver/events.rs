//! `…/events`: what the cluster's events source has stored, of one namespace or of all that may be read, as objects or rows. Newest first.
//!
//! An event that happens again is an entry again, so each entry is an object of its own: the event's name, and its time in hexadecimal. Lines are
//! logfmt as the agent writes them; lines of another collector under the same job show what of it they have. At most [`MOST_EVENTS`]
//! are told in one answer, the older ones after its `continue`.

use axum::http::HeaderValue;
use serde_json::{Value, json};

use crate::apiserver::forward::Upstream;
use crate::apiserver::pod_log::{WINDOW, flag, number, quoted, span};
use crate::apiserver::selection::{self, FieldRequirement};
use crate::apiserver::shape::{self, Included, Shape, api_version, list_metadata, seconds};
use crate::apiserver::status::Refused;
use crate::apiserver::version::ResourceVersion;
use crate::http::form::Form;

/// What events are stored as.
const JOB: &str = "loki.source.kubernetes_events";
/// Events of one answer, as kubectl asks for them.
const MOST_EVENTS: usize = 500;
/// The one field that is a label of the stream.
const NAMESPACE: &str = "namespace";
/// Fields that can be selected by, and what stands for them: the label, or what each entry tells.
const FIELDS: [(&str, &str); 8] = [
    ("metadata.namespace", NAMESPACE),
    ("involvedObject.namespace", NAMESPACE),
    ("involvedObject.kind", "kind"),
    ("involvedObject.name", "name"),
    ("regarding.kind", "kind"),
    ("regarding.name", "name"),
    ("reason", "reason"),
    ("type", "type"),
];

/// What a line says. What the entry carries besides goes before it.
const LINE_FIELDS: &str = "kind, name, reason, type, action, count, event, component, host, field, msg";

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventsQuestion {
    matchers: Vec<String>,
    /// Of what each entry tells.
    filters: Vec<String>,
    /// Nanoseconds since the epoch, both included.
    since: i64,
    until: i64,
    most: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredEvent {
    stamp: i64,
    namespace: String,
    /// Labels, what the entry carries, and what its line says.
    fields: Value,
}

/// Events, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventPage {
    events: Vec<StoredEvent>,
    next: Option<i64>,
    version: ResourceVersion,
}

impl EventsQuestion {
    /// The text of a refusal says which parameter is wrong.
    pub(super) fn of(form: &Form, namespace: Option<&str>, now: i64) -> Result<Self, String> {
        if flag(form, "watch")? {
            return Err("watch is not answered for events, follow them by /loki/api/v1/tail".to_owned());
        }
        let (of_streams, of_entries): (Vec<_>, Vec<_>) =
            selection::of_fields(form.get("fieldSelector"), &FIELDS)?.into_iter().partition(|field| field.name == NAMESPACE);
        let text = |fields: &[FieldRequirement]| fields.iter().map(FieldRequirement::matcher).collect::<Vec<_>>();
        let mut matchers = vec![format!("job={}", quoted(JOB))];
        matchers.extend(namespace.map(|namespace| format!("namespace={}", quoted(namespace))));
        matchers.extend(text(&of_streams));
        matchers.extend(selection::of_labels(form.get("labelSelector"))?);
        let (since, until) = span(form, now)?;
        let until = match form.get("continue") {
            "" => until,
            token => token.parse::<i64>().map_err(|_| format!("continue: `{token}` is of no answer"))?.min(until),
        };
        let most = number(form, "limit")?.filter(|limit| *limit > 0).unwrap_or(MOST_EVENTS).min(MOST_EVENTS);
        Ok(Self { matchers, filters: text(&of_entries), since: since.unwrap_or(until.saturating_sub(WINDOW)), until, most })
    }

    /// The streams of all that are asked for.
    pub(super) fn selector(&self) -> String {
        format!("{{{}}}", self.matchers.join(", "))
    }

    fn query(&self) -> String {
        let filters: String = self.filters.iter().map(|filter| format!(" | {filter}")).collect();
        format!("{} | logfmt {LINE_FIELDS}{filters}", self.selector())
    }
}

/// Events on their way out of the aggregator.
pub(super) struct Events<S> {
    pub(super) upstream: Upstream,
    pub(super) question: EventsQuestion,
    /// The signed rights, for each request anew.
    pub(super) sign: S,
}

impl<S: Fn() -> HeaderValue + Sync> Events<S> {
    pub(super) async fn page(&self) -> Result<EventPage, Refused> {
        let EventsQuestion { since, until, most, .. } = &self.question;
        let version = ResourceVersion::new(*until, []);
        if until < since {
            return Ok(EventPage { events: Vec::new(), next: None, version });
        }
        // Ends are left out of a range.
        let (start, end, limit) = (since.to_string(), until.saturating_add(1).to_string(), most.to_string());
        let query = self.question.query();
        let parameters = [("query", query.as_str()), ("start", &start), ("end", &end), ("limit", &limit), ("direction", "backward")];
        let answer = self.upstream.json("/loki/api/v1/query_range", &parameters, (self.sign)()).await?;
        let (events, next) = cut(events(&answer), *most);
        Ok(EventPage { events, next: next.filter(|next| next >= since), version })
    }
}

/// The events of an answer, newest first.
fn events(answer: &Value) -> Vec<StoredEvent> {
    let mut found = Vec::new();
    for stream in answer["data"]["result"].as_array().into_iter().flatten() {
        for value in stream["values"].as_array().into_iter().flatten() {
            let Some(stamp) = value[0].as_str().and_then(|text| text.parse().ok()) else { continue };
            let namespace = stream["stream"]["namespace"].as_str().unwrap_or_default().to_owned();
            let mut fields = stream["stream"].clone();
            if fields["msg"].as_str().is_none() {
                fields["msg"] = value[1].clone();
            }
            found.push(StoredEvent { stamp, namespace, fields });
        }
    }
    found.sort_by_key(|event| std::cmp::Reverse(event.stamp));
    found
}

/// Cuts a full page where the next one can go on: before its oldest stamp, which may have more entries.
fn cut(mut page: Vec<StoredEvent>, most: usize) -> (Vec<StoredEvent>, Option<i64>) {
    let (Some(newest), Some(oldest)) = (page.first().map(|event| event.stamp), page.last().map(|event| event.stamp)) else {
        return (page, None);
    };
    if page.len() < most {
        return (page, None);
    }
    if newest == oldest {
        return (page, oldest.checked_sub(1));
    }
    page.retain(|event| event.stamp > oldest);
    (page, Some(oldest))
}

impl EventPage {
    pub(super) fn document(&self, shape: Shape) -> Value {
        let metadata = list_metadata(self.version, self.next.map(|next| next.to_string()).as_deref());
        match shape {
            Shape::Objects => {
                let items: Vec<Value> = self.events.iter().map(StoredEvent::object).collect();
                json!({"kind": "EventList", "apiVersion": api_version(), "metadata": metadata, "items": items})
            }
            Shape::Table(included) => shape::table(&metadata, &columns(), self.events.iter().map(|event| event.row(included))),
        }
    }
}

fn columns() -> Value {
    let column = |name: &str, priority: u8, description: &str| json!({"name": name, "type": "string", "format": "", "priority": priority, "description": description});
    json!([
        column("Last Seen", 0, "When it happened"),
        column("Type", 0, "Normal or Warning"),
        column("Reason", 0, "Why it was told"),
        column("Object", 0, "What it is about"),
        column("Count", 1, "How often it has happened so far"),
        column("Source", 1, "Who told it"),
        column("Message", 0, "What happened"),
    ])
}

impl StoredEvent {
    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    fn name(&self) -> String {
        let name = Some(self.text("event")).filter(|name| !name.is_empty()).unwrap_or("event");
        format!("{name}.{:x}", self.stamp)
    }

    fn metadata(&self) -> Value {
        json!({"name": self.name(), "namespace": self.namespace, "creationTimestamp": seconds(self.stamp)})
    }

    fn object(&self) -> Value {
        let count: u64 = self.text("count").parse().unwrap_or(1);
        json!({
            "kind": "Event",
            "apiVersion": api_version(),
            "metadata": self.metadata(),
            "involvedObject": {"kind": self.text("kind"), "name": self.text("name"), "namespace": self.namespace, "fieldPath": self.text("field")},
            "type": self.text("type"),
            "reason": self.text("reason"),
            "action": self.text("action"),
            "message": self.text("msg"),
            "count": count,
            "lastTimestamp": seconds(self.stamp),
            "source": {"component": self.text("component"), "host": self.text("host")},
        })
    }

    fn row(&self, included: Included) -> Value {
        let about = match self.text("kind") {
            "" => self.text("name").to_owned(),
            kind => format!("{}/{}", kind.to_lowercase(), self.text("name")),
        };
        let source = [self.text("component"), self.text("host")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        let cells =
            json!([seconds(self.stamp), self.text("type"), self.text("reason"), about, self.text("count"), source, self.text("msg")]);
        included.row(cells, || self.metadata(), || self.object())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::HeaderMap;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_768_903_200 * SECOND;

    fn question(namespace: Option<&str>, parameters: &[(&str, &str)]) -> Result<EventsQuestion, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        EventsQuestion::of(&Form::new(&HeaderMap::new(), Some(&query), &Bytes::new()), namespace, NOW)
    }

    fn stored(stamps: &[i64]) -> Vec<StoredEvent> {
        stamps.iter().map(|stamp| StoredEvent { stamp: *stamp, namespace: "a".to_owned(), fields: json!({}) }).collect()
    }

    #[test]
    fn fields_are_filters_of_entries_and_namespaces_matchers() {
        let selector = "involvedObject.kind=Pod,reason!=Pulled,metadata.namespace=b";
        let asked = question(None, &[("fieldSelector", selector), ("labelSelector", "cluster=c1"), ("limit", "7")]).expect("parameters");
        assert_eq!(asked.selector(), r#"{job="loki.source.kubernetes_events", namespace="b", cluster="c1"}"#);
        assert_eq!(asked.query(), format!(r#"{} | logfmt {LINE_FIELDS} | kind="Pod" | reason!="Pulled""#, asked.selector()));
        assert!(tailwater_logql::parse(&asked.query()).is_ok());
        assert_eq!((asked.most, asked.since, asked.until), (7, NOW - WINDOW, NOW));
        assert!(question(Some("a"), &[]).expect("parameters").selector().contains(r#"namespace="a""#));
        for (name, value) in
            [("watch", "true"), ("fieldSelector", "source=x"), ("labelSelector", "a>1"), ("continue", "x"), ("limit", "-1")]
        {
            assert!(question(None, &[(name, value)]).expect_err(name).contains(name));
        }
    }

    #[test]
    fn a_full_page_ends_before_a_stamp_that_may_have_more() {
        let stamps = |page: &[StoredEvent]| page.iter().map(|event| event.stamp).collect::<Vec<_>>();
        let (page, next) = cut(stored(&[9, 7, 7, 5]), 4);
        assert_eq!((stamps(&page), next), (vec![9, 7, 7], Some(5)));
        let (page, next) = cut(stored(&[9, 7]), 4);
        assert_eq!((stamps(&page), next), (vec![9, 7], None));
        let (page, next) = cut(stored(&[5, 5]), 2);
        assert_eq!((stamps(&page), next), (vec![5, 5], Some(4)));
        assert_eq!(cut(Vec::new(), 2), (Vec::new(), None));
    }

    #[test]
    fn an_entry_is_an_event_again() {
        let answer = json!({"data": {"result": [{
            "stream": {"namespace": "shop", "kind": "Pod", "name": "web-1", "reason": "BackOff", "type": "Warning", "event": "web-1.17a", "count": "3",
                       "component": "kubelet", "host": "node-a", "field": "spec.containers{app}", "msg": "Back-off"},
            "values": [["1768903200500000000", "kind=Pod …"]],
        }, {"stream": {"namespace": "shop"}, "values": [["1768903100000000000", "by another collector"]]}]}});
        let page = EventPage { events: events(&answer), next: Some(5), version: ResourceVersion::new(NOW, []) };
        let list = page.document(Shape::Objects);
        assert_eq!((&list["kind"], &list["metadata"]["continue"]), (&json!("EventList"), &json!("5")));
        let event = &list["items"][0];
        assert_eq!(
            event["metadata"],
            json!({"name": "web-1.17a.188c6816bbdaa500", "namespace": "shop", "creationTimestamp": "2026-01-20T10:00:00Z"})
        );
        assert_eq!(
            event["involvedObject"],
            json!({"kind": "Pod", "name": "web-1", "namespace": "shop", "fieldPath": "spec.containers{app}"})
        );
        assert_eq!((&event["count"], &event["message"], &event["source"]["host"]), (&json!(3), &json!("Back-off"), &json!("node-a")));
        assert_eq!((&list["items"][1]["message"], &list["items"][1]["count"]), (&json!("by another collector"), &json!(1)));
        for included in [Included::Nothing, Included::Metadata, Included::Whole] {
            let table = page.document(Shape::Table(included));
            let columns = table["columnDefinitions"].as_array().expect("columns").len();
            assert!(table["rows"].as_array().expect("rows").iter().all(|row| row["cells"].as_array().expect("cells").len() == columns));
            assert_eq!(table["rows"][0]["cells"][3], json!("pod/web-1"));
        }
    }
}
