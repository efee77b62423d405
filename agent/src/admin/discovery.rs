//! `/service-discovery`: what was found, with which labels, and why a target is none.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::AdminState;
use super::page::{self, Cell, Wanted};
use crate::enrich::labels::canonical_text;
use crate::observe::pass;
use crate::promtail::ScrapeConfigs;
use crate::promtail::file_sd;
use crate::promtail::jobs::Job;
use crate::promtail::targets::{discovered, judge};
use crate::relabel::Labels;

pub(super) async fn service_discovery(State(state): State<AdminState>, headers: HeaderMap, wanted: Query<Wanted>) -> Response {
    let mut found = of_pods(&state);
    if let Some((scrape, hostname)) = state.config.scraped() {
        found.extend(of_jobs(&state, scrape, hostname));
    }
    let json: Vec<Value> = found.iter().map(Found::json).collect();
    page::answer(&headers, wanted, json!({"discovered": json}), || page_of(&found))
}

/// One thing that was discovered.
struct Found {
    /// A job, or the Kubernetes API.
    source: String,
    discovered: Labels,
    /// What its lines are labelled with.
    labels: Option<Labels>,
    path: Option<String>,
    /// Why it is no target.
    dropped: Option<String>,
}

impl Found {
    fn json(&self) -> Value {
        json!({"source": self.source, "discovered": self.discovered, "labels": self.labels, "path": self.path, "dropped": self.dropped})
    }
}

fn of_jobs(state: &AdminState, scrape: &ScrapeConfigs, hostname: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (index, job) in scrape.jobs.iter().enumerate() {
        let mut labels: Vec<Labels> = job.static_groups.iter().flat_map(discovered).collect();
        labels.extend(file_sd::read(&job.target_files).iter().flat_map(discovered));
        for (number, discovery) in job.pods.iter().enumerate() {
            if let Some(pods) = state.pods.get(&(index, number)) {
                labels.extend(pods.read().discovered(&discovery.namespaces));
            }
        }
        found.extend(labels.into_iter().map(|labels| of_job(job, labels, hostname)));
    }
    found
}

fn of_job(job: &Job, discovered: Labels, hostname: &str) -> Found {
    let source = job.name.clone();
    match judge(job, discovered.clone(), hostname) {
        Ok((target, path)) => Found { source, discovered, labels: Some(target.labels), path: Some(path), dropped: None },
        Err(why) => Found { source, discovered, labels: None, path: None, dropped: Some(why.to_string()) },
    }
}

/// Pods that the Kubernetes API told, and containers of the log tree that it did not.
fn of_pods(state: &AdminState) -> Vec<Found> {
    let snapshot = pass::positions(&state.passes);
    let on_disk = |uid: &str| {
        snapshot.instances.keys().any(|key| key.container.split('/').next().is_some_and(|pod| pod.ends_with(&format!("_{uid}"))))
    };
    let Some(cache) = &state.cache else { return Vec::new() };
    let cache = cache.read();
    let mut found = Vec::new();
    for (directory_uid, pod) in cache.all() {
        let mut discovered: Labels = pod.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())).collect();
        discovered.insert("namespace".to_owned(), pod.namespace.clone());
        discovered.insert("pod".to_owned(), pod.name.clone());
        discovered.insert("uid".to_owned(), pod.uid.clone());
        let dropped = (!on_disk(directory_uid)).then(|| "no lines of it were read on this node".to_owned());
        found.push(Found { source: "kubernetes".to_owned(), discovered, labels: None, path: None, dropped });
    }
    found
}

fn page_of(found: &[Found]) -> String {
    let headings = ["from", "discovered", "labels of its lines", "path", "why it is no target"];
    let row = |one: &Found| {
        vec![
            Cell::Text(one.source.clone()),
            Cell::Code(canonical_text(&one.discovered)),
            Cell::Code(one.labels.as_ref().map(canonical_text).unwrap_or_default()),
            Cell::Text(one.path.clone().unwrap_or_default()),
            Cell::Bad(one.dropped.clone().unwrap_or_default()),
        ]
    };
    page::page("Service discovery", &page::table(&headings, found.iter().map(row)))
}
