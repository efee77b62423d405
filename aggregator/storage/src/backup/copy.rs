//! Objects from one store to another, several at a time; the large ones by the store itself where both are one store, else in parts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;

use crate::backup::{BackupError, BackupProgress};
use crate::error::ReadError;
use crate::store::{CopiedWithin, Created, Store};

const AT_ONCE: usize = 8;
/// Larger objects are copied in parts of this size.
const PART: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one object.
#[derive(Debug, PartialEq, Eq)]
enum Copied {
    Whole,
    /// Likewise, and none of its bytes came here.
    ByStore,
    /// The source does not have it, or not with this size.
    Gone,
    /// Another object has its name.
    Taken,
}

/// Copies the objects that are not `present`, which then has them too. The key of one that is not at the source ends it early.
pub(super) async fn copy_missing(
    from: &Store,
    to: &Store,
    objects: &BTreeMap<String, u64>,
    present: &mut BTreeMap<String, u64>,
    show: &mut impl FnMut(BackupProgress),
) -> Result<Option<String>, BackupError> {
    let mut at = BackupProgress { total: objects.len() as u64, bytes_total: objects.values().sum(), ..BackupProgress::default() };
    let mut missing = Vec::new();
    for (key, size) in objects {
        match present.get(key) {
            Some(there) if there == size => at.take(*size),
            Some(_) => return Err(BackupError::OtherStore { key: key.clone() }),
            None => missing.push((key.clone(), *size)),
        }
    }
    show(at);
    let copies = missing.into_iter().map(|(key, size)| async move {
        let outcome = copy(from, to, &key, size).await;
        (key, size, outcome)
    });
    let mut copies = futures::stream::iter(copies).buffer_unordered(AT_ONCE);
    while let Some((key, size, outcome)) = copies.next().await {
        let outcome = outcome?;
        match outcome {
            Copied::Whole | Copied::ByStore => {
                if outcome == Copied::ByStore {
                    at.bytes_by_store += size;
                }
                at.take(size);
                at.copied += 1;
                at.bytes_copied += size;
                present.insert(key, size);
                show(at);
            }
            Copied::Gone => return Ok(Some(key)),
            Copied::Taken => return Err(BackupError::OtherStore { key }),
        }
    }
    Ok(None)
}

async fn copy(from: &Store, to: &Store, key: &str, size: u64) -> Result<Copied, BackupError> {
    if size > PART {
        return match to.copy_within(from, key, size).await? {
            CopiedWithin::Whole => Ok(Copied::ByStore),
            CopiedWithin::Gone => Ok(Copied::Gone),
            CopiedWithin::Unable => copy_in_parts(from, to, key, size).await,
        };
    }
    match from.get(key).await? {
        Some(bytes) if bytes.len() as u64 == size => Ok(match to.create(key, bytes, PATIENCE).await? {
            Created::Stored => Copied::Whole,
            Created::Taken => Copied::Taken,
        }),
        _ => Ok(Copied::Gone),
    }
}

/// The object appears with its last part.
async fn copy_in_parts(from: &Store, to: &Store, key: &str, size: u64) -> Result<Copied, BackupError> {
    if from.size(key).await? != Some(size) {
        return Ok(Copied::Gone);
    }
    let mut upload = to.upload(key).await?;
    let mut done = 0;
    while done < size {
        let range = done..size.min(done + PART);
        let read = from.ranges(key, std::slice::from_ref(&range)).await;
        let written = match read {
            Ok(bytes) => {
                let mut written = Ok(());
                for part in bytes {
                    written = written.and(upload.write(part).await);
                }
                written.map_err(BackupError::from)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            upload.abort().await;
            return if is_gone(&error) { Ok(Copied::Gone) } else { Err(error) };
        }
        done = range.end;
    }
    upload.finish().await?;
    Ok(Copied::Whole)
}

fn is_gone(error: &BackupError) -> bool {
    matches!(error, BackupError::Read(error) if ReadError::is_not_found(error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::store::{StoreOperation, StoreOutcome};

    const LARGE: u64 = PART + 5;

    fn requests(store: &Store, wanted: StoreOperation) -> u64 {
        let counts = store.request_counters().all();
        counts.filter(|(operation, outcome, _)| *operation == wanted && *outcome == StoreOutcome::Ok).map(|(_, _, count)| count).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn large_objects_stay_within_their_store() {
        let from = Store::new(Arc::new(InMemory::new()), "live");
        let bytes: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        for (key, bytes) in [("v1/large", bytes.clone()), ("v1/small", b"small".to_vec())] {
            from.create(key, bytes, PATIENCE).await.expect("stored");
        }
        let objects = BTreeMap::from([("v1/large".to_owned(), LARGE), ("v1/small".to_owned(), 5)]);
        let elsewhere = Store::new(Arc::new(InMemory::new()), "backup");
        let asked = || (requests(&from, StoreOperation::Copy), requests(&from, StoreOperation::Get));
        for (to, by_store, copies, reads) in [(from.elsewhere("backup"), LARGE, 1, 1), (elsewhere, 0, 0, 3)] {
            let before = asked();
            let (mut present, mut last) = (BTreeMap::new(), BackupProgress::default());
            let missing = copy_missing(&from, &to, &objects, &mut present, &mut |at| last = at).await.expect("copied");
            assert_eq!((missing, last.copied, last.bytes_by_store), (None, 2, by_store));
            assert_eq!(asked(), (before.0 + copies, before.1 + reads), "the small one is read, of the large one its parts or nothing");
            assert_eq!(to.get("v1/large").await.expect("read"), Some(bytes.clone().into()));
        }
        let gone = BTreeMap::from([("v1/gone".to_owned(), LARGE)]);
        let missing = copy_missing(&from, &from.elsewhere("backup"), &gone, &mut BTreeMap::new(), &mut |_| ()).await.expect("asked");
        assert_eq!(missing.as_deref(), Some("v1/gone"));
    }
}
