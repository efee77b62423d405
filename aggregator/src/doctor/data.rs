//! The lines themselves: whose they are, and which time they are of. Data that is there and not found is asked for under another tenant, or at
//! another time.

use std::time::Duration;

use form_urlencoded::Serializer;
use serde_json::Value;
use tailwater_agent::doctor::Finding;
use tailwater_agent::doctor::reach::PATIENCE;
use tailwater_storage::store::{Store, paths};

use crate::config::Config;
use crate::doctor::DoctorOptions;
use crate::doctor::server::{Answer, Server, now_seconds};

const CHECK: &str = "data";
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Tenants that are looked at or named.
const MOST_TENANTS: usize = 10;

/// Whoever has folded lines in the store. Nobody, while it cannot be asked.
pub(super) async fn tenants_of(store: &Store) -> Vec<String> {
    match tokio::time::timeout(PATIENCE, store.folders(paths::TENANTS)).await {
        Ok(Ok(folders)) => folders.iter().filter_map(|folder| paths::tenant_of(folder)).map(|tenant| tenant.to_string()).collect(),
        _ => Vec::new(),
    }
}

/// Stretches of time in which lines are looked for: from and to, in seconds from now, and what they are called.
const WINDOWS: [(f64, f64, &str); 4] = [
    (-HOUR, 60.0, "the last hour"),
    (60.0, DAY, "the day to come"),
    (-DAY, -HOUR, "the last day"),
    (-30.0 * DAY, -DAY, "the last 30 days"),
];

pub(super) async fn examine(options: &DoctorOptions, config: &Config, server: &Server, stored: &[String]) -> Vec<Finding> {
    let is_given = options.tenant.is_some();
    if config.tenancy.enabled && !is_given {
        return of_all(server, stored).await;
    }
    let tenant = options.tenant.clone().unwrap_or_else(|| config.tenancy.default.clone());
    // Without tenants nobody says who they are.
    let said = config.tenancy.enabled || is_given;
    vec![of_tenant(server, &tenant, said, stored).await]
}

async fn of_all(server: &Server, stored: &[String]) -> Vec<Finding> {
    if stored.is_empty() {
        let advice = "say whose lines are looked for by --tenant; a tenant is known here a minute after its first lines";
        return vec![Finding::warning(CHECK, "the store names no tenant yet", advice)];
    }
    let mut findings = vec![Finding::fine("tenant", format!("the store has lines of {}; --tenant looks at one", shown(stored)))];
    for tenant in stored.iter().take(MOST_TENANTS) {
        findings.push(of_tenant(server, tenant, true, stored).await);
    }
    findings
}

async fn of_tenant(server: &Server, tenant: &str, said: bool, stored: &[String]) -> Finding {
    let now = now_seconds();
    for (from, to, called) in WINDOWS {
        let answer = match server.ask(&labels_path(now + from, now + to), said.then_some(tenant)).await {
            Ok(answer) => answer,
            Err(error) => return Finding::problem(CHECK, format!("labels are not answered: {error}"), "look at the aggregator's log"),
        };
        match names(&answer) {
            Ok(0) => {}
            Ok(count) => return found(tenant, count, called),
            Err(problem) => return problem,
        }
    }
    let others: Vec<String> = stored.iter().filter(|other| *other != tenant).cloned().collect();
    if others.is_empty() {
        let evidence = format!("tenant `{tenant}` has no line of the last 30 days, and there is no other tenant");
        let advice = "nothing has arrived: run `tailwater-agent doctor` on a node; or `storage.s3.bucket` and `storage.prefix` are not those of the data";
        return Finding::warning(CHECK, evidence, advice);
    }
    let evidence = format!("tenant `{tenant}` has no lines; those of {} are in the store", shown(&others));
    let advice =
        "ask, and push, as that tenant: X-Scope-OrgID of the datasource (`httpHeaderName1`), `agent.push.tenantID`, `tenancy.default`";
    Finding::problem("tenant", evidence, advice)
}

/// Lines are there; whether they are where people look is another question.
fn found(tenant: &str, labels: usize, called: &str) -> Finding {
    let evidence = format!("tenant `{tenant}` has lines of {called}, with {labels} labels");
    match called {
        "the last hour" => Finding::fine(CHECK, evidence),
        "the day to come" => {
            let advice =
                "set the clocks of the nodes that send them by NTP; `limits.creation_grace_period` says how far ahead a line may be";
            Finding::problem("clock", format!("{evidence}, and none of the last hour: their senders' clocks are ahead"), advice)
        }
        _ => {
            let advice = "ask for that time, and look at the clock of the viewer; if newer lines should be there, run `tailwater-agent doctor` on a node";
            Finding::problem("time range", format!("{evidence}, and none since"), advice)
        }
    }
}

fn labels_path(from: f64, to: f64) -> String {
    let nanoseconds = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0)).as_nanos().to_string();
    let query = Serializer::new(String::new()).extend_pairs([("start", nanoseconds(from)), ("end", nanoseconds(to))]).finish();
    format!("/loki/api/v1/labels?{query}")
}

/// How many labels an answer names.
fn names(answer: &Answer) -> Result<usize, Finding> {
    let seen = format!("labels are answered with {}: {}", answer.status, answer.words());
    match answer.status {
        200 => {
            let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            // An empty answer has no `data`.
            Ok(body["data"].as_array().map_or(0, Vec::len))
        }
        401 => Err(Finding::problem(
            "access",
            seen,
            "say who asks: --tenant with `tenancy.enabled`, --bearer-token-file with `auth.mode: kubernetes`",
        )),
        403 => {
            Err(Finding::problem("access", seen, "who asks may `get pods/log` in no namespace, or shows no certificate of `tls.client_ca`"))
        }
        _ => Err(Finding::problem(
            "query",
            seen,
            "look at the aggregator's log; with damaged objects `X-Tailwater-Read: partial` answers without them",
        )),
    }
}

fn shown(tenants: &[String]) -> String {
    let named: Vec<String> = tenants.iter().take(MOST_TENANTS).map(|tenant| format!("`{tenant}`")).collect();
    let more = tenants.len().saturating_sub(named.len());
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

#[cfg(test)]
mod tests {
    use tailwater_agent::doctor::Verdict;

    use super::*;

    #[test]
    fn lines_of_another_time_are_told_as_that() {
        for (called, check, verdict) in [
            (WINDOWS[0].2, CHECK, Verdict::Fine),
            (WINDOWS[1].2, "clock", Verdict::Problem),
            (WINDOWS[2].2, "time range", Verdict::Problem),
            (WINDOWS[3].2, "time range", Verdict::Problem),
        ] {
            let finding = found("fake", 3, called);
            assert_eq!((finding.check, finding.verdict), (check, verdict), "{finding}");
        }
    }

    #[test]
    fn answers_are_read() {
        let answer = |status, text: &str| Answer { status, headers: Default::default(), text: text.to_owned() };
        assert_eq!(names(&answer(200, r#"{"status":"success","data":["a","b"]}"#)), Ok(2));
        assert_eq!(names(&answer(200, r#"{"status":"success"}"#)), Ok(0));
        assert_eq!(names(&answer(401, "no org id")).map_err(|finding| finding.check), Err("access"));
        assert_eq!(names(&answer(500, "broken")).map_err(|finding| finding.check), Err("query"));
        assert!(labels_path(1.5, 2.0).ends_with("labels?start=1500000000&end=2000000000"));
    }

    #[test]
    fn many_tenants_are_counted() {
        let tenants: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
        assert!(shown(&tenants).ends_with("`t9` and 2 more"));
        assert_eq!(shown(&tenants[..2]), "`t0`, `t1`");
    }
}
