//! The oracle can fail: chains that are broken on purpose must not come out exact, and it must say how.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use anyhow::{Context, Result, ensure};
use tailwater_e2e::chain::{Chain, Hops, PATIENCE, Store, tree_options, write_tree};
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::faulty_proxy::Fault;
use tailwater_e2e::oracle::Verdict;

const TREE_BYTES: u64 = 24 << 20;

/// Ships a tree over a broken hop; returns what the oracle says and how many faults there were.
async fn broken(folder: &Folder, fault: Fault) -> Result<(Verdict, u64)> {
    let pods = folder.below("pods")?;
    let manifest = write_tree(&tree_options(&pods, 4, TREE_BYTES))?;
    let chain = Chain::start(folder, Store::Folder, Hops::Faulty(fault)).await?;
    let mut agent = chain.agent(&pods).await?;
    agent.acknowledged(manifest.file_bytes, PATIENCE).await?;
    let verdict = chain.compare(&manifest).await?;
    let proxy = chain.faulty.as_ref().context("the chain has no broken hop")?;
    ensure!(proxy.faults() > 0, "no fault happened in {} pushes", proxy.pushes());
    let first = verdict.differences.first().map_or("exact", String::as_str);
    report(&format!("planted fault {fault:?}: {} faults in {} pushes, the oracle says: {first}", proxy.faults(), proxy.pushes()));
    Ok((verdict, proxy.faults()))
}

fn require_difference(verdict: &Verdict, text: &str) -> Result<()> {
    let found = verdict.differences.iter().any(|difference| difference.starts_with("all lines") && difference.contains(text));
    ensure!(found, "the oracle did not see that lines are {text}; it says {:?}", verdict.differences);
    Ok(())
}

#[test]
fn an_acknowledgement_before_the_data_is_stored_is_seen() {
    drill("fault-early-ack", |folder| async move {
        let (verdict, _) = broken(&folder, Fault::AcknowledgeUnstored { every: 5 }).await?;
        require_difference(&verdict, "missing")
    });
}

#[test]
fn a_replay_that_differs_is_seen() {
    drill("fault-other-replay", |folder| async move {
        let (verdict, faults) = broken(&folder, Fault::LoseAnswerAndAlterRetry { every: 5 }).await?;
        require_difference(&verdict, &format!("{faults} too many"))
    });
}

#[test]
fn altered_text_is_seen() {
    drill("fault-altered-text", |folder| async move {
        let (verdict, faults) = broken(&folder, Fault::AlterText { every: 5 }).await?;
        let expected = format!("{faults} missing");
        let found = verdict.differences.iter().any(|difference| difference.starts_with("all bytes") && difference.ends_with(&expected));
        ensure!(found, "the oracle did not see altered lines; it says {:?}", verdict.differences);
        Ok(())
    });
}

/// The control: lost answers and the gateway's own retries break no promise, so all must be exact.
#[test]
fn lost_answers_alone_leave_all_exact() {
    drill("fault-lost-answers", |folder| async move {
        let (verdict, _) = broken(&folder, Fault::LoseAnswer { every: 5 }).await?;
        verdict.require_exact()
    });
}
