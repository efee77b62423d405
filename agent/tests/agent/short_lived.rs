//! Pods and containers that come and go: cases 42, 48 and 49 of the contract.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::kubernetes::{container_of, label_by_line, pod, scene};
use crate::support::program::Program;
use crate::support::{Agent, Container, numbered, open_paths, wait_until};
use serde_json::json;

/// Case 42: a line, an exit, and the directory gone soon after; of two in three the API tells in time.
#[tokio::test(flavor = "multi_thread")]
async fn pods_that_live_for_a_moment_lose_nothing() {
    const PODS: usize = 1000;
    let (node, recorder, api, config) = scene(Duration::from_secs(5)).await;
    let agent = Agent::start(config).await;
    wait_until("watches", || api.is_watched(), String::new).await;
    let mut directories = Vec::new();
    for number in 0..PODS {
        let (name, uid) = (format!("job-{number}"), format!("uid-{number}"));
        let labels = json!({"app": format!("told-{number}")});
        if number % 3 == 0 {
            api.put(pod(&name, &uid, labels.clone()));
        }
        container_of(&node, &name, &uid).line(&format!("line of {number}"));
        directories.push(node.pods().join(format!("shop_{name}_{uid}")));
        if number % 3 == 1 {
            api.put(pod(&name, &uid, labels));
        }
        if number % 3 < 2 {
            api.delete(&uid);
        }
    }
    // Those of which the API told have come, and the others are open: from here on their names may go.
    let are_open = || {
        let open: BTreeSet<_> = open_paths().collect();
        (2..PODS).step_by(3).all(|number| open.contains(&directories[number].join("app/0.log")))
    };
    let is_seen = || recorder.count() >= PODS * 2 / 3 && are_open();
    wait_until("all pods seen", is_seen, || format!("{} lines, {} files", recorder.count(), agent.metric("open_files"))).await;
    directories.iter().for_each(|directory| std::fs::remove_dir_all(directory).unwrap());
    recorder.wait_for(PODS).await;
    let apps = label_by_line(&recorder, "app");
    for number in 0..PODS {
        let expected = if number % 3 == 2 { "job".to_owned() } else { format!("told-{number}") };
        assert_eq!(apps[&format!("line of {number}")], [expected], "each line once, as well labelled as could be");
    }
    assert_eq!(agent.handle.metrics().possible_losses, 0);
    agent.stop().await;
}

/// Case 48.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_containers_come_and_go_at_once() {
    const PODS: usize = 250;
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let kubeconfig = config.kubeconfig.unwrap().display().to_string();
    let program = Program::start_with(&node, &recorder.url(), &["--kubeconfig", &kubeconfig, "--metadata-wait", "60s"]);
    wait_until("watches", || api.is_watched(), String::new).await;
    // What a first push and its answer take belongs to the base.
    container_of(&node, "base", "uid-base").line("base");
    api.put(pod("base", "uid-base", json!({"app": "web"})));
    recorder.wait_for(1).await;
    let (descriptors, memory) = (program.open_descriptors(), program.anonymous());
    for number in 0..PODS {
        let mut many = pod(&format!("web-{number}"), &format!("uid-{number}"), json!({"app": "web"}));
        let status = |name: &str| json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://x"});
        many["status"]["containerStatuses"] = json!([status("a"), status("b"), status("c"), status("d")]);
        api.put(many);
        for name in ["a", "b", "c", "d"] {
            Container::new(node.pods().join(format!("shop_web-{number}_uid-{number}/{name}"))).line(&format!("{name} of {number}"));
        }
    }
    recorder.wait_for(4 * PODS + 1).await;
    assert_eq!(recorder.all().len(), 4 * PODS + 1, "each line once");
    let (most_descriptors, most_memory) = (program.open_descriptors(), program.anonymous());
    for number in 0..PODS {
        api.delete(&format!("uid-{number}"));
        std::fs::remove_dir_all(node.pods().join(format!("shop_web-{number}_uid-{number}"))).unwrap();
    }
    program.wait_for_metric("tailwater_agent_open_files", |count| count <= 1.0).await;
    wait_until("closed descriptors", || program.open_descriptors() <= descriptors + 4, || program.open_descriptors().to_string()).await;
    // Positions and metadata of what is gone are kept for ten minutes; the rest is not.
    let is_given_back = || program.anonymous() + (1 << 20) <= most_memory;
    wait_until("memory given back", is_given_back, || format!("{memory} bytes, {most_memory}, {}", program.anonymous())).await;
    println!(
        "descriptors {descriptors}, {most_descriptors}, {}; KiB {}, {}, {}",
        program.open_descriptors(),
        memory >> 10,
        most_memory >> 10,
        program.anonymous() >> 10
    );
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{metrics:?}");
}

/// Case 49: a crash loop, of which the kubelet keeps the last two instances.
#[tokio::test(flavor = "multi_thread")]
async fn every_instance_of_a_crash_loop_is_read_once() {
    const RESTARTS: usize = 200;
    let (node, recorder, _api, config) = scene(Duration::ZERO).await;
    let agent = Agent::start(config).await;
    let mut container = node.container("app");
    for number in 0..RESTARTS {
        container.lines(number * 2..number * 2 + 2);
        container.restart();
        if number >= 2 {
            wait_until("earlier lines", || recorder.count() >= (number - 1) * 2, String::new).await;
            std::fs::remove_file(container.directory.join(format!("{}.log", number - 2))).unwrap();
        }
    }
    recorder.wait_for(2 * RESTARTS).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..2 * RESTARTS));
    assert_eq!(recorder.all().len(), 2 * RESTARTS);
    assert_eq!(agent.handle.metrics().possible_losses, 0);
    agent.stop().await;
}
