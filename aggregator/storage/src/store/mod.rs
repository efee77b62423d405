//! The object store as tailwater uses it: create-only puts with a certain outcome, checked reads, lists, and a probe.
//!
//! Invariants: nothing is overwritten; [`Store::create`] says [`Created::Stored`] only when an object of this name and length is there
//! for good; exactly this layer retries (the client beneath does not), within the deadline it is given; an answer shorter or longer than
//! what was asked for is a fault. [`contended`] is the put for names that several authors want.
//! [`paths`] alone knows how keys look.

mod coalesce;
mod contended;
mod counted;
mod day;
mod disk;
mod examine;
mod folder;
mod gets;
mod only;
mod open;
pub mod paths;
mod probe;
pub(crate) mod retry;
mod secret_files;
mod tenant;
mod upload;
mod within;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

pub use contended::Contended;
pub use counted::{RequestCounters, StoreOperation, StoreOutcome};
pub use day::{Day, DayError};
pub use disk::{CacheFolderError, Content, DiskCache, DiskCacheFigures};
pub use examine::Rights;
pub use gets::ReadShare;
pub use open::{OpenError, S3Encryption, S3Options, StoreOptions, clear_unfinished, open};
pub use probe::ProbeError;
pub use upload::Upload;
pub(crate) use within::CopiedWithin;

use crate::error::ReadError;
use crate::store::coalesce::{Distance, Request, coalesce};
use crate::store::counted::{Counted, CountedParts};
use crate::store::gets::{Gets, Place};
use crate::store::retry::{Attempts, READ_PATIENCE};

/// Requests of one read that are under way at a time.
const REQUESTS_AT_ONCE: usize = 16;

/// An opened store and the prefix under which everything of ours lies.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    distance: Distance,
    prefix: Path,
    disk_cache: Option<DiskCache>,
    requests: Arc<RequestCounters>,
    gets: Gets,
    /// Of whoever reads through this clone.
    share: Option<ReadShare>,
    /// Where parts of an object have numbers.
    numbered: Option<CountedParts>,
}

/// What became of a create-only put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is there, with these bytes' length under this name.
    Stored,
    /// Another object has the name.
    Taken,
}

/// A put whose outcome could not be brought about in time. It may still land.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not store object `{key}`: {reason}")]
pub struct CreateError {
    pub key: String,
    pub reason: String,
}

impl Store {
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let requests = Arc::<RequestCounters>::default();
        let objects = Arc::new(Counted::new(objects, requests.clone()));
        Self {
            objects,
            distance: Distance::Network,
            prefix: Path::from(prefix),
            disk_cache: None,
            requests,
            gets: Gets::default(),
            share: None,
            numbered: None,
        }
    }

    /// The same of a store that takes parts of an object by their numbers, so that one may be sent again.
    pub fn with_numbered_parts<S: ObjectStore + MultipartStore>(objects: Arc<S>, prefix: &str) -> Self {
        let store = Self::new(objects.clone(), prefix);
        let numbered = CountedParts::new(objects, store.requests.clone());
        Self { numbered: Some(numbered), ..store }
    }

    /// The same of objects on a disk of this machine.
    fn local(objects: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { distance: Distance::Disk, ..Self::new(objects, prefix) }
    }

    /// Requests to the object store so far.
    pub fn request_counters(&self) -> &RequestCounters {
        &self.requests
    }

    /// The same store for one reader, who has no more reads under way than his share.
    #[must_use]
    pub(crate) fn read_by(&self, share: &ReadShare) -> Self {
        Self { share: Some(share.clone()), ..self.clone() }
    }

    /// Reads of object bodies that are under way, and that wait until there are fewer.
    pub fn gets_under_way_and_waiting(&self) -> (u64, u64) {
        (self.gets.under_way(), self.gets.waiting())
    }

    /// `None`: a local disk is read without.
    async fn place(&self) -> Option<Place<'_>> {
        match self.distance {
            Distance::Network => Some(self.gets.place(self.share.as_ref()).await),
            Distance::Disk => None,
        }
    }

    /// The same store, with what [`Self::cached_ranges`] reads kept on a local disk.
    #[must_use]
    pub fn with_disk_cache(self, cache: DiskCache) -> Self {
        Self { disk_cache: Some(cache), ..self }
    }

    /// What is counted of the cache on disk, if there is one.
    pub fn disk_cache_figures(&self) -> Option<DiskCacheFigures> {
        self.disk_cache.as_ref().map(DiskCache::figures)
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    /// The key of an object, without the prefix.
    fn key(&self, path: &Path) -> String {
        path.prefix_match(&self.prefix)
            .map_or_else(String::new, |parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
    }

    /// Stores `bytes` under `key` unless the name is taken. A name has one author and one content, so an object of equal length under
    /// it is our own, from an attempt whose answer was lost.
    pub async fn create(&self, key: &str, bytes: impl Into<PutPayload>, timeout: Duration) -> Result<Created, CreateError> {
        let (path, payload) = (self.path(key), bytes.into());
        let mut attempts = Attempts::twice_until(timeout);
        loop {
            let put = self.objects.put_opts(&path, payload.clone(), PutOptions::from(PutMode::Create));
            let reason = match attempts.run(put).await {
                Ok(_) => return Ok(Created::Stored),
                // 412 says that the object is there, 409 that another attempt was under way: look.
                Err(object_store::Error::AlreadyExists { .. }) => match attempts.run(self.objects.head(&path)).await {
                    Ok(found) if found.size == payload.content_length() as u64 => return Ok(Created::Stored),
                    Ok(_) => return Ok(Created::Taken),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if !attempts.wait().await {
                return Err(CreateError { key: key.to_owned(), reason });
            }
        }
    }

    /// Begins an object that is written in parts. The name must be nobody else's: parts cannot be created conditionally.
    pub async fn upload(&self, key: &str) -> Result<Upload, CreateError> {
        Upload::begin(self, self.path(key), key).await
    }

    /// Byte ranges of an object, in the order asked for. Neighbours are fetched together.
    pub async fn ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let path = &self.path(key);
        let requests: Vec<Request> = coalesce(ranges, self.distance).into_iter().filter(|request| !request.range.is_empty()).collect();
        let asked: Vec<Range<u64>> = requests.iter().map(|request| request.range.clone()).collect();
        let asked: Vec<Vec<Range<u64>>> = asked.chunks(self.distance.ranges_at_once()).map(<[_]>::to_vec).collect();
        let fetched: Vec<Vec<Bytes>> =
            Self::for_each(asked, REQUESTS_AT_ONCE, |asked| self.fetch(path, asked)).await.map_err(|error| ReadError::store(key, error))?;
        let mut parts = vec![Bytes::new(); ranges.len()];
        for (request, bytes) in requests.iter().zip(fetched.into_iter().flatten()) {
            for &part in &request.parts {
                let start = (ranges[part].start - request.range.start) as usize;
                parts[part] = bytes.slice(start..start + (ranges[part].end - ranges[part].start) as usize);
            }
        }
        Ok(parts)
    }

    /// The same of an object of `size` bytes that never changes, from the cache on disk where there is one; and how many bytes came from the
    /// store.
    pub async fn cached_ranges(
        &self,
        (key, size): (&str, u64),
        content: Content,
        ranges: &[Range<u64>],
    ) -> Result<(Vec<Bytes>, u64), ReadError> {
        match &self.disk_cache {
            Some(cache) => cache.ranges(self, (key, size), content, ranges).await,
            None => Ok((self.ranges(key, ranges).await?, ranges.iter().map(|range| range.end - range.start).sum())),
        }
    }

    /// The same once more, after the bytes of [`Self::cached_ranges`] did not check: from the store, in place of what the cache on disk has of
    /// them. `None`: there is no such cache, so these were the store's own.
    pub(crate) async fn ranges_anew(
        &self,
        (key, size): (&str, u64),
        content: Content,
        ranges: &[Range<u64>],
    ) -> Result<Option<(Vec<Bytes>, u64)>, ReadError> {
        match &self.disk_cache {
            Some(cache) => cache.ranges_anew(self, (key, size), content, ranges).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether [`Self::cached_ranges`] keeps what it reads.
    pub(crate) fn has_disk_cache(&self) -> bool {
        self.disk_cache.is_some()
    }

    /// One request of [`Self::ranges`].
    async fn fetch(&self, path: &Path, ranges: Vec<Range<u64>>) -> object_store::Result<Vec<Bytes>> {
        let _place = self.place().await;
        let fetch = || async {
            let fetched = self.objects.get_ranges(path, &ranges).await?;
            let is_of = |(bytes, range): &(&Bytes, &Range<u64>)| bytes.len() as u64 == range.end - range.start;
            match fetched.iter().zip(&ranges).find(|pair| !is_of(pair)) {
                Some((bytes, range)) => Err(wrong_length(bytes, range)),
                None => Ok(fetched),
            }
        };
        retry::read(fetch).await
    }

    /// The last bytes of an object of `size` bytes.
    pub async fn tail(&self, key: &str, size: u64, length: u64) -> Result<Bytes, ReadError> {
        let range = size.saturating_sub(length)..size;
        let mut fetched = self.ranges(key, std::slice::from_ref(&range)).await?;
        Ok(fetched.pop().unwrap_or_default())
    }

    /// A whole object, or `None` if there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ReadError> {
        let path = self.path(key);
        let _place = self.place().await;
        let whole = || async {
            let answer = self.objects.get_opts(&path, GetOptions::default()).await?;
            let range = 0..answer.meta.size;
            let bytes = answer.bytes().await?;
            if bytes.len() as u64 == range.end { Ok(bytes) } else { Err(wrong_length(&bytes, &range)) }
        };
        match retry::read(whole).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(ReadError::store(key, error)),
        }
    }

    /// The size of an object, or `None` if there is none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, ReadError> {
        let path = self.path(key);
        match retry::read(|| self.objects.head(&path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(ReadError::store(key, error)),
        }
    }

    /// Objects under `folder` whose key is greater than `after`, ascending.
    pub async fn list_after(&self, folder: &str, after: Option<&str>) -> Result<Vec<ListedObject>, ReadError> {
        let prefix = self.path(folder);
        let listing = || async {
            let stream = match after {
                Some(after) => self.objects.list_with_offset(Some(&prefix), &self.path(after)),
                None => self.objects.list(Some(&prefix)),
            };
            stream.try_collect::<Vec<ObjectMeta>>().await
        };
        let found = retry::read(listing).await.map_err(|error| ReadError::store(folder, error))?;
        let listed = |meta: &ObjectMeta| ListedObject {
            key: self.key(&meta.location),
            size: meta.size,
            modified: meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
        };
        let mut listed: Vec<ListedObject> = found.iter().map(listed).collect();
        listed.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(listed)
    }

    /// Names of the folders directly under `folder`, ascending.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, ReadError> {
        let prefix = self.path(folder);
        let found =
            retry::read(|| self.objects.list_with_delimiter(Some(&prefix))).await.map_err(|error| ReadError::store(folder, error))?;
        let mut names: Vec<String> = found.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Removes an object; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> Result<(), ReadError> {
        let path = self.path(key);
        match retry::again(READ_PATIENCE, || self.objects.delete(&path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ReadError::store(key, error)),
        }
    }

    /// Refuses a store that does not honour create-only puts.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        probe::probe(self).await
    }

    /// Maps `keys` through `read`, at most `at_once` at a time, in order.
    pub async fn for_each<T, R, F, E>(keys: impl IntoIterator<Item = T>, at_once: usize, read: impl Fn(T) -> F) -> Result<Vec<R>, E>
    where
        F: Future<Output = Result<R, E>>,
    {
        futures::stream::iter(keys.into_iter().map(read)).buffered(at_once).try_collect().await
    }
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Without the prefix.
    pub key: String,
    pub size: u64,
    /// When it was stored, by the store's clock: nanoseconds since the epoch.
    pub modified: i64,
}

/// Neither a short body nor a long one is data.
fn wrong_length(bytes: &Bytes, range: &Range<u64>) -> object_store::Error {
    let source = format!("asked for bytes {} to {}, got {} bytes", range.start, range.end, bytes.len()).into();
    object_store::Error::Generic { store: "length check", source }
}

#[cfg(test)]
mod tests;
