//! The core pod log, from a folder like `/var/log/pods`: `NAMESPACE_POD_UID/CONTAINER/RESTART.log` in the container runtimes' format.
//!
//! As the kubelet does, it reads the newest file of one container's instance, counts records (not lines) for `tailLines`, and puts the stamp before the
//! first record of a line only. Docker's format and rotated files are not read.

use std::collections::VecDeque;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;

use crate::request::{Attributes, Parameters};
use crate::resource::PODS;
use crate::server::Server;
use crate::status::Failure;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// One record of a file.
struct Record<'f> {
    stamp: &'f str,
    /// With its line feed, unless the line goes on in the next record.
    text: Vec<u8>,
}

/// What of a file is told.
struct Wanted {
    since: Option<Timestamp>,
    with_stamps: bool,
    tail: Option<usize>,
    /// Bytes left to tell.
    left: usize,
    at_line_start: bool,
}

pub(crate) fn answer(server: &Server, asked: &Attributes, parameters: &Parameters) -> Result<Response, Failure> {
    let pod = server.store.lock().get(PODS, &asked.namespace, &asked.name).cloned().ok_or_else(|| Failure::not_found(PODS, &asked.name))?;
    let container = container_of(&pod, &asked.name, parameters)?;
    let folder = server.pod_logs.clone().unwrap_or_default();
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let folder = folder.join(format!("{}_{}_{uid}", asked.namespace, asked.name)).join(&container);
    let file = instance(&folder, parameters.is_true("previous")).ok_or_else(|| {
        let kind = if parameters.is_true("previous") { "previous terminated container" } else { "container" };
        Failure::bad_request(format!("{kind} \"{container}\" in pod \"{}\" not found", asked.name))
    })?;
    let wanted = Wanted::parse(parameters)?;
    let follow = parameters.is_true("follow") && !parameters.is_true("previous");
    let following = Following { server: server.clone(), pod, file, at: 0, wanted, follow };
    let parts = stream::unfold(following, |mut following| async move {
        let part = following.next().await?;
        Some((part, following))
    });
    Ok(([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(parts)).into_response())
}

/// The container that is asked for, or the one that need not be named.
fn container_of(pod: &Value, name: &str, parameters: &Parameters) -> Result<String, Failure> {
    let spec = &pod["spec"];
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| spec[field].as_array().map_or(&[][..], Vec::as_slice))
        .filter_map(|container| container["name"].as_str())
        .collect();
    let default = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    match (parameters.get("container").or(default), names.as_slice()) {
        (Some(wanted), _) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => Err(Failure::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            Err(Failure::bad_request(format!("a container name must be specified for pod {name}, choose one of: [{}]", names.join(" "))))
        }
    }
}

/// The file of the newest instance, or of the one before.
fn instance(folder: &Path, previous: bool) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut numbers: Vec<u64> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).collect();
    numbers.sort_unstable();
    let newest = numbers.pop()?;
    let wanted = if previous { numbers.pop()? } else { newest };
    Some(folder.join(format!("{wanted}.log")))
}

impl Wanted {
    fn parse(parameters: &Parameters) -> Result<Self, Failure> {
        let number = |name: &str| -> Result<Option<i64>, Failure> {
            let Some(text) = parameters.get(name) else { return Ok(None) };
            let parsed = text.parse().ok().filter(|number| *number >= 0);
            parsed
                .map(Some)
                .ok_or_else(|| Failure::invalid(format!("{name}: Invalid value: \"{text}\": must be greater than or equal to 0")))
        };
        let size = |name: &str| number(name).map(|found| found.and_then(|found| usize::try_from(found).ok()));
        let since = match (number("sinceSeconds")?, parameters.get("sinceTime")) {
            (Some(_), Some(_)) => return Err(Failure::invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")),
            (Some(seconds), None) => Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok(),
            (None, Some(time)) => Some(time.parse().map_err(|_| Failure::bad_request(format!("sinceTime: Invalid value: \"{time}\"")))?),
            (None, None) => None,
        };
        let with_stamps = parameters.is_true("timestamps");
        Ok(Self { since, with_stamps, tail: size("tailLines")?, left: size("limitBytes")?.unwrap_or(usize::MAX), at_line_start: true })
    }

    /// What is told of these records, cut where the limit is reached.
    fn told(&mut self, records: &str) -> Vec<u8> {
        let mut records: VecDeque<Record<'_>> = records.lines().filter_map(record).collect();
        if let Some(tail) = self.tail.take() {
            records.drain(..records.len().saturating_sub(tail));
        }
        let mut told = Vec::new();
        for record in records {
            let is_early = self.since.is_some_and(|since| record.stamp.parse::<Timestamp>().is_ok_and(|stamp| stamp < since));
            if !is_early {
                if self.with_stamps && self.at_line_start {
                    told.extend_from_slice(record.stamp.as_bytes());
                    told.push(b' ');
                }
                told.extend_from_slice(&record.text);
            }
            self.at_line_start = record.text.ends_with(b"\n");
        }
        told.truncate(self.left);
        self.left -= told.len();
        told
    }
}

/// `STAMP stdout F TEXT`; with `P` the line goes on in the next record.
fn record(line: &str) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, ' ');
    let (stamp, _stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let mut text = text.as_bytes().to_vec();
    if tag.split(':').next() != Some("P") {
        text.push(b'\n');
    }
    Some(Record { stamp, text })
}

struct Following {
    server: Server,
    pod: std::sync::Arc<Value>,
    file: PathBuf,
    /// Read until here.
    at: u64,
    wanted: Wanted,
    follow: bool,
}

impl Following {
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        loop {
            if self.wanted.left == 0 {
                return None;
            }
            let is_first = self.at == 0;
            let records = match self.read() {
                Ok(records) => records,
                Err(error) => return Some(Err(error)),
            };
            let told = self.wanted.told(&records);
            if !told.is_empty() {
                return Some(Ok(told.into()));
            }
            if !self.follow && (!is_first || records.is_empty()) {
                return None;
            }
            if self.follow && self.is_gone() {
                return None;
            }
            if self.follow {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Whole records that were written since the last look.
    fn read(&mut self) -> std::io::Result<String> {
        let mut file = std::fs::File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        self.at += whole as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the pod, or this instance of its container, is no longer there.
    fn is_gone(&self) -> bool {
        let text = |field: &str| self.pod["metadata"][field].as_str().unwrap_or_default();
        let store = self.server.store.lock();
        let is_same =
            store.get(PODS, text("namespace"), text("name")).is_some_and(|pod| pod["metadata"]["uid"] == self.pod["metadata"]["uid"]);
        !is_same || self.file.parent().and_then(|folder| instance(folder, false)).is_none_or(|newest| newest != self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
2024-01-01T00:00:00.1Z stdout F one
2024-01-01T00:00:01.1Z stderr P two and
2024-01-01T00:00:01.2Z stderr F  a half
2024-01-01T00:00:02.1Z stdout F 
";

    #[test]
    fn records_are_told_as_the_kubelet_tells_them() {
        for (query, expected) in [
            ("", "one\ntwo and a half\n\n"),
            ("tailLines=2", " a half\n\n"),
            ("tailLines=0", ""),
            ("limitBytes=6", "one\ntw"),
            ("sinceTime=2024-01-01T00:00:02Z", "\n"),
            ("timestamps=true&tailLines=3", "2024-01-01T00:00:01.1Z two and a half\n2024-01-01T00:00:02.1Z \n"),
        ] {
            let mut wanted = Wanted::parse(&Parameters::parse(query)).expect("parameters");
            assert_eq!(String::from_utf8_lossy(&wanted.told(FILE)), expected, "{query}");
        }
        for query in ["tailLines=-1", "sinceTime=yesterday", "sinceSeconds=1&sinceTime=2024-01-01T00:00:02Z"] {
            assert!(Wanted::parse(&Parameters::parse(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn the_container_may_be_left_unnamed_where_it_is_clear() {
        let pod = |containers: Value| serde_json::json!({"metadata": {}, "spec": {"containers": containers}});
        let ask = |pod: &Value, query: &str| container_of(pod, "p", &Parameters::parse(query));
        let (one, two) = (pod(serde_json::json!([{"name": "a"}])), pod(serde_json::json!([{"name": "a"}, {"name": "b"}])));
        assert_eq!(ask(&one, "").expect("clear"), "a");
        assert_eq!(ask(&two, "container=b").expect("named"), "b");
        assert!(ask(&two, "").is_err() && ask(&one, "container=b").is_err());
    }
}
