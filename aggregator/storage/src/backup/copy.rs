//! Objects from one store to another, several at a time and the large ones in parts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;

use crate::backup::{BackupError, BackupProgress};
use crate::error::ReadError;
use crate::store::{Created, Store};

const AT_ONCE: usize = 8;
/// Larger objects are copied in parts of this size.
const PART: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one object.
enum Copied {
    Whole,
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
        match outcome? {
            Copied::Whole => {
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
        return copy_in_parts(from, to, key, size).await;
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
