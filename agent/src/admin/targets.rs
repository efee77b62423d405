//! `/targets`: every file, whose labels it has, how far it is, what is wrong with it.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::AdminState;
use super::page::{self, Cell, Wanted};
use crate::clock;
use crate::enrich::labels::canonical_text;
use crate::observe::pass;
use crate::observe::standing::{Standing, Unit, standings};

pub(super) async fn targets(State(state): State<AdminState>, headers: HeaderMap, wanted: Query<Wanted>) -> Response {
    let positions = pass::positions(&state.passes);
    let found = standings(&state.metrics, 0, &positions);
    let now = clock::now();
    let files: Vec<_> = found
        .iter()
        .map(|file| {
            json!({
                "container": readable(&file.group),
                "instance": file.instance,
                "file": file.name,
                "path": file.path,
                "labels": file.labels,
                "state": file.state(),
                "size": file.size,
                "offset": file.read,
                "acknowledged_offset": file.acknowledged,
                "unit": file.unit.name(),
                "lag_bytes": (file.unit == Unit::Bytes).then_some(file.lag),
                "lag_entries": (file.unit == Unit::Entries).then_some(file.lag),
                "lag_seconds": file.lag_seconds(now),
                "finished": file.is_finished,
                "last_error": file.last_error,
            })
        })
        .collect();
    let instances: Vec<_> = positions
        .instances
        .iter()
        .map(|(key, entry)| {
            let labels = entry.label_sets.last().map(|set| set.labels.to_map());
            json!({"container": readable(&key.container), "instance": key.number, "labels": labels})
        })
        .collect();
    page::answer(&headers, wanted, json!({"files": files, "instances": instances}), || page_of(&found, now))
}

fn page_of(files: &[Standing], now: i64) -> String {
    let (open, finished): (Vec<_>, Vec<_>) = files.iter().partition(|file| !file.is_finished);
    let headings = ["file", "labels", "state", "size", "offset", "acknowledged", "lag", "of", "lag (s)", "last error"];
    let row = |file: &Standing| {
        let path = file.path.clone().unwrap_or_else(|| format!("{}/{}", readable(&file.group), file.name));
        let lag = file.lag_seconds(now).map_or_else(String::new, |seconds| format!("{seconds:.1}"));
        vec![
            Cell::Text(path),
            Cell::Code(canonical_text(&file.labels)),
            Cell::Text(file.state().to_owned()),
            Cell::Number(file.size),
            Cell::Number(file.read),
            Cell::Number(Some(file.acknowledged)),
            Cell::Number(Some(file.lag)),
            Cell::Text(file.unit.name().to_owned()),
            Cell::Text(lag),
            Cell::Bad(file.last_error.clone().unwrap_or_default()),
        ]
    };
    let open_table = page::table(&headings, open.iter().map(|file| row(file)));
    let finished_table = page::table(&headings, finished.iter().map(|file| row(file)));
    let body = format!("<h2>{} being read</h2>{open_table}<h2>{} finished</h2>{finished_table}", open.len(), finished.len());
    page::page("Targets", &body)
}

/// A target's key without the mark between its parts.
fn readable(group: &str) -> String {
    group.replace('\u{1f}', " ")
}
