//! One suite over every store that needs no server; S3 itself is tested end to end against a real one.

use super::*;
use object_store::memory::InMemory;

const PATIENCE: Duration = Duration::from_secs(5);

fn stores(folder: &tempfile::TempDir) -> Vec<Store> {
    let options = StoreOptions::Folder { path: folder.path().to_owned() };
    vec![Store::new(Arc::new(InMemory::new()), "some/prefix"), open(&options, "").expect("a fresh folder opens")]
}

#[tokio::test]
async fn create_never_overwrites_and_knows_its_own_object_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in stores(&folder) {
        let create =
            async |bytes: &'static [u8]| store.create("v1/seg/W/0.parquet", Bytes::from_static(bytes), PATIENCE).await.expect("no fault");
        assert_eq!(create(b"abc").await, Created::Stored);
        assert_eq!(create(b"abc").await, Created::Stored);
        assert_eq!(create(b"longer").await, Created::Taken);
        assert_eq!(store.get("v1/seg/W/0.parquet").await.expect("no fault"), Some(Bytes::from_static(b"abc")));
    }
}

#[tokio::test]
async fn objects_are_listed_in_order_behind_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in stores(&folder) {
        for sequence in [2, 0, 1] {
            store.create(&paths::segment("W", sequence), Bytes::from_static(b"x"), PATIENCE).await.expect("no fault");
        }
        store.create(&paths::segment("V", 0), Bytes::from_static(b"x"), PATIENCE).await.expect("no fault");
        let keys = |listed: Vec<ListedObject>| listed.into_iter().map(|object| object.key).collect::<Vec<_>>();
        let all = store.list_after(paths::SEGMENTS, None).await.expect("no fault");
        assert_eq!(keys(all), [paths::segment("V", 0), paths::segment("W", 0), paths::segment("W", 1), paths::segment("W", 2)]);
        let behind = store.list_after(&paths::writer("W"), Some(&paths::segment("W", 0))).await.expect("no fault");
        assert_eq!(keys(behind), [paths::segment("W", 1), paths::segment("W", 2)]);
        assert_eq!(store.folders(paths::SEGMENTS).await.expect("no fault"), ["V", "W"]);
    }
}

#[tokio::test]
async fn ranges_come_back_in_the_order_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in stores(&folder) {
        store.create("o", Bytes::from_static(b"0123456789"), PATIENCE).await.expect("no fault");
        let ranges = store.ranges("o", &[7..9, 0..2]).await.expect("no fault");
        assert_eq!(ranges, [Bytes::from_static(b"78"), Bytes::from_static(b"01")]);
        assert_eq!(store.tail("o", 10, 4).await.expect("no fault"), Bytes::from_static(b"6789"));
        assert!(store.ranges("absent", std::slice::from_ref(&(0..1))).await.expect_err("absent").to_string().contains("`absent`"));
    }
}

#[tokio::test]
async fn the_probe_passes_honest_stores_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in stores(&folder) {
        store.probe().await.expect("honours conditions");
        assert_eq!(store.list_after("v1", None).await.expect("no fault"), []);
    }
}

#[tokio::test]
async fn sizes_and_deletes_of_what_is_not_there_are_no_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in stores(&folder) {
        assert_eq!(store.size("o").await.expect("no fault"), None);
        store.create("o", Bytes::from_static(b"abc"), PATIENCE).await.expect("no fault");
        assert_eq!(store.size("o").await.expect("no fault"), Some(3));
        let listed = store.list_after("", None).await.expect("no fault");
        assert!(listed.iter().all(|object| object.modified > 1_700_000_000_000_000_000), "{listed:?}");
        store.delete("o").await.expect("no fault");
        store.delete("o").await.expect("no fault");
        assert_eq!(store.size("o").await.expect("no fault"), None);
    }
}

/// Of a segment: whatever became of the first attempt, it is stored once, and the answer is that it is stored.
#[tokio::test(start_paused = true)]
async fn a_put_whose_end_is_unknown_is_repeated_under_its_name() {
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let store = Store::new(Arc::new(faults.clone()), "");
    let hour = Duration::from_secs(3600);
    for fault in [Fault::Slow(hour), Fault::Done(Answer::Timeout), Fault::Refused(Answer::Timeout), Fault::Done(Answer::SlowDown)] {
        faults.script(Rule::new(Operation::Put, fault));
        let created = store.create("o", Bytes::from_static(b"abc"), PATIENCE).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(created, Created::Stored, "{fault:?}");
        assert_eq!(store.get("o").await.expect("reads"), Some(Bytes::from_static(b"abc")), "{fault:?}");
        store.delete("o").await.expect("deletes");
    }
    // What another stored under the name is not taken for it.
    store.create("o", Bytes::from_static(b"other"), PATIENCE).await.expect("no fault");
    faults.script(Rule::new(Operation::Put, Fault::Slow(hour)));
    assert_eq!(store.create("o", Bytes::from_static(b"abc"), PATIENCE).await.expect("answers"), Created::Taken);
    faults.script(Rule::new(Operation::Put, Fault::Slow(hour)).always());
    let begun = tokio::time::Instant::now();
    assert!(store.create("p", Bytes::from_static(b"abc"), PATIENCE).await.is_err());
    assert!(begun.elapsed() <= PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn short_bodies_are_read_again_and_never_returned() {
    use tailwater_faultstore::{Fault, FaultStore, Operation, Rule};
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let store = Store::new(Arc::new(faults.clone()), "");
    store.create("o", Bytes::from_static(b"0123456789"), PATIENCE).await.expect("no fault");
    faults.script(Rule::new(Operation::Get, Fault::Short(1)).times(2));
    assert_eq!(store.get("o").await.expect("whole at last"), Some(Bytes::from_static(b"0123456789")));
    faults.script(Rule::new(Operation::Get, Fault::Short(1)).times(2));
    assert_eq!(store.tail("o", 10, 4).await.expect("whole at last"), Bytes::from_static(b"6789"));
    faults.script(Rule::new(Operation::Get, Fault::Short(1)).always());
    assert!(store.get("o").await.expect_err("short each time").to_string().contains("`o`"));
    assert!(store.tail("o", 10, 4).await.expect_err("short each time").to_string().contains("`o`"));
}

/// Of an object in parts: whatever becomes of a part, or of the end, it is there once and whole.
#[tokio::test(start_paused = true)]
async fn parts_that_are_lost_are_sent_again_and_an_end_that_was_reached_is_seen() {
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};
    let hour = Duration::from_secs(3600);
    let bytes: Bytes = (0..20 << 20).map(|place: usize| (place % 251) as u8).collect::<Vec<_>>().into();
    for operation in [Operation::Part, Operation::Complete] {
        for fault in [
            Fault::Refused(Answer::Timeout),
            Fault::Refused(Answer::SlowDown),
            Fault::Refused(Answer::Never),
            Fault::Done(Answer::Reset),
            Fault::Done(Answer::ServerError),
            Fault::Slow(hour),
        ] {
            let faults = FaultStore::with_numbered_parts(Arc::new(InMemory::new()));
            let store = Store::with_numbered_parts(Arc::new(faults.clone()), "p");
            faults.script(Rule::new(operation, fault).skip(u64::from(operation == Operation::Part)));
            let mut upload = store.upload("o").await.expect("begins");
            upload.write(bytes.clone()).await.unwrap_or_else(|error| panic!("{operation:?} {fault:?}: {error}"));
            assert_eq!(store.size("o").await.expect("no fault"), None, "it shows at the end");
            upload.finish().await.unwrap_or_else(|error| panic!("{operation:?} {fault:?}: {error}"));
            assert_eq!(faults.counts().faults(), 1);
            assert!(store.get("o").await.expect("reads").expect("is there") == bytes, "{operation:?} {fault:?}");
        }
        // What cannot be done is an error within bounds.
        for answer in [Answer::SlowDown, Answer::Never, Answer::Denied] {
            let faults = FaultStore::with_numbered_parts(Arc::new(InMemory::new()));
            let store = Store::with_numbered_parts(Arc::new(faults.clone()), "p");
            faults.script(Rule::new(operation, Fault::Refused(answer)).always());
            let begun = tokio::time::Instant::now();
            let mut upload = store.upload("o").await.expect("begins");
            let outcome = match upload.write(bytes.clone()).await {
                Ok(()) => upload.finish().await,
                failed => failed,
            };
            assert!(outcome.is_err(), "{operation:?} {answer:?}");
            assert!(begun.elapsed() <= Duration::from_secs(60), "{:?}", begun.elapsed());
            assert_eq!(store.size("o").await.expect("no fault"), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_hangs_is_made_again_beside_it() {
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let store = Store::new(Arc::new(faults.clone()), "");
    store.create("o", Bytes::from_static(b"0123456789"), PATIENCE).await.expect("no fault");
    let begun = tokio::time::Instant::now();
    faults.script(Rule::new(Operation::Get, Fault::Refused(Answer::Never)));
    assert_eq!(store.get("o").await.expect("reads"), Some(Bytes::from_static(b"0123456789")));
    faults.script(Rule::new(Operation::Get, Fault::Refused(Answer::Never)));
    assert_eq!(store.tail("o", 10, 4).await.expect("reads"), Bytes::from_static(b"6789"));
    faults.script(Rule::new(Operation::Head, Fault::Refused(Answer::Never)));
    assert_eq!(store.size("o").await.expect("reads"), Some(10));
    faults.script(Rule::new(Operation::List, Fault::Refused(Answer::Never)));
    assert_eq!(store.list_after("", None).await.expect("lists").len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_opens_a_folder_disturbs_nobody_who_writes_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = StoreOptions::Folder { path: folder.path().to_owned() };
    let store = open(&options, "").expect("a fresh folder opens");
    let mut upload = store.upload("o").await.expect("begins");
    upload.write(Bytes::from_static(b"abc")).await.expect("no fault");
    open(&options, "").expect("a command looks at the store meanwhile");
    upload.finish().await.expect("what was written is still there");
    assert_eq!(store.get("o").await.expect("no fault"), Some(Bytes::from_static(b"abc")));
}

#[tokio::test]
async fn a_server_removes_what_a_crash_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = StoreOptions::Folder { path: folder.path().to_owned() };
    clear_unfinished(&options).expect("nothing is there yet");
    std::mem::forget(open(&options, "").expect("a fresh folder opens").upload("o").await.expect("begins"));
    let left = || std::fs::read_dir(folder.path().join(".tmp")).expect("a folder").count();
    assert_eq!(left(), 1);
    clear_unfinished(&options).expect("can be removed");
    open(&options, "").expect("opens again");
    assert_eq!(left(), 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let error = open(&StoreOptions::Folder { path: file.path().join("below") }, "").expect_err("below a file");
    assert!(error.to_string().contains("storage.filesystem.path"), "{error}");
}
