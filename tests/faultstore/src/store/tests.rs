use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{Error, PutMode};

use super::*;
use crate::fault::Answer;

fn faulty() -> FaultStore {
    FaultStore::new(Arc::new(InMemory::new()))
}

async fn create(store: &FaultStore, key: &str, body: &'static [u8]) -> Result<PutResult> {
    store.put_opts(&Path::from(key), PutPayload::from_static(body), PutOptions::from(PutMode::Create)).await
}

async fn body(store: &FaultStore, key: &str) -> Result<Bytes> {
    store.get(&Path::from(key)).await?.bytes().await
}

async fn listed(store: &FaultStore) -> Vec<String> {
    let mut keys: Vec<String> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.expect("lists");
    keys.sort();
    keys
}

#[tokio::test]
async fn a_put_may_be_done_or_not_whatever_is_answered() {
    let store = faulty();
    store.script(Rule::new(Operation::Put, Fault::Done(Answer::Timeout)));
    store.script(Rule::new(Operation::Put, Fault::Refused(Answer::Exists)));
    assert!(matches!(create(&store, "done", b"x").await, Err(Error::Generic { .. })));
    assert!(matches!(create(&store, "refused", b"x").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(listed(&store).await, ["done"]);
    create(&store, "refused", b"x").await.expect("the rules are used up");
    assert_eq!(store.counts().of(Operation::Put), crate::Count { calls: 3, bytes: 3, faults: 2 });
}

#[tokio::test]
async fn a_held_put_lands_when_it_is_let_unless_its_name_was_taken() {
    let store = faulty();
    store.script(Rule::new(Operation::Put, Fault::Held(Answer::Reset)).times(2));
    for key in ["a", "b"] {
        assert!(create(&store, key, b"late").await.is_err());
    }
    assert!(matches!(body(&store, "a").await, Err(Error::NotFound { .. })));
    create(&store, "b", b"other").await.expect("nothing there yet");
    assert_eq!(store.release_held().await, 1);
    assert_eq!(body(&store, "a").await.expect("landed"), "late");
    assert_eq!(body(&store, "b").await.expect("there"), "other");
}

#[tokio::test]
async fn reads_may_be_short_flipped_or_missing() {
    let store = faulty();
    create(&store, "o", b"0123456789").await.expect("stores");
    for fault in [Fault::Short(3), Fault::Flip(80 + 9), Fault::Refused(Answer::NotFound)] {
        store.script(Rule::new(Operation::Get, fault).on("o"));
    }
    assert_eq!(body(&store, "o").await.expect("short"), "0123456");
    assert_eq!(body(&store, "o").await.expect("flipped"), "0323456789");
    assert!(matches!(body(&store, "o").await, Err(Error::NotFound { .. })));
    assert_eq!(store.get_range(&Path::from("o"), 2..5).await.expect("whole"), "234");
    assert_eq!(store.counts().of(Operation::Get), crate::Count { calls: 4, bytes: 23, faults: 3 });
}

#[tokio::test(start_paused = true)]
async fn slow_calls_take_their_time_and_silent_ones_all_of_it() {
    let store = faulty();
    store.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(5))));
    store.script(Rule::new(Operation::Head, Fault::Refused(Answer::Never)));
    let before = tokio::time::Instant::now();
    create(&store, "o", b"x").await.expect("stores");
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    let path = Path::from("o");
    assert!(tokio::time::timeout(Duration::from_secs(3600), store.head(&path)).await.is_err());
}

#[tokio::test]
async fn listings_lag_by_the_newest_objects() {
    let store = faulty();
    for key in ["f/c", "f/a", "g/b"] {
        create(&store, key, b"x").await.expect("stores");
    }
    store.lag_listings(1);
    assert_eq!(listed(&store).await, ["f/a", "f/c"]);
    let folders = store.list_with_delimiter(None).await.expect("lists").common_prefixes;
    assert_eq!(folders, [Path::from("f")]);
    store.heal();
    assert_eq!(listed(&store).await, ["f/a", "f/c", "g/b"]);
    assert_eq!(store.list_with_delimiter(Some(&Path::from("f"))).await.expect("lists").objects.len(), 2);
}

#[tokio::test]
async fn deletes_may_be_done_or_not_whatever_is_answered() {
    let store = faulty();
    create(&store, "a", b"x").await.expect("stores");
    create(&store, "b", b"x").await.expect("stores");
    store.script(Rule::new(Operation::Delete, Fault::Done(Answer::ServerError)));
    store.script(Rule::new(Operation::Delete, Fault::Refused(Answer::ServerError)));
    assert!(store.delete(&Path::from("a")).await.is_err() && store.delete(&Path::from("b")).await.is_err());
    assert_eq!(listed(&store).await, ["b"]);
}

#[tokio::test]
async fn uploads_in_parts_fail_at_a_part_or_at_the_end() {
    let store = faulty();
    let path = Path::from("large");
    store.script(Rule::new(Operation::Part, Fault::Refused(Answer::SlowDown)).skip(1));
    store.script(Rule::new(Operation::Complete, Fault::Done(Answer::Timeout)));
    let mut upload = store.put_multipart(&path).await.expect("begins");
    upload.put_part(PutPayload::from_static(b"one")).await.expect("stores");
    assert!(upload.put_part(PutPayload::from_static(b"two")).await.is_err());
    upload.abort().await.expect("aborts");

    let mut upload = store.put_multipart(&path).await.expect("begins");
    upload.put_part(PutPayload::from_static(b"one")).await.expect("stores");
    assert!(upload.complete().await.is_err());
    assert_eq!(body(&store, "large").await.expect("done"), "one");
}
