//! A restricted answer is the unrestricted one over only what may be seen, whatever is asked.
//!
//! Two engines: one holds everything and is asked under an access, the other holds what the oracle lets through and is asked without any
//! restriction. Restarts of namespaces, pods granted one by one and label policies come at random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::world::{self, points, run};
use proptest::prelude::*;
use tailwater_engine::access::{AllowedNamespaces, AllowedPods, Grant, Incarnations, LabelPolicy};
use tailwater_engine::request::{Direction, TimeRange, VolumeGrouping, VolumeRequest};
use tailwater_engine::{Access, Engine, EngineOptions};
use tailwater_storage::catalog::Catalog;
use tailwater_storage::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};
use tailwater_storage::pairs::Pairs;

const SECOND: i64 = 1_000_000_000;
const END: i64 = 40;
const WHOLE: TimeRange = TimeRange { start: i64::MIN, end: i64::MAX };

/// An entry of a cluster in which namespaces come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    /// The label that holds the namespace, and its value.
    namespace: Option<(&'static str, &'static str)>,
    app: &'static str,
    pod: &'static str,
    uid: Option<&'static str>,
    /// Seconds.
    stamp: i64,
    text: String,
}

impl Line {
    fn labels(&self) -> Pairs {
        Pairs::from_pairs(self.namespace.into_iter().chain([("app", self.app), ("pod", self.pod)]))
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let namespace = prop_oneof![
        8 => prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(|name| Some(("namespace", name))),
        2 => prop_oneof![Just("a"), Just("b")].prop_map(|name| Some(("k8s_namespace_name", name))),
        1 => Just(None),
    ];
    let (app, pod) = (prop_oneof![Just("x"), Just("y")], prop_oneof![Just("p"), Just("q")]);
    let uid = prop_oneof![Just(None), Just(Some("old")), Just(Some("new"))];
    let line = (namespace, app, pod, uid, 0..END, "(err|ok) n=[1-9]").prop_map(|(namespace, app, pod, uid, stamp, text)| Line {
        namespace,
        app,
        pod,
        uid,
        stamp,
        text,
    });
    proptest::collection::vec(line, 0..40)
}

/// What somebody may see, as the test knows it.
#[derive(Debug, Clone)]
struct Rights {
    /// `None`: all.
    namespaces: Option<BTreeMap<&'static str, NamespaceRights>>,
    /// The values of `app` that a policy lets through.
    apps: Option<BTreeSet<&'static str>>,
}

#[derive(Debug, Clone)]
struct NamespaceRights {
    /// UID and second of making; `None`: every namespace of the name.
    present: Option<(&'static str, i64)>,
    pods: Option<BTreeSet<&'static str>>,
}

fn rights() -> impl Strategy<Value = Rights> {
    let present = proptest::option::weighted(0.8, (prop_oneof![Just("new"), Just("old")], 0..END));
    let pods = proptest::option::weighted(0.3, proptest::collection::btree_set(prop_oneof![Just("p"), Just("q")], 0..2));
    let of_namespace = (present, pods).prop_map(|(present, pods)| NamespaceRights { present, pods });
    let names = prop_oneof![Just("a"), Just("b"), Just("nowhere")];
    let namespaces = proptest::option::weighted(0.9, proptest::collection::btree_map(names, of_namespace, 0..3));
    let apps = proptest::option::weighted(0.3, proptest::collection::btree_set(prop_oneof![Just("x"), Just("y")], 0..2));
    (namespaces, apps).prop_map(|(namespaces, apps)| Rights { namespaces, apps })
}

impl Rights {
    /// The oracle.
    fn allow(&self, line: &Line) -> bool {
        if self.apps.as_ref().is_some_and(|apps| !apps.contains(line.app)) {
            return false;
        }
        let Some(namespaces) = &self.namespaces else { return true };
        let Some(rights) = line.namespace.and_then(|(_, name)| namespaces.get(name)) else { return false };
        let is_present = match (rights.present, line.uid) {
            (None, _) => true,
            (Some((uid, _)), Some(carried)) => uid == carried,
            (Some((_, made)), None) => line.stamp > made,
        };
        is_present && rights.pods.as_ref().is_none_or(|pods| pods.contains(line.pod))
    }

    fn access(&self) -> Access {
        let grant = |rights: &NamespaceRights| Grant {
            incarnations: match rights.present {
                Some((uid, made)) => Incarnations::Present { uid: uid.into(), created: made * SECOND },
                None => Incarnations::Every,
            },
            pods: match &rights.pods {
                Some(pods) => AllowedPods::Only(pods.iter().map(|pod| (*pod).to_owned()).collect()),
                None => AllowedPods::Every,
            },
        };
        let namespaces = match &self.namespaces {
            Some(all) => AllowedNamespaces::Only(all.iter().map(|(name, rights)| ((*name).to_owned(), grant(rights))).collect()),
            None => AllowedNamespaces::All,
        };
        let selector = |app: &&str| tailwater_logql::parse_selector(&format!(r#"{{app="{app}"}}"#)).expect("parses");
        let policy = |apps: &BTreeSet<&'static str>| LabelPolicy::new(apps.iter().map(selector).collect()).expect("compiles");
        Access::new(world::tenant(), namespaces).under(self.apps.iter().map(policy).collect())
    }
}

fn push(lines: &[Line]) -> PushBatch {
    let mut streams: BTreeMap<String, StreamEntries> = BTreeMap::new();
    for line in lines {
        let labels = line.labels();
        let stream =
            streams.entry(labels.canonical_text()).or_insert_with(|| StreamEntries::new(Arc::new(StreamLabels::new(labels, None))));
        let pushed = Pairs::from_pairs(line.uid.map(|uid| ("namespace_uid", uid)));
        let handle = stream.intern(Metadata { pushed, derived: Pairs::default() });
        stream.push(line.stamp * SECOND, &line.text, handle);
    }
    PushBatch { tenant: world::tenant(), streams: streams.into_values().collect() }
}

async fn engine(segments: &[Vec<Line>], is_folded: bool) -> Engine {
    let mut world = world::Growing::default();
    for (number, lines) in segments.iter().enumerate() {
        world.add(push(lines), number % 2 == 0).await;
    }
    let catalog: Arc<Catalog> = world.discovered().await;
    if is_folded {
        world::fold(&catalog).await;
    }
    Engine::with_options(catalog, EngineOptions { result_bytes: 1 << 20, ..EngineOptions::new(64 << 20) }).expect("starts")
}

/// One of the two sides that are compared.
struct Side<'s> {
    engine: &'s Engine,
    access: Access,
}

impl Side<'_> {
    async fn logs(&self, query: &str, (start, end): (i64, i64), limit: usize, direction: Direction) -> Vec<(String, i64, String)> {
        let request = world::log_request(query, start * SECOND, end * SECOND, limit, direction);
        let answer = self.engine.logs(&self.access, request, &world::limits()).await.expect(query);
        let entry = |labels: &str, entry: &tailwater_engine::answer::LogEntry| {
            (labels.to_owned(), entry.timestamp, format!("{} {:?}", String::from_utf8_lossy(&entry.line), entry.structured_metadata))
        };
        let streams = answer.streams.iter().map(|stream| (stream.labels.to_string(), &stream.entries));
        streams.flat_map(|(labels, entries)| entries.iter().map(|of| entry(&labels, of)).collect::<Vec<_>>()).collect()
    }

    async fn metric(&self, query: &str, (start, end): (i64, i64), step: i64) -> Vec<(String, i64, f64)> {
        let request = world::metric_request(query, start * SECOND, end * SECOND, step * SECOND);
        points(&self.engine.metrics(&self.access, request, &world::limits()).await.expect(query))
    }

    /// Names, values, series, and what is counted of all of it.
    async fn catalogue(&self, selector: &str) -> String {
        let selector = tailwater_logql::parse_selector(selector).expect("parses");
        let asked = Some(&selector);
        let names = self.engine.label_names(&self.access, asked, WHOLE).await.expect("names");
        let mut values = Vec::new();
        for name in ["namespace", "k8s_namespace_name", "app", "pod"] {
            values.push(self.engine.label_values(&self.access, name, asked, WHOLE).await.expect("values"));
        }
        let series = self.engine.series(&self.access, std::slice::from_ref(&selector), WHOLE).await.expect("series");
        let every = self.engine.series(&self.access, &[], WHOLE).await.expect("series");
        let statistics = self.engine.index_stats(&self.access, &selector, WHOLE).await.expect("counts");
        format!("{names:?} {values:?} {series:?} {every:?} {statistics:?}")
    }

    /// Streams and entries within a range; bytes would be estimates.
    async fn counts(&self, (start, end): (i64, i64)) -> (u64, u64) {
        let selector = tailwater_logql::parse_selector(r#"{app=~".+"}"#).expect("parses");
        let range = TimeRange { start: start * SECOND, end: end * SECOND };
        let counted = self.engine.index_stats(&self.access, &selector, range).await.expect("counts");
        (counted.streams, counted.entries)
    }

    async fn volume(&self, grouping: VolumeGrouping) -> Vec<(String, i64, f64)> {
        let request = VolumeRequest {
            selector: tailwater_logql::parse_selector(r#"{app=~".+"}"#).expect("parses"),
            start: 0,
            end: END * SECOND,
            step: None,
            grouping,
            limit: 100,
            max_groups: 100,
        };
        points(&self.engine.volume(&self.access, request, &world::limits()).await.expect("volume"))
    }
}

const LOG_QUERIES: [&str; 4] = [
    r#"{app=~".+"}"#,
    r#"{pod="p"} |= "err""#,
    r#"{namespace!="b", app=~"x|y"} | logfmt | n > 4"#,
    r#"{namespace=~".*", app!~"z.*", pod=~".+"} | namespace_uid != """#,
];

/// Every leg reads, each in another way: tables, stamps, lines, metadata.
const METRIC_QUERIES: [&str; 9] = [
    r#"sum by (namespace, app) (count_over_time({app=~".+"}[7s]))"#,
    r#"bytes_over_time({app=~".+"}[10s])"#,
    r#"sum by (namespace_uid) (count_over_time({app=~".+"}[9s] offset 3s))"#,
    r#"sum(rate({app="x"} |= "err" [10s])) / sum(rate({namespace=~"a|b|c"}[10s]))"#,
    r#"sum by (pod) (count_over_time({app="x"}[5s])) or sum by (pod) (bytes_over_time({namespace="b"}[20s]))"#,
    r#"absent_over_time({namespace="b", app="y"}[10s])"#,
    r#"topk(2, sum by (app, pod) (sum_over_time({app=~".+"} | logfmt | unwrap n [15s])))"#,
    r#"variants(count_over_time({app=~".+"}[8s]), bytes_over_time({app=~".+"}[8s])) of ({app=~".+"}[8s])"#,
    r#"sum(count_over_time({namespace="a"}[1m])) unless sum(count_over_time({namespace="c"}[1m]))"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_restricted_answer_is_that_over_what_may_be_seen(
        segments in proptest::collection::vec(lines(), 1..4), rights in rights(), is_folded in any::<bool>(),
        start in 0..END, length in 1..END, step in 1i64..9, limit in 1usize..30, forward in any::<bool>(),
    ) {
        run(async {
            let allowed: Vec<Vec<Line>> =
                segments.iter().map(|lines| lines.iter().filter(|line| rights.allow(line)).cloned().collect()).collect();
            let (whole, alone) = (engine(&segments, is_folded).await, engine(&allowed, is_folded).await);
            let everybody = Side { engine: &whole, access: world::everything() };
            let (seen, truth) = (Side { engine: &whole, access: rights.access() }, Side { engine: &alone, access: world::everything() });
            let (range, direction) = ((start, start + length), if forward { Direction::Forward } else { Direction::Backward });
            for query in LOG_QUERIES {
                prop_assert_eq!(seen.logs(query, range, limit, direction).await, truth.logs(query, range, limit, direction).await, "{}", query);
            }
            for query in METRIC_QUERIES {
                // What is kept of another's results must not show.
                everybody.metric(query, range, step).await;
                for _ in 0..2 {
                    prop_assert_eq!(seen.metric(query, range, step).await, truth.metric(query, range, step).await, "{}", query);
                }
            }
            for selector in [r#"{app=~".+"}"#, r#"{namespace=~"a|b"}"#, r#"{pod="p", namespace!="a"}"#] {
                prop_assert_eq!(seen.catalogue(selector).await, truth.catalogue(selector).await, "{}", selector);
            }
            prop_assert_eq!(seen.counts(range).await, truth.counts(range).await);
            for grouping in [VolumeGrouping::Series { targets: vec!["app".to_owned()] }, VolumeGrouping::LabelNames { targets: Vec::new() }] {
                prop_assert_eq!(seen.volume(grouping.clone()).await, truth.volume(grouping).await);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn who_may_see_everything_pays_nothing_for_incarnations() {
    let line = |uid, stamp| Line { namespace: Some(("namespace", "a")), app: "x", pod: "p", uid, stamp, text: "ok n=1".to_owned() };
    let engine = engine(&[vec![line(Some("old"), 1), line(None, 2), line(Some("new"), 3)]], true).await;
    let plan = async |access: &Access, query: &str| {
        let request = world::metric_request(query, 10 * SECOND, 10 * SECOND, SECOND);
        engine.explain_metric(access, &request, &world::limits()).await.expect("plans")
    };
    let query = r#"sum(count_over_time({app="x"}[1m]))"#;
    assert!(plan(&world::everything(), query).await.contains("pages=0"), "counted from tables");
    let of = |uid: &str| {
        Rights {
            namespaces: Some(BTreeMap::from([(
                "a",
                NamespaceRights { present: Some((if uid == "new" { "new" } else { "old" }, 0)), pods: None },
            )])),
            apps: None,
        }
        .access()
    };
    assert!(plan(&of("new"), query).await.contains("pages=1"), "rows are looked at where incarnations share a span");
    let whole = Access::new(world::tenant(), AllowedNamespaces::Only(BTreeMap::from([("a".to_owned(), Grant::whole())])));
    assert!(plan(&whole, query).await.contains("pages=0"));
}
