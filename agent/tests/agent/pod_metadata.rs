//! Metadata of pods over time: deleted ones whose files are not read yet.

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
    wait_until("the second file", || descriptors_of(&container.live()) > 0, String::new).await;
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
