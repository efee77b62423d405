//! Case 67: the default configuration of Promtail's Helm chart, as it is, on a tree of pod logs and a fake Kubernetes API.
//!
//! The label sets that are expected are what the chart's rules make of these pods, worked out by hand. The file's native form gives the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::fake_api::FakeApi;
use crate::support::{Agent, Container, Node, Recorder, kubeconfig};
use serde_json::{Value, json};
use tailwater_agent::config::load;

fn pod(namespace: &str, name: &str, uid: &str, metadata: &Value, containers: &Value) -> Value {
    let mut pod = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "spec": {"nodeName": "node-a", "containers": containers},
        "status": {"podIP": "10.0.0.7", "hostIP": "10.1.0.1", "phase": "Running"}
    });
    for (key, value) in metadata.as_object().unwrap() {
        pod["metadata"][key] = value.clone();
    }
    pod
}

fn owner(kind: &str, name: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "o", "controller": true}])
}

/// Its rules as they are, or in their native form; only where things are is put in.
fn chart(node: &Node, recorder: &Recorder, kubeconfig: &Path, is_converted: bool) -> tailwater_agent::Config {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtail/corpus/helm-default.yaml")).unwrap();
    let text = text
        .replace("/var/log/pods", &node.pods().display().to_string())
        .replace("http://loki-gateway/loki/api/v1/push", &recorder.url())
        .replace("- role: pod", &format!("- role: pod\n        kubeconfig_file: {}", kubeconfig.display()))
        .replace("/run/promtail/positions.yaml", &format!("{}/none.yaml", node.data().display()))
        .replace("http_listen_port: 3101", "http_listen_port: 0");
    let file = node.data().with_file_name("promtail.yaml");
    std::fs::write(&file, text).unwrap();
    let flag = |name: &str, value: String| (name.to_owned(), value);
    let flags =
        [flag("data-dir", node.data().display().to_string()), flag("listen", "none".to_owned()), flag("node-name", "node-a".to_owned())];
    if is_converted {
        let (text, report) = tailwater_agent::promtail::convert(&file, false, |_| None).unwrap();
        let file = file.with_file_name("agent.yaml");
        std::fs::write(&file, text.unwrap_or_else(|| panic!("{report}"))).unwrap();
        return load::load(&load::Sources { file: Some(file), flags: flags.into(), ..load::Sources::default() }).unwrap();
    }
    let (promtail, report) =
        tailwater_agent::promtail::load(&file, false, |name| (name == "HOSTNAME").then(|| "node-a".to_owned())).unwrap();
    let promtail = promtail.unwrap_or_else(|| panic!("{report}"));
    load::load(&load::Sources { promtail: Some(Arc::new(promtail)), flags: flags.into(), ..load::Sources::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_default_configuration_gives_the_label_sets_that_promtail_gives() {
    give_the_label_sets_of_the_chart(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_default_configuration_converted_gives_them_too() {
    give_the_label_sets_of_the_chart(true).await;
}

async fn give_the_label_sets_of_the_chart(is_converted: bool) {
    let (node, recorder, api) = (Node::new(), Recorder::start(false).await, FakeApi::default());
    let kubeconfig = kubeconfig(&node, api.start().await);
    let hash = "0123456789abcdef0123456789abcdef";
    let ports = json!([{"name": "http", "containerPort": 80}, {"name": "metrics", "containerPort": 81}]);
    let web = json!([{"name": "nginx", "image": "n", "ports": ports}, {"name": "sidecar", "image": "s"}]);
    let mut deployed = pod("shop", "web-6d4cf56db8-x7z9k", "u1", &json!({"ownerReferences": owner("ReplicaSet", "web-6d4cf56db8")}), &web);
    deployed["spec"]["initContainers"] = json!([{"name": "setup", "image": "i"}]);
    api.put(deployed);
    let labels = json!({"app.kubernetes.io/name": "cart", "app": "x", "app.kubernetes.io/instance": "prod", "component": "api"});
    let one = json!([{"name": "c", "image": "i"}]);
    api.put(pod("shop", "cart-0", "u2", &json!({"labels": labels, "ownerReferences": owner("StatefulSet", "cart")}), &one));
    let annotations = json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash});
    let mirror = json!({"labels": {"component": "etcd"}, "annotations": annotations, "ownerReferences": owner("Node", "node-a")});
    api.put(pod("kube-system", "etcd-node-a", "u3", &mirror, &one));
    api.put(pod("shop", "debug", "u4", &json!({}), &one));

    let directories = [
        "shop_web-6d4cf56db8-x7z9k_u1/nginx".to_owned(),
        "shop_web-6d4cf56db8-x7z9k_u1/sidecar".to_owned(),
        "shop_web-6d4cf56db8-x7z9k_u1/setup".to_owned(),
        "shop_cart-0_u2/c".to_owned(),
        format!("kube-system_etcd-node-a_{hash}/c"),
        "shop_debug_u4/c".to_owned(),
    ];
    for directory in &directories {
        let mut container = Container::new(node.pods().join(directory));
        container.line("one");
        container.write("stderr", "P", "half and ");
        container.write("stdout", "F", "two");
        container.write("stderr", "F", "half");
    }
    let agent = Agent::start(chart(&node, &recorder, &kubeconfig, is_converted)).await;
    recorder.wait_for(3 * directories.len()).await;
    agent.stop().await;

    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // container, app, instance, component, namespace, pod
    let rows = [
        ("nginx", "web", "", "", "shop", "web-6d4cf56db8-x7z9k"),
        ("sidecar", "web", "", "", "shop", "web-6d4cf56db8-x7z9k"),
        ("setup", "web", "", "", "shop", "web-6d4cf56db8-x7z9k"),
        ("c", "cart", "prod", "api", "shop", "cart-0"),
        // The controller of a static pod is its node.
        ("c", "node-a", "", "etcd", "kube-system", "etcd-node-a"),
        ("c", "debug", "", "", "shop", "debug"),
    ];
    for (directory, (container, app, instance, component, namespace, pod)) in directories.iter().zip(rows) {
        let job = format!("{namespace}/{app}");
        let filename = node.pods().join(directory).join("0.log").display().to_string();
        for (stream, lines) in [("stderr", vec!["half and half"]), ("stdout", vec!["one", "two"])] {
            let pairs = [
                ("app", app),
                ("component", component),
                ("container", container),
                ("filename", &filename),
                ("instance", instance),
                ("job", &job),
                ("namespace", namespace),
                ("node_name", "node-a"),
                ("pod", pod),
                ("stream", stream),
            ];
            let pairs: Vec<String> =
                pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            expected.insert(format!("{{{}}}", pairs.join(", ")), lines.into_iter().map(str::to_owned).collect());
        }
    }
    let mut seen: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for entry in recorder.all() {
        seen.entry(entry.labels).or_default().push((entry.timestamp, entry.line));
    }
    let seen: BTreeMap<String, Vec<String>> =
        seen.into_iter().map(|(labels, lines)| (labels, lines.into_iter().map(|(_, line)| line).collect())).collect();
    assert_eq!(seen, expected);
}

/// Links in a directory that a pod may write to lead into docker's own tree, which the operator may have elsewhere, or nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_pods_are_followed_into_dockers_own_tree_alone() {
    let (node, recorder, api) = (Node::new(), Recorder::start(false).await, FakeApi::default());
    let kubeconfig = kubeconfig(&node, api.start().await);
    api.put(pod("shop", "debug", "u4", &json!({}), &json!([{"name": "c", "image": "i"}])));
    let docker = node.pods().with_file_name("docker");
    let behind = docker.join("containers/abc/abc-json.log");
    std::fs::create_dir_all(behind.parent().unwrap()).unwrap();
    let secret = node.pods().with_file_name("secret");
    for (path, text) in [(&behind, "of the container"), (&secret, "of the node")] {
        std::fs::write(path, format!("2026-11-21T09:00:00Z stdout F {text}\n")).unwrap();
    }
    let mut container = Container::new(node.pods().join("shop_debug_u4/c"));
    let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, container.directory.join(name)).unwrap();
    link(&secret, "1.log");
    link(&behind, "2.log");
    // Out of docker's tree again.
    std::os::unix::fs::symlink(&secret, behind.with_file_name("link")).unwrap();
    link(&behind.with_file_name("link"), "3.log");
    let config = tailwater_agent::Config { docker_root: docker, ..chart(&node, &recorder, &kubeconfig, false) };
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    container.line("plain");
    recorder.wait_for(2).await;
    let mut lines: Vec<String> = recorder.all().into_iter().map(|entry| entry.line).collect();
    lines.sort();
    assert_eq!(lines, ["of the container", "plain"]);
    agent.stop().await;
}
