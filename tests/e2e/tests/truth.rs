//! What went in comes out: a tree of pod logs through agent, gateway and aggregator, then every number of its manifest.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::time::Instant;

use anyhow::Result;
use tailwater_e2e::chain::{Chain, Hops, PATIENCE, Store, report_run, tree_options, write_tree};
use tailwater_e2e::drill::{Folder, drill, tree_bytes};
use tailwater_podwriter::{BatchOptions, TreeOptions};

/// Ships a whole tree, compares, and does both programs' graceful stop and a second start of the aggregator.
async fn ship(name: &str, folder: Folder, store: Store, options: impl FnOnce(&std::path::Path) -> BatchOptions) -> Result<()> {
    let pods = folder.below("pods")?;
    let manifest = write_tree(&options(&pods))?;
    let mut chain = Chain::start(&folder, store, Hops::None).await?;
    let started = Instant::now();
    let mut agent = chain.agent(&pods).await?;
    agent.acknowledged(manifest.file_bytes, PATIENCE).await?;
    report_run(name, &manifest, started.elapsed(), &agent, &chain.aggregator)?;
    chain.compare(&manifest).await?.require_exact()?;
    chain.aggregator.compacted(PATIENCE).await?;
    chain.compare(&manifest).await?.require_exact()?;
    agent.stop().await?;
    chain.aggregator.stop().await?;
    chain.aggregator.start_again()?;
    chain.aggregator.ready().await?;
    println!("the same after a new start of the aggregator:");
    chain.compare(&manifest).await?.require_exact()
}

#[test]
fn a_tree_is_stored_exactly_on_s3() {
    drill("truth-s3", |folder| ship("truth, S3", folder, Store::S3, |pods| tree_options(pods, 1, tree_bytes(300 << 20))));
}

#[test]
fn a_tree_is_stored_exactly_in_a_folder() {
    drill("truth-folder", |folder| {
        ship("truth, folder", folder, Store::Folder, |pods| tree_options(pods, 2, tree_bytes(60 << 20).min(60 << 20)))
    });
}

#[test]
fn lines_that_are_equal_in_stamp_and_text_are_all_stored() {
    drill("equal-stamps", |folder| {
        ship("equal stamps, S3", folder, Store::S3, |pods| {
            let options = tree_options(pods, 3, tree_bytes(300 << 20));
            let tree = TreeOptions { repeat_share: 0.05, ..options.tree };
            // A millisecond holds several lines of a container at this rate.
            BatchOptions { tree, stamp_granularity: 1_000_000, lines_per_second: 50_000.0, ..options }
        })
    });
}
