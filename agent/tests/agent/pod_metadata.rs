//! Metadata of pods over time: deleted ones whose files are not read yet, and labels that change more often than is followed.

use std::time::Duration;

use crate::kubernetes::{pod, scene};
use crate::support::{Agent, Reaction, descriptors_of, label, wait_until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_known_until_its_files_are_read() {
    let (node, recorder, api, mut config) = scene(Duration::from_millis(500)).await;
    config.timing.deleted_pod_kept = Duration::from_millis(100);
    config.readers = 1;
    config.client.batchsize = 1000;
    api.put(pod("web-1", "uid-1", json!({"app": "storefront"})));
    let mut container = node.container("app");
    container.line("first");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    recorder.behave(|_| Reaction::Refuse(503));
    container.lines(0..2000);
    container.restart();
    container.line("of the second instance");
    // By its writer and by the agent.
    wait_until("the second file", || descriptors_of(&container.live()) > 1, String::new).await;
    api.delete("uid-1");
    std::fs::remove_dir_all(container.directory.parent().unwrap()).unwrap();
    for number in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let uid = format!("other-{number}");
        api.put(pod("other", &uid, json!({})));
        api.delete(&uid);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    recorder.behave(|_| Reaction::Store);
    recorder.wait_for(2002).await;
    assert!(recorder.all().iter().all(|entry| label(&entry.labels, "app") == "storefront"));
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_change_too_often_are_counted() {
    let (node, recorder, api, config) = scene(Duration::from_secs(5)).await;
    let mut container = node.container("app");
    let agent = Agent::start(config).await;
    let mut written = 0;
    for number in 0..64 {
        let value = format!("v{number}");
        api.put(pod("web-1", "uid-1", json!({"app": value})));
        let mut is_followed = || {
            container.line("x");
            written += 1;
            recorder.stored().iter().any(|entry| label(&entry.labels, "app") == value)
        };
        wait_until(&value, &mut is_followed, String::new).await;
    }
    assert_eq!(agent.metric("label_changes_ignored_total"), 0.0);
    api.put(pod("web-1", "uid-1", json!({"app": "one too many"})));
    let is_counted = || {
        container.line("x");
        written += 1;
        agent.metric("label_changes_ignored_total") > 0.0
    };
    wait_until("a count", is_counted, String::new).await;
    recorder.wait_for(written).await;
    assert!(recorder.stored().iter().all(|entry| label(&entry.labels, "app").starts_with('v')));
    agent.stop().await;
}
