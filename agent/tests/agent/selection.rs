//! Which containers are read where labels of pods decide, and what labels of namespaces become; the Kubernetes API is a fake one.

use std::time::Duration;

use serde_json::json;
use tailwater_agent::config::{Config, load};

use crate::kubernetes::{container_of, pod, scene};
use crate::support::{Agent, Node, Recorder, descriptors_of, label, wait_until};

/// `config` with what `text` says, as `agent.yaml` has it.
fn with_text(node: &Node, recorder: &Recorder, config: &Config, text: &str) -> Config {
    let file = node.data().with_file_name("agent.yaml");
    let kubeconfig = config.kubeconfig.as_ref().unwrap().display();
    std::fs::write(&file, format!("clients: [{{url: '{}'}}]\nkubeconfig: {kubeconfig}\n{text}\n", recorder.url())).unwrap();
    let loaded = load::load(&load::Sources { file: Some(file), ..load::Sources::default() }).unwrap();
    Config { selection: loaded.selection, label_choice: loaded.label_choice, ..config.clone() }
}

fn pods_of(recorder: &Recorder) -> Vec<String> {
    let mut pods: Vec<String> = recorder.stored().into_iter().map(|entry| label(&entry.labels, "pod")).collect();
    pods.sort();
    pods.dedup();
    pods
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_pods_choose_what_is_read_and_nothing_else_is_opened() {
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let config = with_text(&node, &recorder, &config, "include: ['{app=web}', 'shop/db-*{tier in (front)}']\nexclude: ['{canary}']");
    for (name, labels) in [
        ("web-1", json!({"app": "web"})),
        ("web-2", json!({"app": "web", "canary": "true"})),
        ("db-1", json!({"app": "db", "tier": "front"})),
        ("db-2", json!({"app": "db", "tier": "back"})),
    ] {
        api.put(pod(name, &format!("uid-{name}"), labels));
    }
    let mut containers = ["web-1", "web-2", "db-1", "db-2", "web-3"].map(|name| container_of(&node, name, &format!("uid-{name}")));
    for container in &mut containers {
        container.lines(0..10);
        // Only readers have it open then.
        container.file = None;
    }
    let agent = Agent::start(config).await;
    recorder.wait_for(20).await;
    // Of this one the API tells late.
    settle().await;
    assert_eq!(pods_of(&recorder), ["db-1", "web-1"]);
    for (container, is_open) in containers.iter().zip([true, false, true, false, false]) {
        assert_eq!(descriptors_of(&container.live()) > 0, is_open, "{}", container.live().display());
    }
    api.put(pod("web-3", "uid-web-3", json!({"app": "web"})));
    recorder.wait_for(30).await;
    // Edited away it is left out, and taken in again where it is then.
    api.put(pod("web-3", "uid-web-3", json!({"app": "other"})));
    settle().await;
    containers[4].reopen();
    containers[4].lines(10..20);
    wait_until("lines left out", || agent.metric("dropped_lines_total{reason=\"excluded\"}") == 10.0, || agent.handle.render_metrics())
        .await;
    assert_eq!(recorder.count(), 30);
    api.put(pod("web-3", "uid-web-3", json!({"app": "web"})));
    settle().await;
    containers[4].lines(20..30);
    recorder.wait_for(40).await;
    assert!(recorder.stored().iter().all(|entry| !(10..20).any(|number| entry.line == format!("line {number}"))));
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_labels_in_time_none_is_taken_in_or_left_out_by_them() {
    let (node, recorder, api, config) = scene(Duration::from_millis(700)).await;
    let mut containers = ["web-1", "db-1"].map(|name| container_of(&node, name, &format!("uid-{name}")));
    containers.iter_mut().for_each(|container| container.lines(0..10));
    api.fault(Some(503));
    let including = with_text(&node, &recorder, &config, "include: ['{app=web}']");
    let agent = Agent::start(including).await;
    settle().await;
    assert_eq!(recorder.count(), 0, "nothing is known to be wanted");
    // Nothing of it is lost by then.
    api.put(pod("web-1", "uid-web-1", json!({"app": "web"})));
    api.fault(None);
    recorder.wait_for(10).await;
    assert_eq!(pods_of(&recorder), ["web-1"]);
    agent.assert_balanced();
    agent.stop().await;
    api.fault(Some(503));
    let excluding = with_text(&node, &recorder, &config, "exclude: ['{app=web}']");
    let agent = Agent::start(excluding).await;
    recorder.wait_for(20).await;
    assert_eq!(pods_of(&recorder), ["db-1", "web-1"]);
    agent.stop().await;
}

/// Labels are recorded and so need no API after a restart; what pods ask for is not, and is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_opted_out_stays_out_over_a_restart() {
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let mut container = node.container("app");
    api.put(pod("web-1", "uid-1", json!({"app": "web"})));
    container.lines(0..5);
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(5).await;
    let mut opted_out = pod("web-1", "uid-1", json!({"app": "web"}));
    opted_out["metadata"]["annotations"] = json!({"tailwater.io/exclude": "true"});
    api.put(opted_out);
    settle().await;
    agent.stop().await;
    container.lines(5..10);
    api.fault(Some(503));
    let agent = Agent::start(config).await;
    settle().await;
    api.fault(None);
    wait_until("lines left out", || agent.metric("dropped_lines_total{reason=\"excluded\"}") == 5.0, || agent.handle.render_metrics())
        .await;
    assert_eq!(recorder.count(), 5);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_namespaces_become_metadata_and_follow_edits() {
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let config = with_text(&node, &recorder, &config, "labels: {namespace_labels: [cost-center, example.com/tier]}");
    let labelled = |cost: &str| api.labelled_namespace("shop", "ns-uid-1", json!({}), json!({"cost-center": cost, "other": "x"}));
    labelled("red");
    api.put(pod("web-1", "uid-1", json!({"app": "web"})));
    let mut container = node.container("app");
    container.line("first");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    labelled("blue");
    settle().await;
    container.line("second");
    recorder.wait_for(2).await;
    for (line, expected) in [("first", "red"), ("second", "blue")] {
        let entry = recorder.stored().into_iter().find(|entry| entry.line == line).unwrap();
        let of_namespace: Vec<_> = entry.metadata.iter().filter(|(name, _)| name.starts_with("k8s_")).collect();
        assert_eq!(of_namespace, [&("k8s_namespace_label_cost_center".to_owned(), expected.to_owned())], "{line}");
    }
    agent.stop().await;
}
