//! Whether the receiver can be reached, trusts us, and takes lines: name, connection, TLS, readiness, access, clock.

use std::time::{Duration, SystemTime};

use super::clock::{self, Tolerance};
use super::finding::Finding;
use super::reach::{Advice, PATIENCE, reach};
use crate::causes::with_causes;
use crate::push::receiver::{ClientConfig, Receiver};

const ADVICE: Advice = Advice {
    name: "correct the host in the client's `url`, or the cluster's DNS",
    connection: "check that the receiver runs, its port, and network policies on the way",
};
/// Receivers refuse lines further ahead than this.
const OF_RECEIVER: Tolerance =
    Tolerance { whose: "the receiver", ahead: Some(Duration::from_secs(600)), behind: None, because: "lines of the future are refused" };
/// A push request without streams, as a snappy block: it stores nothing.
const EMPTY_PUSH: &[u8] = &[0];

pub(super) async fn examine(client: &ClientConfig) -> Vec<Finding> {
    let mut client = client.clone();
    client.timeout = client.timeout.min(PATIENCE);
    let proxied = client.proxy_url.is_some();
    let receiver = match Receiver::new(client) {
        Ok(receiver) => receiver,
        Err(error) => return vec![Finding::problem("receiver", error.to_string(), "correct the configuration of the client")],
    };
    let mut findings = Vec::new();
    if !proxied {
        match reach(&receiver.url, ADVICE).await {
            Ok(fine) => findings.push(fine),
            Err(problem) => return vec![problem],
        }
    }
    let asked = SystemTime::now();
    let (status, date) = match receiver.look("/ready").await {
        Ok(answer) => answer,
        Err(error) => {
            findings.push(no_answer(&receiver, &error));
            return findings;
        }
    };
    let answered = SystemTime::now();
    findings.push(readiness(&receiver, status));
    findings.extend(date.and_then(|date| clock::examine(&date, asked, answered, OF_RECEIVER)));
    findings.push(match receiver.push(EMPTY_PUSH.into(), None).await {
        Ok(answer) => access(&receiver, answer.status, answer.body.trim()),
        Err(error) => no_answer(&receiver, &error),
    });
    findings
}

/// What went wrong once there was a connection.
fn no_answer(receiver: &Receiver, error: &reqwest::Error) -> Finding {
    let evidence = with_causes(error);
    let is_tls = receiver.url.scheme() == "https" && !error.is_timeout();
    if is_tls {
        let advice =
            "give the CA that signed its certificate as `tls_config.ca_file`, use the name that is in it, or `http://` if it speaks no TLS";
        return Finding::problem("tls", format!("no secure connection to `{}`: {evidence}", receiver.url), advice);
    }
    Finding::problem(
        "receiver",
        format!("no answer from `{}`: {evidence}", receiver.url),
        "check that it is an HTTP server, and proxies on the way",
    )
}

fn readiness(receiver: &Receiver, status: u16) -> Finding {
    let host = &receiver.labels.host;
    match status {
        200..=299 => Finding::fine("ready", format!("`{host}` says that it is ready")),
        // It may be a gateway that shows no more than the push path.
        401 | 403 | 404 | 405 => Finding::fine("ready", format!("`{host}` answers {status} to /ready, which says nothing")),
        500.. => {
            let advice = "look at the aggregator's own log and `/ready`; lines wait in their files meanwhile";
            Finding::problem("ready", format!("`{host}` is not ready: it answers {status} to /ready"), advice)
        }
        other => {
            Finding::warning("ready", format!("`{host}` answers {other} to /ready"), "check that the client's `url` names the receiver")
        }
    }
}

/// What the answer to an empty push says about access.
fn access(receiver: &Receiver, status: u16, body: &str) -> Finding {
    let url = &receiver.url;
    let body = if body.is_empty() { String::new() } else { format!(": {}", body.chars().take(200).collect::<String>()) };
    let seen = format!("`{url}` answers {status} to an empty push{body}");
    match status {
        200..=299 => Finding::fine("access", format!("`{url}` takes pushes")),
        400 | 422 => Finding::fine("access", format!("`{url}` reads pushes and refuses the empty one ({status})")),
        401 => Finding::problem(
            "access",
            seen,
            "correct `basic_auth`, `bearer_token` or `bearer_token_file` of the client; a tenant may be missing (`tenant_id`)",
        ),
        403 => Finding::problem(
            "access",
            seen,
            "these credentials may not push; let the receiver or gateway allow it for this user and tenant",
        ),
        404 | 405 => Finding::problem("access", seen, "correct the path of the client's `url`, as in `http://HOST:3100/loki/api/v1/push`"),
        429 => Finding::warning("access", seen, "the tenant is over its rate limit; lines wait in their files"),
        500.. => Finding::problem("access", seen, "look at the aggregator's own log; lines wait in their files meanwhile"),
        _ => Finding::warning("access", seen, "check that the client's `url` names the receiver"),
    }
}
