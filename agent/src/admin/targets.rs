//! `/targets`: every file, whose labels it has, how far it is, what is wrong with it; for each client by itself.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::AdminState;
use super::page::{self, Cell, Wanted};
use crate::clock;
use crate::enrich::labels::canonical_text;
use crate::observe::pass;
use crate::observe::standing::{Standing, Unit, standings};
use crate::positions::table::Positions;

/// How far one client is.
struct Client<'a> {
    name: &'a str,
    files: Vec<Standing>,
    positions: Positions,
}

pub(super) async fn targets(State(state): State<AdminState>, headers: HeaderMap, wanted: Query<Wanted>) -> Response {
    let passes = state.passes.now();
    let clients: Vec<Client<'_>> = pass::by_client(&passes)
        .into_iter()
        .map(|(client, positions)| Client {
            name: pass::name_of(&passes, client),
            files: standings(&state.metrics, client, &positions),
            positions,
        })
        .collect();
    let now = clock::now();
    let files: Vec<Value> = clients.iter().flat_map(|client| client.files.iter().map(|file| json_of(client.name, file, now))).collect();
    let instances: Vec<Value> = clients.iter().flat_map(instances).collect();
    page::answer(&headers, wanted, json!({"files": files, "instances": instances}), || page_of(&clients, now))
}

fn json_of(client: &str, file: &Standing, now: i64) -> Value {
    json!({
        "client": client,
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
}

/// The labels of each instance as they are sent to a client.
fn instances<'a>(client: &'a Client<'a>) -> impl Iterator<Item = Value> + 'a {
    client.positions.instances.iter().map(|(key, entry)| {
        let labels = entry.label_sets.last().map(|set| set.labels.to_map());
        json!({"client": client.name, "container": readable(&key.container), "instance": key.number, "labels": labels})
    })
}

fn page_of(clients: &[Client<'_>], now: i64) -> String {
    let mut body = String::new();
    for client in clients {
        if clients.len() > 1 {
            body.push_str(&page::heading(&format!("Sent to {}", client.name)));
        }
        let (open, finished): (Vec<_>, Vec<_>) = client.files.iter().partition(|file| !file.is_finished);
        let headings = ["file", "labels", "state", "size", "offset", "acknowledged", "lag", "of", "lag (s)", "last error"];
        let open_table = page::table(&headings, open.iter().map(|file| row(file, now)));
        let finished_table = page::table(&headings, finished.iter().map(|file| row(file, now)));
        body.push_str(&format!("<h2>{} being read</h2>{open_table}<h2>{} finished</h2>{finished_table}", open.len(), finished.len()));
    }
    page::page("Targets", &body)
}

fn row(file: &Standing, now: i64) -> Vec<Cell> {
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
}

/// A target's key without the mark between its parts.
fn readable(group: &str) -> String {
    group.replace('\u{1f}', " ")
}
