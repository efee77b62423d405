//! Volume against the sum of line lengths.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{self, Entry, run};
use proptest::prelude::*;
use tailwater_engine::answer::{MetricValue, Series};
use tailwater_engine::request::{VolumeGrouping, VolumeRequest};
use tailwater_engine::{Access, Engine};
use tailwater_storage::pairs::Pairs;

const END: i64 = 50;

async fn volume(engine: &Engine, access: &Access, step: Option<i64>) -> Vec<Series> {
    let request = VolumeRequest {
        selector: tailwater_logql::parse_selector(r#"{app=~".+"}"#).expect("parses"),
        start: 0,
        end: END,
        step,
        grouping: VolumeGrouping::Series { targets: Vec::new() },
        limit: 100,
        max_groups: 100,
    };
    match engine.volume(access, request, &world::limits()).await.expect("answers").value {
        MetricValue::Series(series) => series,
        MetricValue::Scalar(value) => panic!("{value} is no series"),
    }
}

fn totals(series: &[Series]) -> BTreeMap<String, f64> {
    series.iter().map(|series| (series.labels.to_string(), series.points.iter().map(|point| point.value).sum())).collect()
}

/// Entries that are each in one segment, some of them pushed to it twice.
fn segments() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entry = ("[ab]", "[xy]", 0..END, "[a-z]{0,12}")
        .prop_map(|(namespace, app, timestamp, line)| Entry::new(&namespace, &app, timestamp, &line));
    proptest::collection::vec((entry, 0usize..3), 0..60).prop_map(|entries| {
        let mut seen = BTreeSet::new();
        let mut segments = vec![Vec::new(); 3];
        for (entry, segment) in entries {
            if seen.insert(entry.clone()) {
                segments[segment].extend([entry.clone(), entry]);
            }
        }
        segments
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn volume_is_the_bytes_of_lines_that_may_be_seen(segments in segments(), step in 1i64..20, is_folded in any::<bool>()) {
        run(async {
            let catalog = world::catalog(&segments, true).await;
            if is_folded {
                world::fold(&catalog).await;
            }
            let engine = Engine::new(catalog, 64 << 20).expect("starts");
            for access in [world::everything(), world::only(&["a"])] {
                let mut expected: BTreeMap<String, f64> = BTreeMap::new();
                let truth = world::distinct(&segments);
                for entry in truth.iter().filter(|entry| access.of_stream(&Pairs::from_pairs([("namespace", &entry.namespace)])).is_some()) {
                    *expected.entry(format!("{{app=\"{}\"}}", entry.app)).or_insert(0.0) += entry.line.len() as f64;
                }
                prop_assert_eq!(totals(&volume(&engine, &access, None).await), expected.clone());
                let stepped = volume(&engine, &access, Some(step)).await;
                for (labels, total) in totals(&stepped) {
                    let rounding = 0.5 * (END / step + 1) as f64;
                    prop_assert!((total - expected[&labels]).abs() <= rounding, "{labels}: {total} is not {}", expected[&labels]);
                }
                prop_assert_eq!(stepped.len(), expected.len());
                for point in stepped.iter().flat_map(|series| &series.points) {
                    prop_assert!(point.timestamp == END || (point.timestamp + 1_000_000).rem_euclid(step) == 0);
                }
            }
            Ok(())
        })?;
    }
}
