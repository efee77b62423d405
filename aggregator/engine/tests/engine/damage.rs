//! Objects that are damaged or gone: a query fails and names them, or, if it was asked to, is answered without them and says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use tailwater_engine::answer::MetricValue;
use tailwater_engine::request::{Direction, TimeRange, VolumeGrouping, VolumeRequest};
use tailwater_engine::{Engine, EngineOptions, QueryError, Scope};
use tailwater_logql::parse_any_selector;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::tolerance::Tolerance;

use crate::world::{self, Entry, Growing, entries, run};

/// Entries of each segment; those of different segments have stamps in common, and no entry.
const SEGMENTS: usize = 4;
const ENTRIES: i64 = 40;
const MILLISECOND: i64 = 1_000_000;
/// After the last of them.
const END: i64 = ENTRIES * MILLISECOND;

fn segment(number: usize) -> Vec<Entry> {
    let entry = |stamp| Entry {
        trace: (stamp % 3 == 0).then(|| format!("trace{stamp}")),
        ..Entry::new("n", if stamp % 2 == 0 { "a" } else { "b" }, stamp * MILLISECOND, &format!("segment {number} line {stamp}"))
    };
    (0..ENTRIES).map(entry).collect()
}

/// Segments of another writer; the first of them folded into a data file, if so wanted.
async fn stored(folded: usize) -> Growing {
    let mut world = Growing::default();
    for number in 0..SEGMENTS {
        if number == folded && folded > 0 {
            world::fold(&world.discovered().await).await;
        }
        world.add(world::push(&segment(number)), false).await;
    }
    world
}

/// Which segments' rows stand in an object.
fn segments_of(key: &str, folded: usize) -> Vec<usize> {
    match key.rsplit_once('/').and_then(|(_, name)| usize::from_str_radix(name.strip_suffix(".parquet")?, 16).ok()) {
        Some(sequence) if key.contains("/seg/") => vec![sequence],
        _ => (0..folded).collect(),
    }
}

fn engine(catalog: &Arc<Catalog>) -> Engine {
    Engine::with_options(catalog.clone(), EngineOptions { result_bytes: 1 << 20, ..EngineOptions::new(64 << 20) }).expect("starts")
}

/// The lines that a log query finds, and its warnings.
async fn lines(engine: &Engine, scope: &Scope, query: &str, limit: usize) -> Result<(BTreeSet<String>, Vec<String>), QueryError> {
    let answer = engine.logs(scope, world::log_request(query, 0, END, limit, Direction::Backward), &world::limits()).await?;
    Ok((entries(&answer).into_iter().map(|(.., line)| line).collect(), answer.warnings))
}

/// The sum of a metric query's points, and its warnings.
async fn sum(engine: &Engine, scope: &Scope, query: &str) -> Result<(u64, Vec<String>), QueryError> {
    let answer = engine.metrics(scope, world::metric_request(query, END, END, 1), &world::limits()).await?;
    let MetricValue::Series(series) = &answer.value else { panic!("`{query}` has series") };
    Ok((series.iter().flat_map(|series| &series.points).map(|point| point.value as u64).sum(), answer.warnings))
}

const EVERYTHING: &str = r#"{namespace="n"}"#;
/// Questions that read different columns: none, stamps, lengths, lines, metadata.
const SUMS: [&str; 4] = [
    r#"sum(count_over_time({namespace="n"}[1h]))"#,
    r#"sum(count_over_time({namespace="n"} |= "line" [25ms]))"#,
    r#"sum(bytes_over_time({namespace="n"}[25ms]))"#,
    r#"sum by (trace_id) (count_over_time({namespace="n"} | trace_id != "" [1h]))"#,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_an_error_or_costs_no_more_than_its_object(
        folded in prop_oneof![Just(0usize), 1..SEGMENTS], object: prop::sample::Index, at in 0.0..1.0,
    ) {
        run(async {
            let world = stored(folded).await;
            let mut sums = Vec::new();
            for query in SUMS {
                sums.push(sum(&engine(&world.reopened().await), &world::everything().into(), query).await.expect("reads").0);
            }
            let objects = world.objects().await;
            // A data file stands beside the segments that it was made of.
            let folded_segments: BTreeSet<usize> = (0..folded).collect();
            let visible: Vec<&String> = objects
                .iter()
                .filter(|key| !key.contains("/seg/") || !segments_of(key, folded).iter().all(|segment| folded_segments.contains(segment)))
                .collect();
            let damaged = visible[object.index(visible.len())];
            let lost = segments_of(damaged, folded);
            world.damage(damaged, at).await;

            let engine = engine(&world.reopened().await);
            let lines_of = |numbers: &mut dyn Iterator<Item = usize>| -> BTreeSet<String> {
                numbers.flat_map(segment).map(|entry| entry.line).collect()
            };
            let (whole, rest) = (lines_of(&mut (0..SEGMENTS)), lines_of(&mut (0..SEGMENTS).filter(|number| !lost.contains(number))));

            // By default: all of it, or an error that names the object.
            match lines(&engine, &world::everything().into(), EVERYTHING, 1000).await {
                Ok((found, warnings)) => {
                    prop_assert_eq!(found, whole.clone());
                    prop_assert!(warnings.is_empty());
                }
                Err(error) => prop_assert!(error.to_string().contains(damaged.as_str()), "{}", error),
            }
            // If asked to: what is left at least, and who lacks anything says so.
            let scope = || Scope::from(world::everything()).tolerating(Tolerance::of_damage());
            let (found, warnings) = lines(&engine, &scope(), EVERYTHING, 1000).await.expect("passes over it");
            prop_assert!(found.is_subset(&whole) && found.is_superset(&rest), "{} of {}", found.len(), whole.len());
            prop_assert!(found == whole || warnings.iter().any(|warning| warning.contains(damaged.as_str())), "{:?}", warnings);
            for (query, of_all) in SUMS.into_iter().zip(sums) {
                let (sum, warnings) = sum(&engine, &scope(), query).await.expect("passes over it");
                prop_assert!(sum <= of_all, "{}: {} of {}", query, sum, of_all);
                prop_assert!(sum == of_all || warnings.iter().any(|warning| warning.contains(damaged.as_str())), "{}: {:?}", query, warnings);
            }
            Ok(())
        })?;
    }
}

#[test]
fn an_object_that_is_gone_is_passed_over_if_asked_for() {
    run(async {
        let world = stored(2).await;
        let file = world.objects().await.into_iter().find(|key| key.contains("/data/")).expect("a data file");
        world.delete(&file).await;
        let engine = engine(&world.reopened().await);
        let error = lines(&engine, &world::everything().into(), EVERYTHING, 1000).await.expect_err("lines are missing");
        assert!(error.to_string().contains(&file), "{error}");
        let tolerance = Tolerance::of_damage();
        let scope = Scope::from(world::everything()).tolerating(tolerance.clone());
        let (found, warnings) = lines(&engine, &scope, EVERYTHING, 1000).await.expect("passes over it");
        assert_eq!(found, (2..SEGMENTS).flat_map(segment).map(|entry| entry.line).collect());
        assert_eq!((warnings.len(), warnings == tolerance.warnings()), (1, true));

        let range = TimeRange { start: 0, end: END };
        assert_eq!(engine.label_values(&scope, "app", None, range).await.expect("passes over it"), ["a", "b"]);
        let selector = parse_any_selector(EVERYTHING).expect("parses");
        let stats = engine.index_stats(&scope, &selector, range).await.expect("passes over it");
        assert_eq!(stats.entries, 2 * ENTRIES as u64);
        let request = VolumeRequest {
            selector,
            start: 0,
            end: END,
            step: None,
            grouping: VolumeGrouping::LabelNames { targets: vec!["namespace".to_owned()] },
            limit: 10,
            max_groups: 10,
        };
        assert_eq!(engine.volume(&scope, request, &world::limits()).await.expect("passes over it").warnings, warnings);
    });
}

/// The newest entries are those of the pages that can be read whole: lines are looked at before a row is chosen.
#[test]
fn a_limit_is_filled_with_what_can_be_read() {
    run(async {
        for tenths in 0..10 {
            let world = stored(0).await;
            let newest = world.objects().await.pop().expect("segments");
            world.damage(&newest, f64::from(tenths) / 10.0).await;
            let engine = engine(&world.reopened().await);
            let scope = Scope::from(world::everything()).tolerating(Tolerance::of_damage());
            let (found, _) = lines(&engine, &scope, EVERYTHING, 6).await.expect("passes over it");
            assert_eq!(found.len(), 6, "damaged at {tenths} of 10");
        }
    });
}

/// What was computed without an object is not taken for the whole later.
#[test]
fn partial_results_are_not_kept() {
    run(async {
        let world = stored(0).await;
        let object = world.objects().await.remove(0);
        let engine = engine(&world.reopened().await);
        let query = r#"sum(count_over_time({namespace="n"} |= "line" [1h]))"#;
        let all = SEGMENTS as u64 * ENTRIES as u64;
        let mut partial_answers = 0;
        for hundredths in 0..100 {
            world.damage(&object, f64::from(hundredths) / 100.0).await;
            let scope = Scope::from(world::everything()).tolerating(Tolerance::of_damage());
            let (sum_of_some, warnings) = sum(&engine, &scope, query).await.expect("passes over it");
            assert!(sum_of_some == all || !warnings.is_empty(), "{sum_of_some} of {all}");
            assert_eq!(engine.result_counters().bytes, 0);
            partial_answers += usize::from(sum_of_some < all);
            // The same flip again mends it.
            world.damage(&object, f64::from(hundredths) / 100.0).await;
        }
        assert!(partial_answers > 0, "some of the flips are in what the query reads");
        assert_eq!(sum(&engine, &world::everything().into(), query).await.expect("reads"), (all, Vec::new()));
    });
}
