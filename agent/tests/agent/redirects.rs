//! Receivers that answer with another place: a push goes there as it is, or nowhere, and nothing counts as stored that was not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Recorder, wait_until};

/// Answers everything with a status and a place, which may be changed; what is at `/login` says yes to all.
async fn front(location: String) -> (SocketAddr, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(302));
    let answered = Arc::clone(&status);
    let redirect = move || {
        let status = StatusCode::from_u16(answered.load(Ordering::SeqCst)).unwrap();
        let answer: Response = (status, [("location", location.clone())]).into_response();
        async move { answer }
    };
    let login = || async { Html("<form>Who are you?</form>") };
    let router = Router::new().route("/login", axum::routing::any(login)).fallback(redirect);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_sent_to_another_place_of_its_host_as_it_is() {
    for status in [301, 302, 307, 308] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let (address, answered) = front(recorder.url()).await;
        answered.store(status, Ordering::SeqCst);
        let mut writer = Sequence::new(node.container("app"));
        writer.lines(20);
        let agent = Agent::start(node.config(&format!("http://{address}/loki/api/v1/push"))).await;
        recorder.wait_for(20).await;
        assert_exact(&recorder, &[&writer]);
        agent.assert_balanced();
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_elsewhere_has_taken_nothing() {
    type Place = fn(String) -> String;
    let places: [(u16, Place); 4] = [
        (303, |url| url),
        (302, |_| "/login".to_owned()),
        (307, |url| url.replace("127.0.0.1", "localhost")),
        (302, |_| "/again".to_owned()),
    ];
    for (status, place) in places {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let location = place(recorder.url());
        let (address, answered) = front(location.clone()).await;
        answered.store(status, Ordering::SeqCst);
        let mut writer = Sequence::new(node.container("app"));
        writer.lines(20);
        let mut config = node.config(&format!("http://{address}/loki/api/v1/push"));
        config.shutdown_timeout = Duration::from_millis(100);
        let agent = Agent::start(config).await;
        let is_blocked = || agent.metric(&format!("blocked{{status=\"{status}\"}}")) == 1.0;
        wait_until("the block", is_blocked, || agent.handle.render_metrics()).await;
        assert_eq!((recorder.pushes(), agent.handle.metrics().lines_acknowledged), (0, 0), "{status} to {location}");
        agent.stop().await;
        // All of it is still to be sent.
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(20).await;
        assert_exact(&recorder, &[&writer]);
        agent.assert_balanced();
        agent.stop().await;
    }
}
