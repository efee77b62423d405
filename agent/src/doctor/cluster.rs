//! Whether the Kubernetes API tells us what labels need.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client};

use super::finding::Finding;
use crate::causes::with_causes;
use crate::config::{Config, MetadataSource};
use crate::enrich::kubernetes;
use crate::enrich::objects::Pod;
use crate::metrics::Metrics;

const CHECK: &str = "kubernetes api";
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let of_jobs = config.scraped().into_iter().flat_map(|(scrape, _)| &scrape.jobs).flat_map(|job| &job.pods).next();
    let asks_for_labels =
        config.reads_pods() && config.metadata_source != MetadataSource::None && (config.in_cluster || config.kubeconfig.is_some());
    if of_jobs.is_none() && !asks_for_labels {
        return vec![Finding::fine(CHECK, "not asked; labels come from paths and from the configuration")];
    }
    let access = of_jobs.filter(|_| !asks_for_labels).map_or_else(|| config.kubeconfig.clone().into(), |pods| pods.access.clone());
    let client = match kubernetes::connect(access, &Metrics::new()).await {
        Ok(client) => client,
        Err(error) => {
            let advice = "run with a service account whose token is mounted, or give a kubeconfig";
            return vec![Finding::problem(CHECK, with_causes(&error), advice)];
        }
    };
    let node = config.promtail.as_ref().map_or(&config.node_name, |promtail| &promtail.hostname);
    vec![pods(&client, node).await, namespaces(&client, asks_for_labels).await].into_iter().flatten().collect()
}

async fn pods(client: &Client, node: &str) -> Option<Finding> {
    let list = ListParams::default().fields(&format!("spec.nodeName={node}")).limit(1);
    let pods: Api<Pod> = Api::all(client.clone());
    let answer = tokio::time::timeout(PATIENCE, pods.list(&list)).await;
    Some(match answer {
        Ok(Ok(found)) if found.items.is_empty() => {
            let advice = "set NODE_NAME from `spec.nodeName` (downward API); pods are watched by it";
            Finding::warning(CHECK, format!("it knows no pod on a node called `{node}`"), advice)
        }
        Ok(Ok(_)) => Finding::fine(CHECK, format!("pods of node `{node}` can be listed")),
        Ok(Err(error)) => failed("pods", &error),
        Err(_) => unanswered(),
    })
}

async fn namespaces(client: &Client, asks_for_labels: bool) -> Option<Finding> {
    // Jobs ask for pods alone.
    if !asks_for_labels {
        return None;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match tokio::time::timeout(PATIENCE, namespaces.list_metadata(&ListParams::default().limit(1))).await {
        Ok(Ok(_)) => Some(Finding::fine(CHECK, "namespaces can be listed")),
        Ok(Err(error)) => Some(failed("namespaces", &error)),
        // The list of pods has told it already.
        Err(_) => None,
    }
}

fn failed(what: &str, error: &kube::Error) -> Finding {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            let advice = format!("give its service account a ClusterRole with list and watch on `{what}`");
            Finding::problem(CHECK, format!("listing {what} is forbidden ({}): {}", status.code, status.message), advice)
        }
        other => {
            let advice = "check the API server's address and this node's way to it; lines go out with labels of their paths meanwhile";
            Finding::problem(CHECK, format!("cannot list {what}: {}", with_causes(other)), advice)
        }
    }
}

fn unanswered() -> Finding {
    let advice = "check network policies between this pod and the API server";
    Finding::problem(CHECK, format!("no answer within {} s", PATIENCE.as_secs()), advice)
}
