//! The store itself.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::counts::Counts;
use crate::fault::{Fault, Operation};
use crate::plan::{Plan, Random, Rule};
use crate::upload::FaultUpload;

/// The most objects that a listing can lag by.
const REMEMBERED: usize = 4096;

/// The store behind, where it takes parts by their numbers.
pub(crate) struct Numbered(pub(crate) Arc<dyn MultipartStore>);

impl std::fmt::Debug for Numbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbered")
    }
}

/// A store before another one. Clones share everything.
#[derive(Debug, Clone)]
pub struct FaultStore {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    inner: Arc<dyn ObjectStore>,
    numbered: Option<Numbered>,
    plan: Mutex<Plan>,
    counts: Mutex<Counts>,
    /// The newest objects, oldest first.
    newest: Mutex<VecDeque<Path>>,
    held: Mutex<Vec<(Path, PutPayload, PutOptions)>>,
}

impl Shared {
    /// Counts a call and tells what goes wrong with it.
    pub(crate) fn draw(&self, operation: Operation, location: &Path) -> Option<Fault> {
        let fault = self.plan.lock().draw(operation, location.as_ref());
        self.counts.lock().called(operation, fault.is_some());
        fault
    }

    pub(crate) fn moved(&self, operation: Operation, bytes: u64) {
        self.counts.lock().moved(operation, bytes);
    }

    pub(crate) fn numbered(&self) -> Result<&dyn MultipartStore> {
        let none = || Error::NotSupported { source: "the store behind does not number parts".into() };
        self.numbered.as_ref().map(|numbered| numbered.0.as_ref()).ok_or_else(none)
    }

    pub(crate) fn created(&self, location: &Path) {
        let mut newest = self.newest.lock();
        newest.push_back(location.clone());
        if newest.len() > REMEMBERED {
            newest.pop_front();
        }
    }

    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await?;
        self.created(location);
        Ok(result)
    }

    fn hidden(&self) -> HashSet<Path> {
        let count = self.plan.lock().hidden;
        self.newest.lock().iter().rev().take(count).cloned().collect()
    }
}

impl FaultStore {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self::before(inner, None)
    }

    /// Before a store that takes parts by their numbers: this one does then.
    pub fn with_numbered_parts<S: ObjectStore + MultipartStore>(inner: Arc<S>) -> Self {
        Self::before(inner.clone(), Some(Numbered(inner)))
    }

    fn before(inner: Arc<dyn ObjectStore>, numbered: Option<Numbered>) -> Self {
        let (plan, counts, newest, held) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { inner, numbered, plan, counts, newest, held }) }
    }

    /// The store behind, without faults.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.inner
    }

    /// Adds a rule; earlier ones go first.
    pub fn script(&self, rule: Rule) {
        self.shared.plan.lock().rules.push(rule);
    }

    /// Faults by chance, in place of former ones.
    pub fn random(&self, random: Random) {
        self.shared.plan.lock().random = Some(random);
    }

    /// Listings do not show the newest `objects` (4,096 at most) from now on.
    pub fn lag_listings(&self, objects: usize) {
        self.shared.plan.lock().hidden = objects;
    }

    /// Ends all faults. Held puts stay held.
    pub fn heal(&self) {
        *self.shared.plan.lock() = Plan::default();
    }

    /// Lets held puts land; one whose name was taken meanwhile does not. Returns how many landed.
    pub async fn release_held(&self) -> usize {
        let held = std::mem::take(&mut *self.shared.held.lock());
        let mut landed = 0;
        for (location, payload, options) in held {
            landed += usize::from(self.shared.put(&location, payload, options).await.is_ok());
        }
        landed
    }

    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().clone()
    }

    pub fn reset_counts(&self) {
        *self.shared.counts.lock() = Counts::default();
    }
}

impl std::fmt::Display for FaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faults before {}", self.shared.inner)
    }
}

/// The answer with another body, its range as promised.
fn with_body(answer: GetResult, body: Bytes) -> GetResult {
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(body) }).boxed());
    let GetResult { meta, range, attributes, .. } = answer;
    GetResult { payload, meta, range, attributes }
}

async fn body_of(answer: GetResult) -> Result<(GetResult, Bytes)> {
    let (meta, range, attributes) = (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
    let body = answer.bytes().await?;
    let empty = GetResultPayload::Stream(futures::stream::empty().boxed());
    Ok((GetResult { payload: empty, meta, range, attributes }, body))
}

fn flipped(body: &Bytes, bit: u64) -> Bytes {
    let mut bytes = body.to_vec();
    if !bytes.is_empty() {
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[usize::try_from(bit / 8).expect("within a body in memory")] ^= 1 << (bit % 8);
    }
    bytes.into()
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.shared.draw(Operation::Put, location);
        self.shared.moved(Operation::Put, payload.content_length() as u64);
        match fault {
            Some(Fault::Refused(answer)) => answer.give(location.as_ref()).await,
            Some(Fault::Held(answer)) => {
                self.shared.held.lock().push((location.clone(), payload, options));
                answer.give(location.as_ref()).await
            }
            Some(Fault::Done(answer)) => {
                self.shared.put(location, payload, options).await?;
                answer.give(location.as_ref()).await
            }
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                self.shared.put(location, payload, options).await
            }
            Some(Fault::Short(_) | Fault::Flip(_)) | None => self.shared.put(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.shared.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FaultUpload { inner, shared: self.shared.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let fault = self.shared.draw(operation, location);
        match fault {
            Some(Fault::Refused(answer) | Fault::Held(answer) | Fault::Done(answer)) => return answer.give(location.as_ref()).await,
            Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::Short(_) | Fault::Flip(_)) | None => {}
        }
        let answer = self.shared.inner.get_opts(location, options).await?;
        if operation == Operation::Head {
            return Ok(answer);
        }
        self.shared.moved(operation, answer.range.end - answer.range.start);
        match fault {
            Some(Fault::Short(missing)) => {
                let (answer, body) = body_of(answer).await?;
                let kept = body.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
                Ok(with_body(answer, body.slice(..kept)))
            }
            Some(Fault::Flip(bit)) => {
                let (answer, body) = body_of(answer).await?;
                let body = flipped(&body, bit);
                Ok(with_body(answer, body))
            }
            _ => Ok(answer),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = self.shared.clone();
        locations
            .then(move |location| {
                let shared = shared.clone();
                async move {
                    let location = location?;
                    match shared.draw(Operation::Delete, &location) {
                        Some(Fault::Refused(answer) | Fault::Held(answer)) => return answer.give(location.as_ref()).await,
                        Some(Fault::Done(answer)) => {
                            shared.inner.delete(&location).await?;
                            return answer.give(location.as_ref()).await;
                        }
                        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
                        Some(Fault::Short(_) | Fault::Flip(_)) | None => {}
                    }
                    shared.inner.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, prefix) = (self.shared.clone(), prefix.cloned());
        let listing = async move {
            let under = prefix.clone().unwrap_or_default();
            match shared.draw(Operation::List, &under) {
                Some(Fault::Refused(answer) | Fault::Held(answer) | Fault::Done(answer)) => return answer.give(under.as_ref()).await,
                Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
                Some(Fault::Short(_) | Fault::Flip(_)) | None => {}
            }
            let hidden = shared.hidden();
            let listed = shared.inner.list(prefix.as_ref());
            Ok(listed.try_filter(move |meta| futures::future::ready(!hidden.contains(&meta.location))))
        };
        futures::stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let under = prefix.cloned().unwrap_or_default();
        let mut folders = BTreeSet::new();
        let mut objects = Vec::new();
        let mut listed = self.list(prefix);
        while let Some(meta) = listed.try_next().await? {
            let Some(mut parts) = meta.location.prefix_match(&under) else { continue };
            let Some(first) = parts.next() else { continue };
            if parts.next().is_some() {
                folders.insert(under.clone().join(first));
            } else {
                drop(parts);
                objects.push(meta);
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
