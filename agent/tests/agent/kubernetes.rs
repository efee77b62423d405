//! Labels and metadata from the Kubernetes API, which is a fake one here, watched through a kubeconfig: cases 43 to 47, 50 and 51 of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::{Agent, Container, Entry, Node, Numbers, Reaction, Recorder, kubeconfig, label, numbered, wait_until};
use crate::torture::is_full;
use serde_json::{Value, json};
use tailwater_agent::Config;

/// A running pod with one container `app` for each given restart count.
pub(crate) fn pod(name: &str, uid: &str, labels: Value) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": labels, "annotations": {}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "i"}]},
        "status": {"containerStatuses": [
            {"name": "app", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "containerID": format!("containerd://{uid}")}
        ]}
    })
}

pub(crate) async fn scene(wait: Duration) -> (Node, Recorder, FakeApi, Config) {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(&node, api.start().await));
    config.metadata_wait = wait;
    (node, recorder, api, config)
}

pub(crate) fn container_of(node: &Node, pod: &str, uid: &str) -> Container {
    Container::new(node.pods().join(format!("shop_{pod}_{uid}/app")))
}

/// The first client is down for good: what the second one gets is not hidden by that.
#[tokio::test(flavor = "multi_thread")]
async fn discovered_pods_are_shown_with_the_clients_that_their_lines_were_read_for() {
    let (node, recorder, api, mut config) = scene(Duration::from_secs(5)).await;
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.client.name = Some("first".to_owned());
    config.more_clients.push(config.client.clone());
    config.more_clients[0].name = Some("second".to_owned());
    config.client.url = "http://127.0.0.1:1/loki/api/v1/push".to_owned();
    config.shutdown_timeout = Duration::from_millis(200);
    for name in ["web-1", "idle-1"] {
        api.put(pod(name, &format!("uid-{name}"), json!({})));
    }
    container_of(&node, "web-1", "uid-web-1").line("hello");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    let url = format!("http://{}/service-discovery", agent.handle.listen_address().unwrap());
    let shown = reqwest::get(&url).await.unwrap().text().await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let of = |name: &str| {
        let found = shown["discovered"].as_array().unwrap().iter().find(|found| found["discovered"]["pod"] == name);
        found.map(|found| (found["read_for"].clone(), found["dropped"].clone()))
    };
    assert_eq!(of("web-1"), Some((json!(["second"]), json!(null))));
    assert_eq!(of("idle-1"), Some((json!([]), json!("no lines of it were read on this node"))));
    let page = reqwest::get(format!("{url}?format=html")).await.unwrap().text().await.unwrap();
    assert!(page.contains("read for") && page.contains("second"), "{page}");
    agent.stop().await;
}

/// Every line's value of a label.
pub(crate) fn label_by_line(recorder: &Recorder, name: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in recorder.stored() {
        found.entry(entry.line.clone()).or_default().push(label(&entry.labels, name));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_metadata_come_from_the_api_by_a_watch_of_this_node() {
    let (node, recorder, api, config) = scene(Duration::from_secs(5)).await;
    api.put(pod("web-1", "uid-1", json!({"app": "storefront", "component": "front"})));
    node.container("app").line("hello");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    let entry = recorder.all().remove(0);
    assert_eq!(label(&entry.labels, "app"), "storefront");
    assert_eq!(label(&entry.labels, "component"), "front");
    assert_eq!(label(&entry.labels, "job"), "shop/storefront");
    let metadata: Vec<_> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(metadata, ["container_id=containerd://uid-1", "namespace_uid=ns-uid-1", "pod_uid=uid-1", "restart=0"]);
    assert!(api.queries().iter().any(|query| query.get("fieldSelector").is_some_and(|selector| selector == "spec.nodeName=node-a")));
    agent.stop().await;
}

/// Cases 43 and 46: lines flow with labels of their paths; once the API tells more, later lines have it, at a recorded offset.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_delays_lines_and_its_return_brings_full_labels_from_there_on() {
    let (node, recorder, api, config) = scene(Duration::from_millis(300)).await;
    api.fault(Some(503));
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(10).await;
    let metrics = agent.handle.render_metrics();
    assert!(metrics.contains("tailwater_agent_metadata_missing_total 1"), "{metrics}");
    api.fault(None);
    api.put(pod("web-1", "uid-1", json!({"app": "storefront"})));
    let mut written = 10;
    wait_until(
        "full labels",
        || {
            container.lines(written..written + 1);
            written += 1;
            recorder.all().iter().any(|entry| label(&entry.labels, "app") == "storefront")
        },
        String::new,
    )
    .await;
    recorder.wait_for(written).await;
    agent.stop().await;
    // From before the change everything is told again with what it was told with.
    let apps = label_by_line(&recorder, "app");
    assert!(apps.values().all(|labels| labels.len() == 1), "{apps:?}");
    assert!(numbered(0..10).iter().all(|line| apps[line] == ["web"]));
    assert_eq!(apps[&format!("line {}", written - 1)], ["storefront"]);
    let switches: Vec<bool> = numbered(0..written).iter().map(|line| apps[line] == ["web"]).collect();
    assert!(switches.is_sorted_by(|a, b| a >= b), "one change: {switches:?}");
}

/// Case 46: metadata within the wait is one label set; an edit changes later lines, and a lost answer around it doubles nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_labels_is_repeated_where_it_was_made() {
    let (node, recorder, api, mut config) = scene(Duration::from_secs(30)).await;
    config.shutdown_timeout = Duration::from_millis(300);
    let mut container = node.container("app");
    container.lines(0..5);
    let agent = Agent::start(config.clone()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(recorder.count(), 0, "lines wait for metadata");
    api.put(pod("web-1", "uid-1", json!({"app": "first"})));
    recorder.wait_for(5).await;
    // From now on everything is stored and no answer arrives.
    let at = recorder.pushes();
    recorder.behave(move |number| if number > at { Reaction::LoseAnswer } else { Reaction::Store });
    container.lines(5..8);
    recorder.wait_for(8).await;
    api.put(pod("web-1", "uid-1", json!({"app": "second"})));
    // Lines are written until the change has taken effect at one of them, which is on disk before it is sent.
    let mut written = 8;
    let is_recorded = || std::fs::read_to_string(node.data().join("positions.json")).is_ok_and(|text| text.contains("second"));
    let and_more = || {
        container.lines(written..written + 1);
        written += 1;
        is_recorded()
    };
    wait_until("the change recorded", and_more, String::new).await;
    agent.stop().await;
    recorder.behave(|_| Reaction::Store);
    let agent = Agent::start(config.clone()).await;
    container.lines(written..written + 2);
    recorder.wait_for(written + 2).await;
    agent.stop().await;
    let apps = label_by_line(&recorder, "app");
    assert!(apps.values().all(|labels| labels.len() == 1), "no line has two label sets: {apps:?}");
    let of = |number: usize| apps[&format!("line {number}")][0].as_str();
    assert_eq!((of(0), of(6), of(written + 1)), ("first", "first", "second"));
}

/// Case 43: an API server of which nothing is there at the start and for ten minutes, in full, for two seconds otherwise; and then one that is down for as long.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_does_not_even_listen_stops_nothing() {
    let outage = Duration::from_secs(if is_full() { 600 } else { 2 });
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let address = crate::support::program::free_address();
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(&node, address));
    config.metadata_wait = Duration::from_millis(300);
    // What is known of a pod that is gone is forgotten before the API is there again.
    config.timing.deleted_pod_kept = outage / 4;
    let app_of = |entry: &Entry| label(&entry.labels, "app");
    let mut container = node.container("app");
    let agent = Agent::start(config).await;
    // Lines of a pod that was there before and of ones that come meanwhile, as long as there is no API.
    let (mut written, mut all, mut pods) = (0, 0, 0);
    let mut without = async |written: &mut usize, all: &mut usize, expected: &str| {
        let start = Instant::now();
        while start.elapsed() < outage {
            container.lines(*written..*written + 10);
            container_of(&node, &format!("new-{pods}"), &format!("uid-new-{pods}")).line(&format!("new {pods}"));
            *written += 10;
            *all += 11;
            pods += 1;
            recorder.wait_for(*all).await;
            tokio::time::sleep(outage / 20).await;
        }
        let last = format!("line {}", *written - 1);
        assert_eq!(label_by_line(&recorder, "app")[&last], [expected]);
        container.lines(*written..*written + 1);
        *written += 1;
        *all += 1;
    };
    without(&mut written, &mut all, "web").await;
    recorder.wait_for(all).await;
    assert!(recorder.all().iter().all(|entry| app_of(entry) == if entry.line.starts_with("new") { "new" } else { "web" }));
    let missing = agent.metric("metadata_missing_total");
    assert_eq!(missing, (all - written + 1) as f64, "each instance is counted once");
    let mut told = pod("web-1", "uid-1", json!({"app": "storefront"}));
    let mut second = told["status"]["containerStatuses"][0].clone();
    second["name"] = json!("second");
    told["status"]["containerStatuses"].as_array_mut().unwrap().push(second);
    api.put(told);
    api.start_at(address).await;
    // Labels are full with what both watches tell.
    wait_until("watches", || api.is_watched(), String::new).await;
    let mut returned = Container::new(node.pods().join("shop_web-1_uid-1/second"));
    let and_more = || {
        returned.line(&format!("second {all}"));
        all += 1;
        recorder.all().iter().any(|entry| entry.line.starts_with("second") && app_of(entry) == "storefront")
    };
    wait_until("full labels", and_more, String::new).await;
    recorder.wait_for(all).await;
    // Down again: what is known stays in use, also while pods come that have labels of their paths.
    api.fault(Some(503));
    without(&mut written, &mut all, "storefront").await;
    recorder.wait_for(all).await;
    assert_eq!(recorder.all().len(), all, "each line once");
    assert!(recorder.all().iter().filter(|entry| entry.line.starts_with("new")).all(|entry| app_of(entry) == "new"));
    agent.assert_balanced();
    agent.stop().await;
}

/// Case 46 with kill -9 around edits: every line has the labels of its first sending.
#[tokio::test(flavor = "multi_thread")]
async fn kills_around_edits_of_labels_give_no_line_two_label_sets() {
    let (node, recorder, api, config) = scene(Duration::from_secs(30)).await;
    let mut reactions = Numbers(46);
    recorder.behave(move |_| match reactions.below(4) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::Delay(Duration::from_millis(reactions.below(80))),
        _ => Reaction::Store,
    });
    let kubeconfig = config.kubeconfig.unwrap().display().to_string();
    let flags = ["--kubeconfig", &kubeconfig, "--metadata-wait", "30s"];
    let mut container = node.container("app");
    let (mut numbers, mut written) = (Numbers(7), 0);
    let edit = |number: usize| api.put(pod("web-1", "uid-1", json!({"app": format!("app-{number}")})));
    for round in 0..12 {
        edit(2 * round);
        let before = recorder.pushes();
        let mut program = Program::start_with(&node, &recorder.url(), &flags);
        wait_until(
            "a push",
            || {
                container.lines(written..written + 1);
                written += 1;
                recorder.pushes() > before
            },
            String::new,
        )
        .await;
        edit(2 * round + 1);
        for _ in 0..numbers.below(20) {
            container.lines(written..written + 5);
            written += 5;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        program.kill();
        if round % 4 == 3 {
            container.rotate();
        }
    }
    recorder.behave(|_| Reaction::Store);
    let program = Program::start_with(&node, &recorder.url(), &flags);
    let has_last = || recorder.stored().iter().any(|entry| entry.line == format!("line {}", written - 1));
    wait_until("the last line", has_last, String::new).await;
    let apps = label_by_line(&recorder, "app");
    assert_eq!(apps.len(), written);
    assert!(apps.values().all(|labels| labels.len() == 1), "no line has two label sets: {apps:?}");
    let different: BTreeSet<_> = apps.values().collect();
    assert!(different.len() > 3, "edits took effect: {different:?}");
    assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
}

/// Case 44: the directory of a static pod is named after its configuration's hash, which the mirror pod carries.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_pod_has_the_labels_of_its_mirror_pod_also_of_a_new_one() {
    let (node, recorder, api, config) = scene(Duration::from_secs(30)).await;
    let hash = "0123456789abcdef0123456789abcdef";
    let mirror = |uid: &str| {
        let mut mirror = pod("etcd-node-a", uid, json!({"component": "etcd", "app": "etcd"}));
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash});
        mirror["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "x", "controller": true}]);
        mirror["status"]["containerStatuses"][0]["containerID"] = json!("containerd://same");
        mirror
    };
    api.put(mirror("mirror-1"));
    let mut container = container_of(&node, "etcd-node-a", hash);
    container.lines(0..3);
    let agent = Agent::start(config).await;
    recorder.wait_for(3).await;
    api.delete("mirror-1");
    container.lines(3..6);
    recorder.wait_for(6).await;
    api.put(mirror("mirror-2"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    container.lines(6..9);
    recorder.wait_for(9).await;
    let streams: BTreeSet<String> = recorder.stored().into_iter().map(|entry| entry.labels).collect();
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert_eq!(label(streams.first().unwrap(), "app"), "etcd");
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..9));
    agent.stop().await;
}

/// Case 45: a StatefulSet's pod comes back with its name and another uid.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_name_are_never_mixed() {
    let (node, recorder, api, config) = scene(Duration::from_secs(30)).await;
    let agent = Agent::start(config).await;
    wait_until("watches", || api.is_watched(), String::new).await;
    for (number, uid) in ["uid-old", "uid-new", "uid-newest"].iter().enumerate() {
        api.put(pod("db-0", uid, json!({"app": format!("db-{uid}")})));
        let mut container = container_of(&node, "db-0", uid);
        container.lines(number * 10..number * 10 + 10);
        api.delete(uid);
    }
    recorder.wait_for(30).await;
    for entry in recorder.stored() {
        let number: usize = entry.line.split(' ').nth(1).unwrap().parse().unwrap();
        let uid = ["uid-old", "uid-new", "uid-newest"][number / 10];
        assert_eq!(label(&entry.labels, "app"), format!("db-{uid}"));
        assert!(entry.metadata.contains(&("pod_uid".to_owned(), uid.to_owned())), "{entry:?}");
    }
    agent.stop().await;
}

/// Case 47: watches end, versions expire, requests are refused; what is known stays in use and lists stay few.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_breaks_is_taken_up_without_storms() {
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    let agent = Agent::start(config).await;
    wait_until("watches", || api.is_watched(), String::new).await;
    let mut lines = 0;
    let mut listed = Vec::new();
    for (round, trouble) in ["drop", "compact", "429", "500", "drop", "drop", "drop"].iter().enumerate() {
        let before = api.lists();
        let (name, uid) = (format!("web-{round}"), format!("uid-{round}"));
        match *trouble {
            "drop" => api.drop_watches(),
            "compact" => api.compact(),
            status => {
                api.fault(Some(status.parse().unwrap()));
                tokio::time::sleep(Duration::from_millis(300)).await;
                api.fault(None);
            }
        }
        api.put(pod(&name, &uid, json!({"app": format!("app-{round}")})));
        container_of(&node, &name, &uid).lines(lines..lines + 5);
        lines += 5;
        recorder.wait_for(lines).await;
        wait_until("watches again", || api.is_watched(), String::new).await;
        listed.push((*trouble, api.lists() - before));
    }
    let apps = label_by_line(&recorder, "app");
    for number in 0..lines {
        assert_eq!(apps[&format!("line {number}")], [format!("app-{}", number / 5)]);
    }
    // Of pods and of namespaces, and none where the version that is known will do.
    let most = |trouble: &str| if trouble == "drop" { 0 } else { 2 };
    assert!(listed.iter().all(|(trouble, lists)| *lists <= most(trouble)), "{listed:?}");
    assert_eq!(recorder.all().len(), lines, "each line once");
    agent.assert_balanced();
    agent.stop().await;
}

/// What is there is streamed by the watch, and asked for as a whole where the server does not know that: the labels are the same, and no error is counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_streamed_by_servers_that_do_so() {
    for streams in [true, false] {
        let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
        if !streams {
            api.refuse_to_stream();
        }
        api.put(pod("web-1", "uid-1", json!({"app": "early"})));
        let agent = Agent::start(config).await;
        container_of(&node, "web-1", "uid-1").lines(0..5);
        recorder.wait_for(5).await;
        api.put(pod("web-2", "uid-2", json!({"app": "late"})));
        container_of(&node, "web-2", "uid-2").lines(5..10);
        recorder.wait_for(10).await;
        let apps = label_by_line(&recorder, "app");
        for number in 0..10 {
            assert_eq!(apps[&format!("line {number}")], [if number < 5 { "early" } else { "late" }]);
        }
        // Of pods and of namespaces, each once.
        let streamed = if streams { 2 } else { 0 };
        assert_eq!((api.lists(), api.streamed_lists(), agent.metric("kube_watch_errors_total")), (2, streamed, 0.0));
        agent.stop().await;
    }
}

/// Neither watches of directories nor scans find these files within the test: what the API tells of the pod does.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_appears_has_its_directory_looked_at() {
    let (node, recorder, api, mut config) = scene(Duration::from_secs(60)).await;
    config.timing.watch_directories = false;
    config.timing.scan_interval = Duration::from_secs(3600);
    config.timing.degraded_scan_interval = Duration::from_secs(3600);
    std::fs::create_dir_all(node.pods()).unwrap();
    let agent = Agent::start(config).await;
    wait_until("the first scan", || api.is_watched() && agent.metric("scan_seconds") > 0.0, || agent.handle.render_metrics()).await;
    for number in 0..3 {
        let (name, uid) = (format!("web-{number}"), format!("uid-{number}"));
        container_of(&node, &name, &uid).lines(number * 5..number * 5 + 5);
        api.put(pod(&name, &uid, json!({"app": "web"})));
        recorder.wait_for(number * 5 + 5).await;
    }
    // A restart count in its status says that there is another file.
    let mut container = container_of(&node, "web-2", "uid-2");
    container.restart();
    container.lines(15..20);
    let mut restarted = pod("web-2", "uid-2", json!({"app": "web"}));
    restarted["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    api.put(restarted);
    recorder.wait_for(20).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// Case 29, by the API: nothing comes after the last line, whose writer goes on holding the file open.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_api_tells_makes_the_last_file_final_soon() {
    let (node, recorder, api, config) = scene(Duration::from_secs(60)).await;
    for (name, uid) in [("web-1", "uid-1"), ("job-1", "uid-2"), ("web-2", "uid-3")] {
        api.put(pod(name, uid, json!({"app": "web"})));
    }
    let mut containers = [("web-1", "uid-1"), ("job-1", "uid-2"), ("web-2", "uid-3")].map(|(name, uid)| container_of(&node, name, uid));
    for container in &mut containers {
        container.line("whole");
        container.write("stdout", "P", "without its end");
    }
    let agent = Agent::start(config).await;
    recorder.wait_for(3).await;
    // One by its container's status, one with its pod, one not at all.
    let mut ended = pod("job-1", "uid-2", json!({"app": "web"}));
    ended["status"]["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0}});
    api.put(ended);
    api.delete("uid-1");
    recorder.wait_for(5).await;
    let pods: Vec<String> =
        recorder.stored().into_iter().filter(|entry| entry.line == "without its end").map(|entry| label(&entry.labels, "pod")).collect();
    assert_eq!(pods, ["job-1", "web-1"]);
    // A late writer is read all the same.
    containers[1].line("late");
    recorder.wait_for(6).await;
    wait_until("balance", || agent.metric("late_growth_total") == 1.0, || agent.handle.render_metrics()).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// Case 50.
#[tokio::test(flavor = "multi_thread")]
async fn pods_and_namespaces_can_opt_out_and_come_back_from_where_they_are() {
    let (node, recorder, api, config) = scene(Duration::from_secs(30)).await;
    let annotated = |annotations: Value| {
        let mut pod = pod("web-1", "uid-1", json!({"app": "web"}));
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    let settle = || tokio::time::sleep(Duration::from_millis(1500));
    let mut container = node.container("app");
    api.put(annotated(json!({"tailwater.io/exclude": "true"})));
    container.lines(0..5);
    let agent = Agent::start(config).await;
    // Told by the API, in whole seconds; then there is a while for the readers to act by it.
    let taken = async |before: f64| {
        let last = || agent.metric("kube_watch_last_event_timestamp_seconds");
        wait_until("the change told to the agent", || last() > before, || last().to_string()).await;
        settle().await;
        last()
    };
    let mut at = taken(0.0).await;
    assert_eq!(recorder.count(), 0, "excluded from the start");
    // Back: from the present on, not from the past.
    api.put(annotated(json!({})));
    at = taken(at).await;
    container.lines(5..8);
    recorder.wait_for(3).await;
    for (annotations, is_excluded) in [
        (json!({"tailwater.io/exclude": "other,app"}), true),
        (json!({"tailwater.io/exclude": "other"}), false),
        (json!({"tailwater.io/exclude": "yes, please!"}), false),
        (json!({"fluentbit.io/exclude-app": "true"}), true),
        (json!({"vector.dev/exclude-containers": "app"}), true),
        (json!({"tailwater.io/exclude": "true", "tailwater.io/include": "app"}), false),
    ] {
        let before = recorder.count();
        api.put(annotated(annotations.clone()));
        at = taken(at).await;
        let text = annotations.to_string();
        container.line(&text);
        if is_excluded {
            settle().await;
            assert_eq!(recorder.count(), before, "{text}");
        } else {
            recorder.wait_for(before + 1).await;
        }
    }
    assert!(agent.handle.render_metrics().contains("tailwater_agent_annotations_invalid_total 1"));
    let before = recorder.count();
    api.put(annotated(json!({})));
    at = taken(at).await;
    api.namespace("shop", "ns-uid-1", json!({"tailwater.io/exclude": "true"}));
    taken(at).await;
    container.line("of a namespace that opted out");
    settle().await;
    assert_eq!(recorder.count(), before);
    assert_eq!(agent.handle.metrics().possible_losses, 0);
    agent.stop().await;
}

/// Case 50, the other wishes: whose lines they are, which share of them is kept, and how many a second.
#[tokio::test(flavor = "multi_thread")]
async fn pods_name_a_tenant_a_sample_and_a_limit() {
    let (node, recorder, api, mut config) = scene(Duration::from_secs(30)).await;
    config.rate.drops = true;
    let mut containers = Vec::new();
    for (name, annotations) in [
        ("of-a", json!({"tailwater.io/tenant": "team-a"})),
        ("sampled", json!({"tailwater.io/sample": "0.5"})),
        ("limited", json!({"tailwater.io/rate-limit": "1KiB"})),
        ("wrong", json!({"tailwater.io/tenant": "a|b", "tailwater.io/sample": "half"})),
    ] {
        let mut pod = pod(name, &format!("uid-{name}"), json!({"app": name}));
        pod["metadata"]["annotations"] = annotations;
        api.put(pod);
        containers.push(container_of(&node, name, &format!("uid-{name}")));
    }
    for container in &mut containers[1..] {
        container.lines(0..1000);
    }
    let agent = Agent::start(config.clone()).await;
    let of = |pod: &str| recorder.stored().iter().filter(|entry| label(&entry.labels, "pod") == pod).count();
    let dropped = |reason: &str| agent.metric(&format!("dropped_lines_total{{reason=\"{reason}\"}}")) as usize;
    let is_settled = || agent.handle.metrics().lines_acknowledged + agent.handle.metrics().lines_dropped == 3000;
    wait_until("all lines", is_settled, || format!("{:?}", agent.handle.metrics())).await;
    assert_eq!((of("sampled") + dropped("unsampled"), of("limited") + dropped("rate_limited"), of("wrong")), (1000, 1000, 1000));
    assert!((350..650).contains(&of("sampled")) && of("limited") < 900, "{} and {}", of("sampled"), of("limited"));
    let before = recorder.count();
    containers[0].line("of a tenant");
    recorder.wait_for(before + 1).await;
    assert_eq!(recorder.last_headers()["x-scope-orgid"], "team-a");
    assert!(recorder.stored().iter().all(|entry| !entry.labels.contains("__")), "what is wished is no label");
    assert!(agent.metric("annotations_invalid_total") >= 2.0);
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    let kept = of("sampled");
    agent.stop().await;
    // Read again without positions, the sample is the same.
    std::fs::remove_dir_all(node.data()).unwrap();
    let agent = Agent::start(config).await;
    let is_read_again = || agent.handle.metrics().lines_acknowledged + agent.handle.metrics().lines_dropped == 3001;
    wait_until("all lines again", is_read_again, || format!("{:?}", agent.handle.metrics())).await;
    assert_eq!(of("sampled"), kept);
    agent.stop().await;
}

/// Case 51: as long as a file system lets a directory's name be, and values that need quoting.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_length_and_values_of_any_text_arrive() {
    let (node, recorder, api, config) = scene(Duration::from_secs(30)).await;
    let (namespace, container_name, uid) = ("n".repeat(63), "c".repeat(63), "0f0e0d0c-0b0a-4900-8807-060504030201");
    let name = "p".repeat(255 - 63 - uid.len() - 2);
    let value = "quote \" backslash \\ tab \t brace } comma , é 日本";
    let mut long = pod(&name, uid, json!({"app": value}));
    long["metadata"]["namespace"] = json!(namespace);
    long["status"]["containerStatuses"][0]["name"] = json!(container_name);
    api.namespace(&namespace, "ns-long", json!({}));
    api.put(long);
    Container::new(node.pods().join(format!("{namespace}_{name}_{uid}/{container_name}"))).line("hello");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    let labels = recorder.all().remove(0).labels;
    assert!(labels.contains("app=\"quote \\\" backslash \\\\ tab \\t brace } comma , é 日本\""), "{labels}");
    // As a receiver reads it.
    let read: BTreeMap<String, String> =
        tailwater_logql::parse_selector(&labels).unwrap().matchers.into_iter().map(|matcher| (matcher.name, matcher.value)).collect();
    let job = format!("{namespace}/{value}");
    let expected = [
        ("app", value),
        ("container", &container_name),
        ("job", &job),
        ("namespace", &namespace),
        ("node_name", "node-a"),
        ("pod", &name),
        ("stream", "stdout"),
    ];
    assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    agent.stop().await;
}
