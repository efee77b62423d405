//! `/service-discovery`: what was found, with which labels, and why a target is none.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::AdminState;
use super::page::{self, Cell, Wanted};
use crate::enrich::labels::canonical_text;
use crate::observe::pass;
use crate::positions::table::Positions;
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
    /// The clients that have lines of it, where that can be told: of pods.
    read_for: Option<Vec<String>>,
    /// Why it is no target.
    dropped: Option<String>,
}

impl Found {
    fn json(&self) -> Value {
        json!({
            "source": self.source,
            "discovered": self.discovered,
            "labels": self.labels,
            "path": self.path,
            "read_for": self.read_for,
            "dropped": self.dropped,
        })
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
        Ok((target, path)) => Found { source, discovered, labels: Some(target.labels), path: Some(path), read_for: None, dropped: None },
        Err(why) => Found { source, discovered, labels: None, path: None, read_for: None, dropped: Some(why.to_string()) },
    }
}

/// Pods that the Kubernetes API told, and for which clients lines of them were read.
fn of_pods(state: &AdminState) -> Vec<Found> {
    let Some(cache) = &state.cache else { return Vec::new() };
    let passes = state.passes.now();
    let read: Vec<(String, BTreeSet<String>)> = pass::by_client(&passes)
        .into_iter()
        .map(|(client, positions)| (pass::name_of(&passes, client).to_owned(), pods_of(&positions)))
        .collect();
    let mut found = Vec::new();
    for (directory_uid, pod) in cache.read().all() {
        let mut discovered: Labels = pod.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())).collect();
        discovered.insert("namespace".to_owned(), pod.namespace.clone());
        discovered.insert("pod".to_owned(), pod.name.clone());
        discovered.insert("uid".to_owned(), pod.uid.clone());
        let read_for: Vec<String> = read.iter().filter(|(_, pods)| pods.contains(directory_uid)).map(|(name, _)| name.clone()).collect();
        let dropped = read_for.is_empty().then(|| "no lines of it were read on this node".to_owned());
        found.push(Found { source: "kubernetes".to_owned(), discovered, labels: None, path: None, read_for: Some(read_for), dropped });
    }
    found
}

/// The UIDs in the names of their directories.
fn pods_of(positions: &Positions) -> BTreeSet<String> {
    let directories = positions.instances.keys().filter_map(|key| key.container.split('/').next());
    directories.filter_map(|pod| pod.rsplit_once('_')).map(|(_, uid)| uid.to_owned()).collect()
}

fn page_of(found: &[Found]) -> String {
    let headings = ["from", "discovered", "labels of its lines", "path", "read for", "why it is no target"];
    let row = |one: &Found| {
        vec![
            Cell::Text(one.source.clone()),
            Cell::Code(canonical_text(&one.discovered)),
            Cell::Code(one.labels.as_ref().map(canonical_text).unwrap_or_default()),
            Cell::Text(one.path.clone().unwrap_or_default()),
            Cell::Text(one.read_for.as_deref().unwrap_or_default().join(", ")),
            Cell::Bad(one.dropped.clone().unwrap_or_default()),
        ]
    };
    page::page("Service discovery", &page::table(&headings, found.iter().map(row)))
}
