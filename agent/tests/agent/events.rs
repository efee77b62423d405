//! Kubernetes' events as lines: one agent of several sends them, each counts once, whoever takes over.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::fake_api::FakeApi;
use crate::support::{Agent, Node, Reaction, Recorder, kubeconfig, label, wait_until};
use serde_json::{Value, json};
use tailwater_agent::Config;

const LEASE: &str = "tailwater-agent-events";

fn event(number: usize) -> Value {
    json!({
        "kind": "Event", "apiVersion": "events.k8s.io/v1",
        "metadata": {"namespace": "shop", "name": format!("web-1.{number}"), "uid": format!("event-{number}")},
        "eventTime": format!("2026-11-21T09:{:02}:{:02}.000001Z", number / 60, number % 60),
        "reason": "Started", "type": "Normal", "note": format!("event {number}"), "reportingController": "kubelet", "reportingInstance": "node-a",
        "regarding": {"kind": "Pod", "namespace": "shop", "name": "web-1"}
    })
}

fn config(node: &Node, recorder: &Recorder, api: SocketAddr, name: &str) -> Config {
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(node, api));
    config.node_name = name.to_owned();
    config.events = true;
    config
}

async fn leads(api: &FakeApi, name: &str) {
    wait_until(&format!("{name} holds the lease"), || api.holder(LEASE).as_deref() == Some(name), || format!("{:?}", api.holder(LEASE)))
        .await;
    wait_until("a watch", || api.event_watches() > 0, || "none".to_owned()).await;
}

/// Numbers of the events stored, each once, and in order.
fn numbers(recorder: &Recorder) -> Vec<usize> {
    let stored = recorder.stored();
    let mut numbers: Vec<usize> =
        stored.iter().map(|entry| entry.line.rsplit(' ').next().unwrap().trim_end_matches('"').parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_agents_sends_events_and_the_other_goes_on_where_it_stood() {
    let (first, second, recorder, api) = (Node::new(), Node::new(), Recorder::start(true).await, FakeApi::default());
    let address = api.start().await;
    (0..10).for_each(|number| api.event(event(number)));
    let agent = Agent::start(config(&first, &recorder, address, "node-a")).await;
    leads(&api, "node-a").await;
    recorder.wait_for(10).await;
    let entry = recorder.all().remove(0);
    assert_eq!(
        entry.line,
        "kind=Pod name=web-1 reason=Started type=Normal count=1 event=web-1.0 component=kubelet host=node-a msg=\"event 0\""
    );
    assert_eq!(
        (label(&entry.labels, "namespace"), label(&entry.labels, "job")),
        ("shop".to_owned(), "loki.source.kubernetes_events".to_owned())
    );
    let metadata: Vec<_> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(metadata, ["kind=Pod", "name=web-1", "reason=Started", "type=Normal"]);
    let other = Agent::start(config(&second, &recorder, address, "node-b")).await;
    (10..20).for_each(|number| api.event(event(number)));
    api.expire_event("event-3");
    recorder.wait_for(20).await;
    assert_eq!(recorder.all().len(), 20, "only one sends");
    // A clean end hands over at once, with the place.
    agent.stop().await;
    leads(&api, "node-b").await;
    (20..30).for_each(|number| api.event(event(number)));
    recorder.wait_for(30).await;
    assert_eq!(recorder.all().len(), 30, "nothing is sent again");
    assert_eq!(numbers(&recorder), (0..30).collect::<Vec<_>>());
    // What the watch missed is found by listing.
    api.compact();
    (30..40).for_each(|number| api.event(event(number)));
    recorder.wait_for(40).await;
    assert_eq!(numbers(&recorder), (0..40).collect::<Vec<_>>());
    assert!(other.metric("kube_requests_total{verb=\"update\",code=\"200\"}") > 0.0, "{}", other.handle.render_metrics());
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_cut_off_stops_before_another_sends_and_nothing_counts_twice() {
    let (first, second, recorder, api) = (Node::new(), Node::new(), Recorder::start(true).await, FakeApi::default());
    let address = api.start().await;
    recorder.behave(|number| if number % 3 == 0 { Reaction::LoseAnswer } else { Reaction::Store });
    // Short, since it is waited for; nothing here depends on its being renewed in time.
    let config = |node: &Node, name: &str| {
        let mut config = config(node, &recorder, address, name);
        config.timing.lease_duration = Duration::from_secs(4);
        config
    };
    let agent = Agent::start(config(&first, "node-a")).await;
    leads(&api, "node-a").await;
    (0..10).for_each(|number| api.event(event(number)));
    recorder.wait_for(10).await;
    let other = Agent::start(config(&second, "node-b")).await;
    api.cut_off(Some("node-a"));
    leads(&api, "node-b").await;
    (10..30).for_each(|number| api.event(event(number)));
    recorder.wait_for(30).await;
    assert_eq!(numbers(&recorder), (0..30).collect::<Vec<_>>());
    wait_until("the end of the one that was cut off", || api.event_watches() == 1, || api.event_watches().to_string()).await;
    // The API away for a moment.
    api.fault(Some(503));
    (30..35).for_each(|number| api.event(event(number)));
    api.fault(None);
    recorder.wait_for(35).await;
    assert_eq!(numbers(&recorder), (0..35).collect::<Vec<_>>());
    agent.stop().await;
    other.stop().await;
}
