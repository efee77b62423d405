//! Counts the requests to the object store, attempt by attempt, by what was asked and what came of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    Put,
    /// A part of an object that is written in parts, its beginning or its end.
    Part,
    Get,
    Head,
    List,
    Delete,
    /// An object that the store copies by itself.
    Copy,
}

/// What came of it. That there is no such object, or one already, is an answer and no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    Ok,
    NotFound,
    Exists,
    Error,
}

const OPERATIONS: [StoreOperation; 7] = [
    StoreOperation::Put,
    StoreOperation::Part,
    StoreOperation::Get,
    StoreOperation::Head,
    StoreOperation::List,
    StoreOperation::Delete,
    StoreOperation::Copy,
];
const OUTCOMES: [StoreOutcome; 4] = [StoreOutcome::Ok, StoreOutcome::NotFound, StoreOutcome::Exists, StoreOutcome::Error];

impl StoreOperation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Part => "part",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }
}

impl StoreOutcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Error => "error",
        }
    }

    fn of<T>(outcome: &Result<T>) -> Self {
        match outcome {
            Ok(_) => Self::Ok,
            Err(Error::NotFound { .. }) => Self::NotFound,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Self::Exists,
            Err(_) => Self::Error,
        }
    }
}

/// Requests so far.
#[derive(Debug, Default)]
pub struct RequestCounters([[AtomicU64; OUTCOMES.len()]; OPERATIONS.len()]);

impl RequestCounters {
    fn count<T>(&self, operation: StoreOperation, outcome: &Result<T>) {
        self.0[operation as usize][StoreOutcome::of(outcome) as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every operation and outcome with its count, zeros too.
    pub fn all(&self) -> impl Iterator<Item = (StoreOperation, StoreOutcome, u64)> {
        OPERATIONS.into_iter().flat_map(move |operation| {
            OUTCOMES
                .into_iter()
                .map(move |outcome| (operation, outcome, self.0[operation as usize][outcome as usize].load(Ordering::Relaxed)))
        })
    }
}

/// A store before another one.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<RequestCounters>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, counters: Arc<RequestCounters>) -> Self {
        Self { inner, counters }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let outcome = self.inner.put_opts(location, payload, options).await;
        self.counters.count(StoreOperation::Put, &outcome);
        outcome
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let outcome = self.inner.put_multipart_opts(location, options).await;
        self.counters.count(StoreOperation::Part, &outcome);
        Ok(Box::new(CountedUpload { inner: outcome?, counters: self.counters.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { StoreOperation::Head } else { StoreOperation::Get };
        let outcome = self.inner.get_opts(location, options).await;
        self.counters.count(operation, &outcome);
        outcome
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        let outcome = self.inner.get_ranges(location, ranges).await;
        self.counters.count(StoreOperation::Get, &outcome);
        outcome
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let counters = self.counters.clone();
        self.inner.delete_stream(locations).inspect(move |outcome| counters.count(StoreOperation::Delete, outcome)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(self.inner.list(prefix), self.counters.clone())
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(self.inner.list_with_offset(prefix, offset), self.counters.clone())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let outcome = self.inner.list_with_delimiter(prefix).await;
        self.counters.count(StoreOperation::List, &outcome);
        outcome
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let outcome = self.inner.copy_opts(from, to, options).await;
        self.counters.count(StoreOperation::Copy, &outcome);
        outcome
    }
}

/// A listing counts once, by how it ends.
fn listed(stream: BoxStream<'static, Result<ObjectMeta>>, counters: Arc<RequestCounters>) -> BoxStream<'static, Result<ObjectMeta>> {
    let failed = counters.clone();
    let ended = futures::stream::once(async move {
        counters.count(StoreOperation::List, &Ok(()));
        None
    });
    // Nothing is asked of a stream after its error.
    stream
        .inspect_err(move |error| {
            failed.count(StoreOperation::List, &Err::<(), _>(Error::Generic { store: "list", source: error.to_string().into() }))
        })
        .map(Some)
        .chain(ended)
        .filter_map(futures::future::ready)
        .boxed()
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    counters: Arc<RequestCounters>,
}

#[async_trait::async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let counters = self.counters.clone();
        self.inner.put_part(data).inspect(move |outcome| counters.count(StoreOperation::Part, outcome)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let outcome = self.inner.complete().await;
        self.counters.count(StoreOperation::Part, &outcome);
        outcome
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// The parts of a store that numbers them.
#[derive(Clone)]
pub(super) struct CountedParts {
    inner: Arc<dyn MultipartStore>,
    counters: Arc<RequestCounters>,
}

impl fmt::Debug for CountedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountedParts")
    }
}

impl CountedParts {
    pub(super) fn new(inner: Arc<dyn MultipartStore>, counters: Arc<RequestCounters>) -> Self {
        Self { inner, counters }
    }

    fn counted<T>(&self, outcome: Result<T>) -> Result<T> {
        self.counters.count(StoreOperation::Part, &outcome);
        outcome
    }
}

#[async_trait::async_trait]
impl MultipartStore for CountedParts {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.counted(self.inner.create_multipart(path).await)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        self.counted(self.inner.put_part(path, id, part, data).await)
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.counted(self.inner.complete_multipart(path, id, parts).await)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(path, id).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Store;
    use object_store::memory::InMemory;
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};

    #[tokio::test(start_paused = true)]
    async fn requests_count_by_what_came_of_them() {
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        let store = Store::new(Arc::new(faults.clone()), "");
        faults.script(Rule::new(Operation::Put, Fault::Refused(Answer::SlowDown)).times(2));
        store.create("a", "x", Duration::from_secs(30)).await.expect("stores");
        store.create("a", "y", Duration::from_secs(30)).await.expect("is there");
        store.get("a").await.expect("reads");
        store.get("b").await.expect("reads");
        store.list_after("", None).await.expect("lists");
        faults.script(Rule::new(Operation::List, Fault::Refused(Answer::ServerError)));
        store.list_after("", None).await.expect("lists");
        let mut upload = store.upload("c").await.expect("begins");
        upload.write("z".into()).await.expect("writes");
        upload.finish().await.expect("ends");
        store.delete("c").await.expect("deletes");
        let counted: Vec<_> = store
            .request_counters()
            .all()
            .filter(|(.., count)| *count > 0)
            .map(|(operation, outcome, count)| format!("{} {} {count}", operation.name(), outcome.name()))
            .collect();
        let expected = [
            "put ok 1",
            "put exists 1",
            "put error 2",
            "part ok 3",
            "get ok 1",
            "get not_found 1",
            "head ok 1",
            "list ok 2",
            "list error 1",
            "delete ok 1",
        ];
        assert_eq!(counted, expected);
    }
}
