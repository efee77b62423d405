//! Watches: changes as they come, one JSON object a line, with bookmarks. A watch from before what is remembered is told 410 in its stream and ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::representation::Representation;
use crate::request::{Attributes, Parameters};
use crate::resource::Resource;
use crate::selector::Selector;
use crate::server::{Server, Signal};
use crate::status::Failure;
use crate::store::{Change, Store};

/// The longest watch; a client asks again then.
const LONGEST: Duration = Duration::from_secs(3600);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

struct Watch {
    server: Server,
    resource: &'static Resource,
    namespace: Option<String>,
    selector: Selector,
    shown: Representation,
    /// Told until here.
    version: u64,
    waiting: VecDeque<Bytes>,
    bookmarks: Option<Duration>,
    until: Instant,
    signal: tokio::sync::watch::Receiver<Signal>,
    cuts: u64,
    is_over: bool,
}

/// A stream of events from the version that is asked for; of everything that is there, and from then on, if none is.
pub(crate) fn answer(
    server: &Server,
    resource: &'static Resource,
    asked: &Attributes,
    parameters: &Parameters,
    shown: Representation,
) -> Result<Response, Failure> {
    let selector = Selector::parse(resource, parameters.get("labelSelector"), parameters.get("fieldSelector"))?;
    let namespace = Some(asked.namespace.clone()).filter(|namespace| !namespace.is_empty() && resource.is_namespaced);
    let longest = parameters.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).map_or(LONGEST, Duration::from_secs);
    let wants_bookmarks = parameters.is_true("allowWatchBookmarks");
    let mut signal = server.signal.subscribe();
    let cuts = signal.borrow_and_update().cuts;
    let mut watch = Watch {
        server: server.clone(),
        resource,
        namespace,
        selector,
        shown,
        version: 0,
        waiting: VecDeque::new(),
        bookmarks: wants_bookmarks.then_some(server.bookmark_interval),
        until: Instant::now() + longest,
        signal,
        cuts,
        is_over: false,
    };
    let wants_initial = parameters.is_true("sendInitialEvents");
    if wants_initial && parameters.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(Failure::invalid(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let store = server.store.lock();
    match parameters.get("resourceVersion").filter(|version| *version != "0" && !wants_initial) {
        Some(version) => {
            watch.version = version.parse().map_err(|_| Failure::bad_request(format!("invalid resource version: {version}")))?
        }
        None => watch.begin(&store, wants_initial && wants_bookmarks),
    }
    drop(store);
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((event, watch))
    });
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], Body::from_stream(events)).into_response())
}

impl Watch {
    /// What is there, as if it had just been added.
    fn begin(&mut self, store: &Store, with_end: bool) {
        for object in store.all(self.resource, self.namespace.as_deref()).filter(|object| self.selector.matches(object)) {
            self.waiting.push_back(line("ADDED", &self.shown.object(self.resource, object)));
        }
        self.version = store.newest();
        if with_end {
            self.waiting.push_back(self.bookmark(json!({INITIAL_EVENTS_END: "true"})));
        }
    }

    /// The next line; an error cuts the connection; `None` ends the stream in good order.
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(Ok(line));
            }
            if self.is_over {
                return None;
            }
            if self.signal.borrow().cuts != self.cuts {
                self.is_over = true;
                return Some(Err(std::io::Error::other("fakekube was told to cut watches")));
            }
            self.collect();
            if !self.waiting.is_empty() {
                continue;
            }
            let bookmark_at = self.bookmarks.map_or(self.until, |interval| Instant::now() + interval);
            tokio::select! {
                changed = self.signal.changed() => self.is_over = changed.is_err(),
                () = tokio::time::sleep_until(self.until) => self.is_over = true,
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks.is_some() => self.waiting.push_back(self.bookmark(Value::Null)),
            }
        }
    }

    /// Takes over what changed since the last look.
    fn collect(&mut self) {
        let server = Arc::clone(&self.server);
        let store = server.store.lock();
        match store.changes_after(self.version) {
            Ok(changes) => {
                let told: Vec<_> = changes.filter_map(|change| self.told(change)).collect();
                self.waiting.extend(told);
            }
            Err(failure) => {
                self.waiting.push_back(line("ERROR", &failure.to_object()));
                self.is_over = true;
            }
        }
        self.version = self.version.max(store.newest());
    }

    /// An object that comes to match is added to this watch, one that ceases to is deleted from it.
    fn told(&self, change: &Change) -> Option<Bytes> {
        if change.resource != self.resource || self.namespace.as_ref().is_some_and(|namespace| *namespace != change.namespace) {
            return None;
        }
        let matching = |object: &Option<Arc<Value>>| object.clone().filter(|object| self.selector.matches(object));
        let (event, object) = match (matching(&change.before), matching(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", self.shown.object(self.resource, &after)),
            (Some(_), Some(after)) => ("MODIFIED", self.shown.object(self.resource, &after)),
            (Some(before), None) => {
                let mut object = self.shown.object(self.resource, &before);
                object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                ("DELETED", object)
            }
        };
        Some(line(event, &object))
    }

    fn bookmark(&self, annotations: Value) -> Bytes {
        let mut metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        if !annotations.is_null() {
            metadata["annotations"] = annotations;
        }
        line("BOOKMARK", &self.shown.object(self.resource, &json!({"metadata": metadata})))
    }
}

fn line(event: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": event, "object": object}).to_string();
    text.push('\n');
    text.into()
}
