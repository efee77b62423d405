//! A local folder as object store, with the durability that a 2xx promises.
//!
//! Create: write a temporary file, fsync it, hard-link it to its name (which fails if the name is taken), fsync the folder and every folder
//! that was made on the way, remove the temporary name. Only then is it stored. The library's own file store never
//! syncs, so only reading is left to it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use ulid::Ulid;

const STORE: &str = "folder";

/// Temporary files lie here, beside the objects and outside of every listing.
const TEMPORARY: &str = ".tmp";

#[derive(Debug)]
pub(crate) struct FolderStore {
    root: PathBuf,
    reader: LocalFileSystem,
}

impl FolderStore {
    /// Opens `root`, making it if it is missing. Others may be writing there, so what lies in the temporary folder is left alone.
    pub(crate) fn open(root: &FilePath) -> io::Result<Self> {
        fs::create_dir_all(root.join(TEMPORARY))?;
        let reader = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Self { root: root.to_owned(), reader })
    }

    fn file_of(&self, location: &Path) -> PathBuf {
        location.parts().fold(self.root.clone(), |file, part| file.join(part.as_ref()))
    }
}

/// Removes what a crash left behind in the temporary folder.
pub(crate) fn clear_temporary(root: &FilePath) -> io::Result<()> {
    let temporary = root.join(TEMPORARY);
    if temporary.exists() { fs::remove_dir_all(&temporary) } else { Ok(()) }
}

/// Writes `payload` to `temporary`, then gives it the name `target`.
fn create(temporary: &FilePath, target: &FilePath, root: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(temporary)?;
    let linked = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| publish(&file, temporary, target, root));
    match fs::remove_file(temporary) {
        Ok(()) => linked,
        Err(error) => linked.and(Err(error)),
    }
}

/// Makes a written temporary file durable and gives it the name `target`.
fn publish(file: &File, temporary: &FilePath, target: &FilePath, root: &FilePath) -> io::Result<()> {
    file.sync_all()?;
    let folder = target.parent().unwrap_or(root);
    let made = make_folders(root, folder)?;
    fs::hard_link(temporary, target)?;
    sync_folder(folder)?;
    made.iter().try_for_each(|parent| sync_folder(parent))
}

/// An object that is written piece by piece.
#[derive(Debug)]
struct FolderUpload {
    location: Path,
    temporary: PathBuf,
    target: PathBuf,
    root: PathBuf,
    file: Option<File>,
}

#[async_trait::async_trait]
impl MultipartUpload for FolderUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the upload has ended")).and_then(File::try_clone);
        let location = self.location.clone();
        Box::pin(async move {
            let write = move || file.and_then(|mut file| data.iter().try_for_each(|part| file.write_all(part)));
            let written = tokio::task::spawn_blocking(write).await.map_err(|source| Error::JoinError { source })?;
            written.map_err(|error| put_error(&location, error))
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let ended = put_error(&self.location, io::Error::other("the upload has ended"));
        let file = self.file.take().ok_or(ended)?;
        let (temporary, target, root, location) = (self.temporary.clone(), self.target.clone(), self.root.clone(), self.location.clone());
        let publish = move || {
            let published = publish(&file, &temporary, &target, &root);
            fs::remove_file(&temporary).and(published)
        };
        let published = tokio::task::spawn_blocking(publish).await.map_err(|source| Error::JoinError { source })?;
        published.map_err(|error| put_error(&location, error))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.file = None;
        fs::remove_file(&self.temporary).map_err(|error| put_error(&self.location, error))
    }
}

/// Makes the folders down to `folder`; returns the parents that gained one.
fn make_folders(root: &FilePath, folder: &FilePath) -> io::Result<Vec<PathBuf>> {
    let mut parents = Vec::new();
    let mut missing = folder;
    while missing != root && !missing.exists() {
        let Some(parent) = missing.parent() else { break };
        parents.push(parent.to_owned());
        missing = parent;
    }
    fs::create_dir_all(folder)?;
    Ok(parents)
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn put_error(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
        _ => Error::Generic { store: STORE, source: error.into() },
    }
}

impl std::fmt::Display for FolderStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "folder `{}`", self.root.display())
    }
}

#[async_trait::async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return Err(Error::NotSupported { source: "nothing is ever overwritten: only create-only puts".into() });
        }
        let temporary = self.root.join(TEMPORARY).join(Ulid::new().to_string());
        let (target, root, path) = (self.file_of(location), self.root.clone(), location.clone());
        tokio::task::spawn_blocking(move || create(&temporary, &target, &root, &payload).map_err(|error| put_error(&path, error)))
            .await
            .map_err(|source| Error::JoinError { source })??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let temporary = self.root.join(TEMPORARY).join(Ulid::new().to_string());
        let file = File::options().write(true).create_new(true).open(&temporary).map_err(|error| put_error(location, error))?;
        let (target, root) = (self.file_of(location), self.root.clone());
        Ok(Box::new(FolderUpload { location: location.clone(), temporary, target, root, file: Some(file) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reader.get_opts(location, options).await
    }

    /// Opens and reads in one go, off the threads of tasks; [`Self::get_opts`] takes two.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.reader.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.reader.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reader.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reader.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reader.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(Error::NotSupported { source: "objects are never copied within a folder".into() })
    }
}

pub(crate) fn shared(root: &FilePath) -> io::Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(FolderStore::open(root)?))
}
