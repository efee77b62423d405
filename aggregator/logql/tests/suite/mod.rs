//! The recorded conformance suite: its cases, and its data as a store would hold them.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tailwater_logql::labels::LabelSet;

/// A stream without `service_name` takes the first of these.
const SERVICE_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Time, line and metadata.
pub(crate) type Entry = (i64, String, Vec<(String, String)>);

pub(crate) struct Stored {
    pub(crate) labels: LabelSet,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) fn suite() -> Option<PathBuf> {
    let shared = std::env::var_os("TAILWATER_SHARED").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let suite = shared.unwrap_or_else(beside).join("conformance");
    if suite.join("cases").is_dir() {
        return Some(suite);
    }
    println!("skipped: no conformance suite at {}", suite.display());
    None
}

pub(crate) fn json_lines(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn cases(suite: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(suite.join("cases")).unwrap();
    files.flat_map(|file| json_lines(file.unwrap().path())).filter(|case| case.get("steps").is_none()).collect()
}

pub(crate) fn text_map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

pub(crate) fn answered_streams(case: &Value) -> &[Value] {
    let data = &case["expect"]["body"]["data"];
    let is_streams = data["resultType"] == "streams";
    data["result"].as_array().filter(|_| is_streams).map(Vec::as_slice).unwrap_or_default()
}

/// What a store adds to an entry, by pod and time.
pub(crate) fn levels(cases: &[Value]) -> HashMap<(String, String), String> {
    let mut levels = HashMap::new();
    for stream in cases.iter().flat_map(answered_streams) {
        let labels = text_map(&stream["stream"]);
        let (Some(pod), Some(level)) = (labels.get("pod"), labels.get("detected_level")) else {
            continue;
        };
        for entry in stream["values"].as_array().unwrap() {
            levels.insert((pod.clone(), entry[0].as_str().unwrap().to_owned()), level.clone());
        }
    }
    levels
}

pub(crate) fn stored(suite: &Path, levels: &HashMap<(String, String), String>) -> Vec<Stored> {
    let mut streams: BTreeMap<BTreeMap<String, String>, Stored> = BTreeMap::new();
    for push in json_lines(suite.join("data/push.jsonl")) {
        for stream in push["streams"].as_array().unwrap() {
            let mut labels = text_map(&stream["stream"]);
            let pod = labels.get("pod").cloned().unwrap_or_default();
            let service = SERVICE_LABELS.iter().find_map(|name| labels.get(*name)).cloned();
            labels.entry("service_name".into()).or_insert(service.unwrap_or("unknown_service".into()));
            let stored =
                streams.entry(labels.clone()).or_insert_with(|| Stored { labels: LabelSet::from_pairs(&labels), entries: Vec::new() });
            for entry in stream["values"].as_array().unwrap() {
                let time = entry[0].as_str().unwrap();
                let mut metadata = text_map(&entry[2]);
                let level = levels.get(&(pod.clone(), time.to_owned())).cloned();
                metadata.insert("detected_level".into(), level.unwrap_or("unknown".into()));
                let metadata = metadata.into_iter().map(|(name, value)| (sanitized(&name), value)).collect();
                let entry = (time.parse().unwrap(), entry[1].as_str().unwrap().to_owned(), metadata);
                if !stored.entries.contains(&entry) {
                    stored.entries.push(entry);
                }
            }
        }
    }
    streams.into_values().collect()
}

fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
