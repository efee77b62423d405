//! Objects that another process replaced and deleted while this one held to what it had seen: a question is begun again, and its answer is the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailwater_engine::answer::{LogAnswer, MetricValue};
use tailwater_engine::request::{ContextRequest, Direction, PageRequest, TimeRange, VolumeGrouping, VolumeRequest};
use tailwater_engine::{Engine, Scope};
use tailwater_logql::parse_any_selector;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::tolerance::Tolerance;

use crate::world::{self, Entry, Growing, entries, run};

const EVERYTHING: &str = r#"{namespace="n"}"#;
const SEGMENTS: i64 = 4;
const ENTRIES: i64 = 50;
const END: i64 = SEGMENTS * ENTRIES;

fn segment(number: i64) -> Vec<Entry> {
    let stamps = number * ENTRIES..(number + 1) * ENTRIES;
    stamps.map(|stamp| Entry::new("n", if stamp % 2 == 0 { "a" } else { "b" }, stamp, &format!("line {stamp}"))).collect()
}

/// Two data files and two segments, none of whose rows are in memory; and a catalog that has opened all of them, and reads pages from the store.
async fn stored() -> (Growing, Arc<Catalog>) {
    let mut world = Growing::default();
    for number in 0..SEGMENTS {
        world.add(world::push(&segment(number)), false).await;
        if number < 2 {
            world::fold(&world.discovered().await).await;
        }
    }
    let stale = world.reopened().await;
    stale.snapshot(&world::tenant(), &[(0, END)], &Tolerance::default()).await.expect("opens the files");
    (world, stale)
}

fn lines(answer: &LogAnswer) -> Vec<String> {
    entries(answer).into_iter().map(|(.., line)| line).collect()
}

/// What each kind of question finds, as text.
async fn answers(engine: &Engine, scope: &Scope, kind: usize) -> String {
    let log = world::log_request(EVERYTHING, 0, END, 1000, Direction::Backward);
    let range = TimeRange { start: 0, end: END };
    let selector = parse_any_selector(EVERYTHING).expect("parses");
    let limits = world::limits();
    match kind {
        0 => format!("{:?}", lines(&engine.logs(scope, log, &limits).await.expect("lines"))),
        1 => {
            let query = r#"sum by (app) (count_over_time({namespace="n"} |= "line" [1h]))"#;
            let answer = engine.metrics(scope, world::metric_request(query, END, END, 1), &limits).await.expect("sums");
            format!("{:?}", world::points(&answer))
        }
        2 => {
            let page = engine.page(scope, PageRequest { log, after: None }, &limits).await.expect("a page");
            format!("{:?}", lines(&page.answer()))
        }
        3 => {
            let request =
                ContextRequest { log: world::log_request(EVERYTHING, 90, 95, 10, Direction::Backward), before: 3, after: 3, reach: 50 };
            let answer = engine.context(scope, request, &limits).await.expect("neighbours");
            format!("{:?} {:?}", lines(&answer.found), answer.neighbours)
        }
        4 => {
            let half = TimeRange { start: ENTRIES / 2, end: END - ENTRIES / 2 };
            format!("{:?}", engine.index_stats(scope, &selector, half).await.expect("statistics").entries)
        }
        _ => {
            let grouping = VolumeGrouping::Series { targets: Vec::new() };
            let request = VolumeRequest { selector, start: range.start, end: range.end, step: None, grouping, limit: 100, max_groups: 100 };
            let MetricValue::Series(series) = engine.volume(scope, request, &limits).await.expect("volumes").value else {
                panic!("series")
            };
            format!("{:?}", series.iter().map(|series| series.points.clone()).collect::<Vec<_>>())
        }
    }
}

#[test]
fn a_question_whose_objects_were_replaced_is_begun_again() {
    run(async {
        for kind in 0..6 {
            for is_partial in [false, true] {
                let (world, stale) = stored().await;
                let tolerance = if is_partial { Tolerance::of_damage() } else { Tolerance::default() };
                let scope = Scope::from(world::everything()).tolerating(tolerance.clone());
                let engine = || Engine::new(stale.clone(), 64 << 20).expect("starts");
                let expected = answers(&engine(), &scope, kind).await;
                world.compacted_elsewhere().await;
                let engine = engine();
                assert_eq!(answers(&engine, &scope, kind).await, expected, "question {kind}, partial: {is_partial}");
                // Volumes are told from tables, which are in memory.
                assert_eq!(engine.restarted(), u64::from(kind < 5), "question {kind}, partial: {is_partial}");
                assert_eq!(tolerance.warnings(), Vec::<String>::new());
            }
        }
    });
}

#[test]
fn pages_go_on_where_objects_were_replaced_between_them() {
    run(async {
        for direction in [Direction::Backward, Direction::Forward] {
            let (world, stale) = stored().await;
            let engine = Engine::new(stale, 64 << 20).expect("starts");
            let log = world::log_request(EVERYTHING, 0, END, 30, direction);
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page =
                    engine.page(&world::everything(), PageRequest { log: log.clone(), after }, &world::limits()).await.expect("a page");
                found.extend(page.entries.iter().map(|listed| listed.entry.timestamp));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
                if found.len() == 60 {
                    world.compacted_elsewhere().await;
                }
            }
            let distinct: BTreeSet<i64> = found.iter().copied().collect();
            assert_eq!((found.len(), distinct), (END as usize, (0..END).collect()), "each line once");
            assert_eq!(engine.restarted(), 1);
        }
    });
}

#[test]
fn an_object_that_the_manifest_names_and_the_store_lost_is_an_error_at_once() {
    run(async {
        let (world, stale) = stored().await;
        let lost = world.objects().await.into_iter().find(|key| key.contains("/data/")).expect("a data file");
        world.delete(&lost).await;
        let engine = Engine::new(stale, 64 << 20).expect("starts");
        let log = world::log_request(EVERYTHING, 0, END, 1000, Direction::Backward);
        let error = engine.logs(&world::everything(), log, &world::limits()).await.expect_err("lines are missing").to_string();
        assert!(error.contains(&lost), "{error}");
        assert_eq!(engine.restarted(), 0);
    });
}
