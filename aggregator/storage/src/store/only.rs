//! A store of which only some objects are shown.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use crate::store::Store;

/// Reads what is named; writes nothing.
#[derive(Debug, Clone)]
struct Only {
    inner: Arc<dyn ObjectStore>,
    shown: Arc<BTreeSet<Path>>,
}

impl Store {
    /// The same store as if it held these objects alone. It can be read only.
    pub(crate) fn only(&self, keys: impl Iterator<Item = String>) -> Self {
        let shown = Arc::new(keys.map(|key| self.path(&key)).collect());
        Self { objects: Arc::new(Only { inner: self.objects.clone(), shown }), disk_cache: None, ..self.clone() }
    }
}

impl Only {
    fn missing(location: &Path) -> Error {
        Error::NotFound { path: location.to_string(), source: "it is not of what is shown".into() }
    }
}

fn read_only() -> Error {
    Error::NotSupported { source: "this view of a store is read only".into() }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects of {}", self.shown.len(), self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Only {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.shown.contains(location) { self.inner.get_opts(location, options).await } else { Err(Self::missing(location)) }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|location| location.and_then(|_| Err(read_only()))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let shown = self.shown.clone();
        self.inner.list(prefix).try_filter(move |meta| futures::future::ready(shown.contains(&meta.location))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(|meta| self.shown.contains(&meta.location));
        listed.common_prefixes.retain(|folder| self.shown.iter().any(|path| path.prefix_matches(folder)));
        Ok(listed)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}
