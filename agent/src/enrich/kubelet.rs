//! Pods of this node as its own kubelet tells them: a list of all, again and again, in place of a watch of the API server.
//!
//! The agent shows the token of its service account and trusts the authorities that this names; both are read for every list, so that a new token is used at
//! once. A list that fails is counted, and what was known stays in use. What is read of an answer is bounded.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::kubernetes::{Watching, pod_record, take_pod};
use super::objects::Pod;
use super::pods::PodRecord;
use super::watched::note_event;
use crate::causes::with_causes;
use crate::push::tls::TlsFiles;

/// Where a pod finds who it is.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PORT: u16 = 10_250;
const TIMEOUT: Duration = Duration::from_secs(8);
/// Of an answer: hundreds of pods with all they say of themselves.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How to reach the kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletAccess {
    /// Without the path.
    pub url: String,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

impl KubeletAccess {
    /// The kubelet of the node with this name or address, by the service account of this pod.
    pub(crate) fn of_node(host: &str) -> Self {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let file = |name: &str| Some(PathBuf::from(SERVICE_ACCOUNT).join(name));
        Self { url: format!("https://{host}:{PORT}"), token_file: file("token"), ca_file: file("ca.crt") }
    }
}

/// Why a list did not come.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("cannot read `{path}`: {source}; run it as a pod with a service account")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Tls(#[from] crate::push::receiver::ReceiverError),
    #[error("no answer: {}", with_causes(.0))]
    Request(#[from] reqwest::Error),
    #[error("status {0}; the service account needs `get` on `nodes/pods`")]
    Status(u16),
    #[error("an answer of more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    #[error("an answer that is no list of pods: {0}")]
    Answer(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct PodList {
    /// `null` on a node without any.
    items: Option<Vec<Pod>>,
}

/// Keeps the cache up to date until `stop`, by a list every `every`.
pub(crate) async fn poll(kubelet: KubeletAccess, watching: Watching, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match list(&kubelet, &watching).await {
            Ok(pods) => {
                was_told = false;
                note_event(&watching.metrics);
                take_all(pods, &watching);
            }
            Err(error) => {
                watching.metrics.kube_watch_errors.inc();
                if !was_told {
                    tracing::warn!(url = kubelet.url, error = %error, "the kubelet does not list its pods; what is known stays in use");
                }
                was_told = true;
            }
        }
    }
}

fn take_all(pods: Vec<Pod>, watching: &Watching) {
    let records: Vec<PodRecord> = pods.iter().map(|pod| pod_record(pod, &watching.annotations, &watching.kept_annotations)).collect();
    records.iter().for_each(|record| take_pod(record, watching));
    watching.cache.write().keep_only(&records, Instant::now());
}

async fn list(kubelet: &KubeletAccess, watching: &Watching) -> Result<Vec<Pod>, ListError> {
    let tls = TlsFiles { ca_file: kubelet.ca_file.clone(), ..TlsFiles::default() };
    // The authorities may have changed; once in a while this costs nothing.
    let client = tls.secure(reqwest::Client::builder().timeout(TIMEOUT), None)?.build()?;
    let mut request = client.get(format!("{}/pods", kubelet.url));
    if let Some(path) = &kubelet.token_file {
        let token = tokio::fs::read_to_string(path).await.map_err(|source| ListError::File { path: path.clone(), source })?;
        request = request.bearer_auth(token.trim());
    }
    let answer = request.send().await;
    watching.metrics.kube_request("list", answer.as_ref().ok().map(|answer| answer.status().as_u16()));
    let mut answer = answer?;
    if !answer.status().is_success() {
        return Err(ListError::Status(answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ListError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(serde_json::from_slice::<PodList>(&body)?.items.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_is_asked_at_its_port_by_name_or_address() {
        assert_eq!(KubeletAccess::of_node("10.0.0.7").url, "https://10.0.0.7:10250");
        assert_eq!(KubeletAccess::of_node("fd00::7").url, "https://[fd00::7]:10250");
        assert_eq!(KubeletAccess::of_node("node-a").url, "https://node-a:10250");
    }

    #[test]
    fn a_node_without_pods_has_an_empty_list() {
        for text in [r#"{"kind":"PodList","items":null}"#, r#"{"items":[]}"#, "{}"] {
            assert!(serde_json::from_str::<PodList>(text).unwrap().items.unwrap_or_default().is_empty(), "{text}");
        }
    }
}
