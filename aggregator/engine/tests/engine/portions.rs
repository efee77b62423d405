//! Pages put together are the whole answer, whatever is pushed and folded between them; neighbours are those of the stream.

use std::collections::BTreeSet;

use crate::world::{self, Entry, Growing, run};
use proptest::prelude::*;
use tailwater_engine::answer::{ListedEntry, LogEntry};
use tailwater_engine::request::{ContextRequest, Direction, EqualStamps, LogRequest, PageRequest};
use tailwater_engine::{Access, Engine};

/// (labels, stamp, line).
type Shown = (String, i64, String);

fn shown(listed: &ListedEntry) -> Shown {
    (listed.labels.to_string(), listed.entry.timestamp, text(&listed.entry))
}

fn text(entry: &LogEntry) -> String {
    String::from_utf8_lossy(&entry.line).into_owned()
}

/// Few stamps, so that many entries tie.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = ("[ab]", "[xyz]", 0i64..6, "(err|ok)[0-9]{1,2}")
        .prop_map(|(namespace, app, stamp, line)| Entry::new(&namespace, &app, stamp, &line));
    proptest::collection::vec(entry, 0..40)
}

fn request(query: &str, limit: usize, forward: bool) -> LogRequest {
    let direction = if forward { Direction::Forward } else { Direction::Backward };
    LogRequest { equal_stamps: EqualStamps::InArrivalOrder, ..world::log_request(query, 0, 6, limit, direction) }
}

const QUERIES: [&str; 3] =
    [r#"{app=~".+"}"#, r#"{app=~".+"} |= "err""#, r#"{namespace="a"} | regexp "(?P<n>[0-9]+)" | n > 30 | line_format "{{.n}}""#];

/// Reads all pages; `between` is called after each.
async fn paged(engine: &Engine, access: &Access, log: &LogRequest, mut between: impl AsyncFnMut()) -> Vec<Shown> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let request = PageRequest { log: log.clone(), after };
        let page = engine.page(access, request, &world::limits()).await.expect("a page");
        assert!(page.next.is_none() || page.entries.len() >= log.limit, "a page is short");
        all.extend(page.entries.iter().map(shown));
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
        between().await;
    }
}

/// What a plain query with no limit finds.
async fn unlimited(engine: &Engine, log: &LogRequest) -> Vec<Shown> {
    let request = LogRequest { limit: usize::MAX, ..log.clone() };
    let answer = engine.logs(&world::everything(), request, &world::limits()).await.expect("an answer");
    let of_stream = |stream: &tailwater_engine::answer::LogStream| {
        let labels = stream.labels.to_string();
        stream.entries.iter().map(|entry| (labels.clone(), entry.timestamp, text(entry))).collect::<Vec<_>>()
    };
    answer.streams.iter().flat_map(of_stream).collect()
}

fn is_ordered(all: &[Shown], forward: bool) -> bool {
    let stamps = all.iter().map(|(_, stamp, _)| *stamp);
    if forward { stamps.is_sorted() } else { stamps.rev().is_sorted() }
}

/// The same entries by stream, each in its order.
fn by_stream(mut all: Vec<Shown>) -> Vec<Shown> {
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

async fn grown(segments: &[Vec<Entry>]) -> Growing {
    let mut world = Growing::default();
    for (number, entries) in segments.iter().enumerate() {
        world.add(world::push(entries), number % 2 == 0).await;
    }
    world.discovered().await;
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pages_put_together_are_the_answer_without_a_limit(
        segments in proptest::collection::vec(entries(), 1..4), query in 0..QUERIES.len(), limit in 1usize..12, forward: bool,
    ) {
        run(async {
            let world = grown(&segments).await;
            let engine = Engine::new(world.catalog.clone(), 64 << 20).expect("starts");
            let log = request(QUERIES[query], limit, forward);
            let all = paged(&engine, &world::everything(), &log, async || ()).await;
            prop_assert!(is_ordered(&all, forward), "stamps are out of order");
            let allowed: Vec<Shown> = all.iter().filter(|(labels, ..)| labels.contains(r#"namespace="a""#)).cloned().collect();
            prop_assert_eq!(paged(&engine, &world::only(&["a"]), &log, async || ()).await, allowed, "of who may read one namespace");
            prop_assert_eq!(by_stream(all), by_stream(unlimited(&engine, &log).await));
            Ok(())
        })?;
    }

    #[test]
    fn pushes_and_folds_between_pages_move_no_entry(
        segments in proptest::collection::vec(entries(), 1..3), late in proptest::collection::vec(entries(), 1..4),
        limit in 1usize..8, forward: bool, fold_at in 0usize..4,
    ) {
        run(async {
            let mut world = grown(&segments).await;
            let engine = Engine::new(world.catalog.clone(), 64 << 20).expect("starts");
            let log = request(QUERIES[0], limit, forward);
            let before: BTreeSet<Shown> = unlimited(&engine, &log).await.into_iter().collect();
            let mut pages = 0;
            let mut late = late.into_iter();
            let all = paged(&engine, &world::everything(), &log, async || {
                if let Some(entries) = late.next() {
                    // New lines: what came again would be no new entry.
                    let entries: Vec<Entry> = entries.into_iter().map(|entry| Entry { line: format!("late {}", entry.line), ..entry }).collect();
                    world.add(world::push(&entries), pages % 2 == 0).await;
                    world.discovered().await;
                }
                if pages == fold_at {
                    world::fold(&world.catalog).await;
                }
                pages += 1;
            })
            .await;
            let distinct: BTreeSet<&Shown> = all.iter().collect();
            prop_assert_eq!(distinct.len(), all.len(), "an entry came twice");
            let is_early = |entry: &&Shown| !entry.2.starts_with("late");
            prop_assert_eq!(all.iter().filter(is_early).cloned().collect::<BTreeSet<Shown>>(), before);
            prop_assert!(is_ordered(&all, forward), "stamps are out of order");
            Ok(())
        })?;
    }

    #[test]
    fn neighbours_are_those_of_the_stream(
        segments in proptest::collection::vec(entries(), 1..4), before in 0usize..5, after in 0usize..5, limit in 1usize..9, forward: bool, reach in 0i64..4,
    ) {
        run(async {
            let world = grown(&segments).await;
            let engine = Engine::new(world.catalog.clone(), 64 << 20).expect("starts");
            let everything = unlimited(&engine, &request(QUERIES[0], 1, true)).await;
            let log = LogRequest { start: 2, end: 4, ..request(r#"{app=~".+"} |= "err" | line_format "x""#, limit, forward) };
            let found = engine.page(&world::everything(), PageRequest { log: log.clone(), after: None }, &world::limits()).await.expect("a page");
            let asked = ContextRequest { log, before, after, reach };
            let answer = engine.context(&world::everything(), asked, &world::limits()).await.expect("an answer");
            prop_assert_eq!(answer.neighbours.len(), found.entries.len().min(limit));
            let returned: usize = answer.found.streams.iter().map(|stream| stream.entries.len()).sum();
            prop_assert_eq!(returned, answer.neighbours.len());
            for (of, listed) in answer.neighbours.iter().zip(&found.entries) {
                prop_assert_eq!((of.labels.to_string(), of.entry.timestamp), (listed.labels.to_string(), listed.entry.timestamp));
                let stream: Vec<String> = everything
                    .iter()
                    .filter(|(labels, stamp, _)| *labels == of.labels.to_string() && (2 - reach..4 + reach).contains(stamp))
                    .map(|(_, _, line)| line.clone())
                    .collect();
                let stamps: Vec<i64> = everything
                    .iter()
                    .filter(|(labels, stamp, _)| *labels == of.labels.to_string() && (2 - reach..4 + reach).contains(stamp))
                    .map(|(_, stamp, _)| *stamp)
                    .collect();
                let at = (0..stream.len()).find(|&at| stamps[at] == of.entry.timestamp && stream[at] == text(&of.entry)).expect("the entry");
                let texts = |entries: &[LogEntry]| entries.iter().map(text).collect::<Vec<_>>();
                prop_assert_eq!(texts(&of.before), &stream[at.saturating_sub(before)..at]);
                prop_assert_eq!(texts(&of.after), &stream[at + 1..(at + 1 + after).min(stream.len())]);
            }
            Ok(())
        })?;
    }
}
