//! Pods and containers that come and go: cases 42, 48 and 49 of the contract.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::kubernetes::{container_of, label_by_line, pod, scene};
use crate::observe::ask;
use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::{Agent, Container, Node, PATIENCE, Recorder, numbered, open_paths, wait_until};
use serde_json::{Value, json};

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

/// How many containers come and go at once.
const PODS: usize = 250;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const CONTAINERS: usize = PODS * NAMES.len();

/// Brings the containers of a round, each with a line, and waits until all of `stored` lines, and these, are there.
async fn come(round: usize, node: &Node, api: &FakeApi, recorder: &Recorder, stored: usize) {
    for number in 0..PODS {
        let mut many = pod(&format!("web-{round}-{number}"), &format!("uid-{round}-{number}"), json!({"app": "web"}));
        let status = |name: &str| json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://x"});
        many["status"]["containerStatuses"] = NAMES.map(status).into_iter().collect();
        api.put(many);
        for name in NAMES {
            let directory = node.pods().join(format!("shop_web-{round}-{number}_uid-{round}-{number}/{name}"));
            Container::new(directory).line(&format!("{round}: {name} of {number}"));
        }
    }
    recorder.wait_for(stored + CONTAINERS).await;
    assert_eq!(recorder.all().len(), stored + CONTAINERS, "each line once");
}

fn go(round: usize, node: &Node, api: &FakeApi) {
    for number in 0..PODS {
        api.delete(&format!("uid-{round}-{number}"));
        std::fs::remove_dir_all(node.pods().join(format!("shop_web-{round}-{number}_uid-{round}-{number}"))).unwrap();
    }
}

/// Case 48: descriptors, watches and series are what they were before, round after round, and so is memory, but for what is kept for ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_containers_come_and_go_at_once() {
    const ROUNDS: usize = 6;
    /// What positions of a container and its share of its pod's metadata may take: 1,200 bytes, and holes between them.
    const KEPT: u64 = 2_000;
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let kubeconfig = config.kubeconfig.unwrap().display().to_string();
    let program = Program::start_with(&node, &recorder.url(), &["--kubeconfig", &kubeconfig, "--metadata-wait", "60s"]);
    wait_until("watches", || api.is_watched(), String::new).await;
    // What a first push and its answer take belongs to the base.
    container_of(&node, "base", "uid-base").line("base");
    api.put(pod("base", "uid-base", json!({"app": "web"})));
    recorder.wait_for(1).await;
    let (descriptors, watches) = (program.open_descriptors(), program.inotify_watches());
    assert!(watches >= 3, "the tree, a pod and its container are watched: {watches}");
    let mut memory: Vec<[u64; 2]> = Vec::new();
    for round in 0..ROUNDS {
        come(round, &node, &api, &recorder, 1 + round * CONTAINERS).await;
        let all_watches = watches + PODS + CONTAINERS;
        wait_until("watches of all", || program.inotify_watches() == all_watches, || program.inotify_watches().to_string()).await;
        let most = program.anonymous();
        go(round, &node, &api);
        for gauge in ["tailwater_agent_open_files", "promtail_files_active_total", "promtail_targets_active_total"] {
            program.wait_for_metric(gauge, |count| count <= 1.0).await;
        }
        wait_until("the watches before", || program.inotify_watches() == watches, || program.inotify_watches().to_string()).await;
        // Connections of the agent's HTTP surface and to the receiver come and go.
        wait_until("closed descriptors", || program.open_descriptors() <= descriptors + 4, || program.open_descriptors().to_string()).await;
        let paths = program.metrics().await.into_keys().filter(|name| name.contains("{path=")).collect::<Vec<_>>();
        assert!(paths.iter().all(|name| name.contains("shop_base_uid-base")), "{paths:?}");
        // The first rounds are what memory is compared with: the allocator has what it needs for them.
        if let Some(first) = memory.first() {
            let bound = first[1] + KEPT * (round * CONTAINERS) as u64;
            let told = || format!("{} bytes, of {bound}; before that {memory:?}", program.anonymous());
            wait_until("memory given back", || program.anonymous() <= bound, told).await;
        }
        memory.push([most, program.anonymous()]);
    }
    println!(
        "KiB with a thousand containers and without: {:?}",
        memory.iter().map(|pair| pair.map(|bytes| bytes >> 10)).collect::<Vec<_>>()
    );
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{metrics:?}");
}

/// Case 48, and what is kept: of pods and positions nothing is left either, once that time is over.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_known_any_more_of_a_thousand_containers_that_are_gone_for_long() {
    let (node, recorder, api, mut config) = scene(Duration::from_secs(60)).await;
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.timing.deleted_pod_kept = Duration::from_millis(100);
    config.timing.vanished_kept = Duration::from_millis(100);
    let agent = Agent::start(config).await;
    let address = agent.handle.listen_address().unwrap();
    wait_until("watches", || api.is_watched(), String::new).await;
    container_of(&node, "base", "uid-base").line("base");
    api.put(pod("base", "uid-base", json!({"app": "web"})));
    recorder.wait_for(1).await;
    let known_pods = async || {
        let answer = ask(address, "/service-discovery", "*/*").await.1;
        serde_json::from_str::<Value>(&answer).unwrap()["discovered"].as_array().unwrap().len()
    };
    let wait_for_known_files = async |count: usize| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(node.data().join("positions.json")).unwrap_or_default();
            let positions: Value = serde_json::from_str(&text).unwrap_or_default();
            let known = ["files", "instances"].map(|what| positions["body"][what].as_array().map_or(0, Vec::len));
            if known == [count; 2] {
                return;
            }
            assert!(Instant::now() < deadline, "{known:?} are known");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    come(0, &node, &api, &recorder, 1).await;
    assert_eq!(known_pods().await, PODS + 1);
    wait_for_known_files(CONTAINERS + 1).await;
    go(0, &node, &api);
    wait_for_known_files(1).await;
    // Whoever is deleted is looked for when another one is.
    for number in 0.. {
        let uid = format!("uid-late-{number}");
        api.put(pod("late", &uid, json!({})));
        api.delete(&uid);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let known = known_pods().await;
        if known <= 2 {
            break;
        }
        assert!(number < 600, "{known} pods are known");
    }
    assert_eq!(agent.metric("open_files"), 1.0);
    agent.assert_balanced();
    agent.stop().await;
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
