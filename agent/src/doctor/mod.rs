//! `tailwater-agent doctor`: why are there no logs?
//!
//! Looks at everything a line passes on its way, from the file to the receiver, changes nothing, and tells what it saw: each check with its evidence, and
//! what to do where something is wrong. A check that could not be made says so; none of them waits for longer than a few seconds.

pub mod clock;
mod cluster;
mod finding;
mod node;
pub mod reach;
mod receiver;

pub use finding::{Finding, Verdict};

use crate::config::Config;
use crate::push::receiver::ClientConfig;

/// All findings, in the order of a line's way.
pub async fn examine(config: &Config) -> Vec<Finding> {
    crate::starting::install_crypto();
    let mut findings = node::examine(config);
    findings.extend(cluster::examine(config).await);
    for client in clients(config) {
        findings.extend(receiver::examine(&client).await);
    }
    findings
}

fn clients(config: &Config) -> Vec<ClientConfig> {
    match &config.promtail {
        Some(promtail) => promtail.clients.iter().map(|client| client.config.clone()).collect(),
        None => std::iter::once(&config.client).chain(&config.more_clients).cloned().collect(),
    }
}

/// The findings as text, and whether something is wrong.
pub fn report(findings: &[Finding]) -> (String, bool) {
    let mut text: String = findings.iter().map(ToString::to_string).collect();
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    text.push_str(&match (problems, warnings) {
        (0, 0) => "everything looks right\n".to_owned(),
        (problems, warnings) => format!("{problems} problems, {warnings} warnings\n"),
    });
    // What comes later on a line's way may be wrong because of it.
    if let Some(first) = findings.iter().find(|finding| finding.verdict == Verdict::Problem) {
        text.push_str(&format!("first broken: {}: {}\n", first.check, first.evidence));
    }
    (text, problems > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_broken_step_is_told_as_such() {
        let fine = Finding::fine("dns", "a name");
        let warning = Finding::warning("clock", "1 s behind", "set it");
        let (first, second) = (Finding::problem("tls", "no authority", "give one"), Finding::problem("access", "401", "log in"));
        let (text, is_wrong) = report(&[fine.clone(), warning.clone(), first, second]);
        assert!(is_wrong && text.ends_with("2 problems, 1 warnings\nfirst broken: tls: no authority\n"), "{text}");
        assert_eq!(report(&[fine.clone(), warning]).0.lines().last(), Some("0 problems, 1 warnings"));
        assert_eq!(report(&[fine]).0.lines().last(), Some("everything looks right"));
    }
}
