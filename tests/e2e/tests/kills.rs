//! `kill -9` of agent and aggregator at random moments under load: nothing is missing, nothing is double.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tailwater_e2e::agent::Agent;
use tailwater_e2e::chain::{Chain, Hops, PATIENCE, Store, report_run, tree_options, write_tree_beside};
use tailwater_e2e::drill::{Folder, drill, report, tree_bytes};
use tailwater_e2e::random::Random;
use tailwater_podwriter::BatchOptions;

const KILLS_OF_EACH: usize = 10;
/// How long the tree takes to be written, so that there is load at every kill.
const WRITING_SECONDS: f64 = 90.0;
const BYTES_A_LINE: f64 = 250.0;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(4000);
/// What a frozen aggregator answered before it froze is past the proxy by then.
const SETTLED: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Aggregator,
}

/// Kills one program; returns how many pushes were sent and not acknowledged at that moment.
async fn kill(victim: Victim, chain: &mut Chain, agent: &mut Agent) -> Result<usize> {
    let (before, behind) = chain.counted.clone().context("the chain counts no pushes")?;
    // Frozen first, so that the count is that of the moment of death.
    let in_flight = match victim {
        Victim::Agent => {
            agent.process().signal(Signal::SIGSTOP)?;
            let in_flight = before.in_flight_since(Instant::now());
            agent.kill_now()?;
            in_flight
        }
        Victim::Aggregator => {
            chain.aggregator.process().signal(Signal::SIGSTOP)?;
            let frozen = Instant::now();
            tokio::time::sleep(SETTLED).await;
            let in_flight = behind.in_flight_since(frozen);
            chain.aggregator.kill_now()?;
            in_flight
        }
    };
    Ok(in_flight)
}

async fn kills(folder: Folder) -> Result<()> {
    let mut random = Random::of_this_run();
    let pods = folder.below("pods")?;
    let bytes = tree_bytes(300 << 20);
    let options = tree_options(&pods, random.draw() >> 32, bytes);
    let mut chain = Chain::start(&folder, Store::S3, Hops::Counted).await?;
    let mut agent = chain.agent(&pods).await?;
    let started = Instant::now();
    let writing = write_tree_beside(BatchOptions { pace: Some(bytes as f64 / BYTES_A_LINE / WRITING_SECONDS), ..options });
    let mut victims = [[Victim::Agent; KILLS_OF_EACH], [Victim::Aggregator; KILLS_OF_EACH]].concat();
    random.shuffle(&mut victims);
    let (mut hit, mut hits_of_agent, mut under_load) = (0, 0, 0);
    for (index, victim) in victims.iter().enumerate() {
        // The moment of the fault: the one wait that waits for nothing.
        tokio::time::sleep(random.duration(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        let is_written = writing.is_finished();
        let in_flight = kill(*victim, &mut chain, &mut agent).await?;
        println!(
            "kill {:2} at {:5.1} s: {victim:?}, {in_flight} pushes sent and not acknowledged{}",
            index + 1,
            started.elapsed().as_secs_f64(),
            if is_written { ", after the last line was written" } else { "" }
        );
        hit += in_flight;
        hits_of_agent += if *victim == Victim::Agent { in_flight } else { 0 };
        under_load += usize::from(!is_written);
        match victim {
            Victim::Agent => agent.start_again()?,
            Victim::Aggregator => chain.aggregator.start_again()?,
        }
        chain.aggregator.ready().await?;
        agent.ready().await?;
    }
    let manifest = writing.join().map_err(|_| anyhow::anyhow!("the writer of the tree panicked"))??;
    agent.acknowledged(manifest.file_bytes, PATIENCE).await?;
    report_run("kills", &manifest, started.elapsed(), &agent, &chain.aggregator)?;
    let (before, behind) = chain.counted.clone().context("the chain counts no pushes")?;
    report(&format!(
        "kills: {} of each program, {under_load} while lines were written; {hit} pushes were sent and not acknowledged at a kill ({} of them at \
         a kill of the aggregator); {} pushes came to the gateway, {} to the aggregator",
        KILLS_OF_EACH,
        hit - hits_of_agent,
        before.pushes(),
        behind.pushes()
    ));
    chain.compare(&manifest).await?.require_exact()?;
    chain.aggregator.compacted(PATIENCE).await?;
    chain.compare(&manifest).await?.require_exact()?;
    ensure!(hit > 0, "no kill hit a push in flight: the drill proves nothing");
    Ok(())
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    drill("kills", kills);
}
