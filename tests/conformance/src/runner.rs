//! Runs cases and keeps their outcomes in the order of the suite.
//!
//! Cases that only read run first, a few at a time. Cases with steps write; those of one category run one after
//! another, for later ones may see what earlier ones pushed, while categories run beside each other: they
//! push to streams of their own, and most of their time is waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Request};
use crate::comparison::compare;
use crate::exchange::exchange;
use crate::placeholders::Placeholders;
use crate::suite::{Case, Step, StepKind};
use crate::tail::tail;

/// Between two tries of a step that waits.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub(crate) server: Client,
    /// The server that asks for a tenant; without it the cases that need it are skipped.
    pub(crate) tenant_server: Option<Client>,
    /// Cases without steps that run at a time.
    pub(crate) connections: usize,
    /// POST `/flush` before every further try of a step that waits.
    pub(crate) flush: bool,
    /// Bounds the wait of every step, in seconds.
    pub(crate) longest_wait: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) case: &'a Case,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// What differed first.
    Failed(String),
    /// There is no server with tenants.
    Skipped,
}

impl Runner {
    /// One outcome a case, in the order of `cases` (which has those with steps last).
    pub(crate) async fn run<'a>(&self, cases: &'a [Case]) -> Vec<Outcome<'a>> {
        let (writers, readers): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.has_steps);
        let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
        let mut running =
            stream::iter(readers).map(async |case| (case.id.as_str(), self.verdict(case).await)).buffered(self.connections.max(1));
        while let Some((id, verdict)) = running.next().await {
            verdicts.insert(id, verdict);
        }
        for (id, verdict) in self.run_writers(writers).await {
            verdicts.insert(id, verdict);
        }
        cases
            .iter()
            .map(|case| {
                let verdict = verdicts.remove(case.id.as_str()).expect("each case is a reader or a writer, and ids are unique");
                Outcome { case, verdict }
            })
            .collect()
    }

    async fn run_writers<'a>(&self, writers: Vec<&'a Case>) -> Vec<(&'a str, Verdict)> {
        let mut categories: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for case in writers {
            categories.entry(&case.category).or_default().push(case);
        }
        let chains = categories.into_values().map(async |chain| {
            let mut verdicts = Vec::new();
            for case in chain {
                verdicts.push((case.id.as_str(), self.verdict(case).await));
            }
            verdicts
        });
        join_all(chains).await.into_iter().flatten().collect()
    }

    async fn verdict(&self, case: &Case) -> Verdict {
        let client = match (case.needs_tenants, &self.tenant_server) {
            (false, _) => &self.server,
            (true, Some(client)) => client,
            (true, None) => return Verdict::Skipped,
        };
        let placeholders = match Placeholders::fresh() {
            Ok(placeholders) => placeholders,
            Err(error) => return Verdict::Failed(format!("cannot start the case: {error:#}")),
        };
        for (index, step) in case.steps.iter().enumerate() {
            if let Some(found) = self.run_step(client, case, step, &placeholders).await {
                let place = if case.has_steps { format!("step {}: ", index + 1) } else { String::new() };
                return Verdict::Failed(place + &found);
            }
        }
        Verdict::Passed
    }

    /// Repeats the step until it matches or its time is over; returns the last difference.
    async fn run_step(&self, client: &Client, case: &Case, step: &Step, placeholders: &Placeholders) -> Option<String> {
        let rules = case.rules.overlaid(&step.compare);
        let want = step.expect.answer();
        let deadline = Instant::now() + Duration::from_secs_f64(step.wait.min(self.longest_wait).max(0.0));
        loop {
            let answer = match step.kind {
                Some(StepKind::Tail) => tail(client, step, placeholders).await,
                None => exchange(client, step, placeholders).await,
            };
            let found = match answer {
                Ok(answer) => compare(&want, &answer, &rules),
                Err(error) => Some(format!("request failed: {error:#}")),
            };
            if found.is_none() || Instant::now() >= deadline {
                return found;
            }
            if self.flush
                && let Err(error) = flush(client, &step.headers).await
            {
                return Some(format!("flush failed: {error:#}"));
            }
            sleep(PAUSE).await;
        }
    }
}

/// Asks the server to make everything pushed so far visible; only Loki needs it.
pub(crate) async fn flush(client: &Client, headers: &[(String, String)]) -> Result<()> {
    let request = Request { method: "POST".to_owned(), path: "/flush".to_owned(), headers: headers.to_vec(), ..Request::default() };
    client.send(&request).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::suite::load_cases;

    /// Answers every request with what `reply` makes of its number and its head (request line and headers).
    async fn serve(reply: fn(usize, &str) -> String) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let mut head = vec![0; 65536];
                let size = socket.read(&mut head).await.unwrap();
                let body = reply(number, &String::from_utf8_lossy(&head[..size]));
                let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, count)
    }

    fn cases(lines: &[&str]) -> Vec<Case> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cases")).unwrap();
        std::fs::write(folder.path().join("cases/c.jsonl"), lines.join("\n")).unwrap();
        load_cases(folder.path()).unwrap()
    }

    fn runner(url: &str) -> Runner {
        crate::install_tls();
        Runner { server: Client::new(url).unwrap(), tenant_server: None, connections: 3, flush: false, longest_wait: 60.0 }
    }

    #[tokio::test]
    async fn outcomes_keep_the_order_of_the_suite_and_tenants_are_skipped() {
        let (url, _) = serve(|_, head| if head.contains("/b") { "spoilt".to_owned() } else { "fine".to_owned() }).await;
        let case = |id: &str, extra: &str| {
            format!(r#"{{"id":"{id}","category":"c","path":"/{id}"{extra},"expect":{{"status":200,"type":"text","body":"fine"}}}}"#)
        };
        let cases = cases(&[&case("a", ""), &case("b", ""), &case("c", r#","auth":true"#), &case("d", "")]);
        let outcomes = runner(&url).run(&cases).await;
        let verdicts: Vec<_> = outcomes.iter().map(|outcome| (outcome.case.id.as_str(), outcome.verdict.clone())).collect();
        let failed = Verdict::Failed("/text: expected fine, got spoilt".to_owned());
        assert_eq!(verdicts, [("a", Verdict::Passed), ("b", failed), ("c", Verdict::Skipped), ("d", Verdict::Passed)]);
    }

    #[tokio::test]
    async fn a_waiting_step_is_repeated_until_it_matches() {
        let (url, count) = serve(|number, _| if number < 3 { "not yet".to_owned() } else { "now".to_owned() }).await;
        let cases =
            cases(&[r#"{"id":"w","category":"c","steps":[{"path":"/w","wait":60,"expect":{"status":200,"type":"text","body":"now"}}]}"#]);
        assert_eq!(runner(&url).run(&cases).await[0].verdict, Verdict::Passed);
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_wait_can_be_bounded() {
        let (url, count) = serve(|_, _| "never".to_owned()).await;
        let cases =
            cases(&[r#"{"id":"w","category":"c","steps":[{"path":"/w","wait":600,"expect":{"status":200,"type":"text","body":"now"}}]}"#]);
        let impatient = Runner { longest_wait: 0.0, ..runner(&url) };
        assert!(matches!(impatient.run(&cases).await[0].verdict, Verdict::Failed(_)));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failing_step_is_named_and_ends_its_case() {
        let (url, count) = serve(|_, _| "x".to_owned()).await;
        let step = |body: &str| format!(r#"{{"path":"/","expect":{{"status":200,"type":"text","body":"{body}"}}}}"#);
        let line = format!(r#"{{"id":"s","category":"c","steps":[{},{},{}]}}"#, step("x"), step("y"), step("x"));
        let outcome = &runner(&url).run(&cases(&[&line])).await[0].verdict.clone();
        assert_eq!(*outcome, Verdict::Failed("step 2: /text: expected y, got x".to_owned()));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_fails_cases_and_not_the_run() {
        let cases = cases(&[r#"{"id":"a","category":"c","path":"/","expect":{"status":200,"type":"text","body":""}}"#]);
        let outcomes = runner("http://127.0.0.1:1").run(&cases).await;
        assert!(matches!(&outcomes[0].verdict, Verdict::Failed(text) if text.starts_with("request failed")));
    }
}
