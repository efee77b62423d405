//! A local folder as object store, with the durability that a 2xx promises.
//!
//! Create: write a temporary file, fsync it, hard-link it to its name (which fails if the name is taken), fsync the folder and every folder
//! that was made on the way, remove the temporary name. Only then is it stored. If a sync fails after the link, the object is there and perhaps
//! not durable: an attempt that finds the name taken by the same bytes syncs all of it before it says so. The library's own file store never
//! syncs, so only reading is left to it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
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

/// Bytes of two files that are compared at once.
const COMPARED_BYTES: usize = 64 << 10;

/// Makes the names in a folder durable.
type SyncFolder = fn(&FilePath) -> io::Result<()>;

#[derive(Debug)]
pub(crate) struct FolderStore {
    root: Root,
    reader: LocalFileSystem,
}

/// The folder of all objects.
#[derive(Debug, Clone)]
struct Root {
    path: PathBuf,
    sync: SyncFolder,
}

impl FolderStore {
    /// Opens `root`, making it if it is missing. Others may be writing there, so what lies in the temporary folder is left alone.
    pub(crate) fn open(root: &FilePath) -> io::Result<Self> {
        Self::with_sync(root, sync_folder)
    }

    fn with_sync(root: &FilePath, sync: SyncFolder) -> io::Result<Self> {
        fs::create_dir_all(root.join(TEMPORARY))?;
        let reader = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Self { root: Root { path: root.to_owned(), sync }, reader })
    }

    fn file_of(&self, location: &Path) -> PathBuf {
        location.parts().fold(self.root.path.clone(), |file, part| file.join(part.as_ref()))
    }
}

/// Removes what a crash left behind in the temporary folder.
pub(crate) fn clear_temporary(root: &FilePath) -> io::Result<()> {
    let temporary = root.join(TEMPORARY);
    if temporary.exists() { fs::remove_dir_all(&temporary) } else { Ok(()) }
}

/// Writes `payload` to `temporary`, then gives it the name `target`.
fn create(temporary: &FilePath, target: &FilePath, root: &Root, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(temporary)?;
    let linked = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| publish(&file, temporary, target, root));
    match fs::remove_file(temporary) {
        Ok(()) => linked,
        Err(error) => linked.and(Err(error)),
    }
}

/// Makes a written temporary file durable and gives it the name `target`.
fn publish(file: &File, temporary: &FilePath, target: &FilePath, root: &Root) -> io::Result<()> {
    file.sync_all()?;
    let folder = target.parent().unwrap_or(&root.path);
    let made = make_folders(&root.path, folder)?;
    match fs::hard_link(temporary, target) {
        Ok(()) => {
            (root.sync)(folder)?;
            made.iter().try_for_each(|parent| (root.sync)(parent))
        }
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists && have_same_bytes(temporary, target)? => {
            // Perhaps ours, from an attempt whose syncs failed; which folders that one made is not known.
            File::open(target)?.sync_all()?;
            folder.ancestors().take_while(|folder| folder.starts_with(&root.path)).try_for_each(root.sync)?;
            Err(taken)
        }
        outcome => outcome,
    }
}

fn have_same_bytes(left: &FilePath, right: &FilePath) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut some, mut others) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let read = left.read(&mut some)?;
        if read == 0 {
            return Ok(true);
        }
        right.read_exact(&mut others[..read])?;
        if some[..read] != others[..read] {
            return Ok(false);
        }
    }
}

/// An object that is written piece by piece.
#[derive(Debug)]
struct FolderUpload {
    location: Path,
    temporary: PathBuf,
    target: PathBuf,
    root: Root,
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
        write!(f, "folder `{}`", self.root.path.display())
    }
}

#[async_trait::async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return Err(Error::NotSupported { source: "nothing is ever overwritten: only create-only puts".into() });
        }
        let temporary = self.root.path.join(TEMPORARY).join(Ulid::new().to_string());
        let (target, root, path) = (self.file_of(location), self.root.clone(), location.clone());
        tokio::task::spawn_blocking(move || create(&temporary, &target, &root, &payload).map_err(|error| put_error(&path, error)))
            .await
            .map_err(|source| Error::JoinError { source })??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let temporary = self.root.path.join(TEMPORARY).join(Ulid::new().to_string());
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::store::{Created, Store};

    thread_local! {
        /// Folders that were synced since the last fault, and how many syncs fail from now on.
        static SYNCED: RefCell<(Vec<PathBuf>, usize)> = const { RefCell::new((Vec::new(), 0)) };
    }

    fn sync_or_fail(folder: &FilePath) -> io::Result<()> {
        SYNCED.with_borrow_mut(|(synced, failures)| {
            if *failures > 0 {
                *failures -= 1;
                synced.clear();
                return Err(io::Error::other("the disk does not answer"));
            }
            synced.push(folder.to_owned());
            sync_folder(folder)
        })
    }

    fn fail(syncs: usize) {
        SYNCED.with_borrow_mut(|(synced, failures)| (*synced, *failures) = (Vec::new(), syncs));
    }

    fn synced() -> Vec<PathBuf> {
        SYNCED.with_borrow(|(synced, _)| synced.clone())
    }

    /// A put, on this thread.
    fn put(store: &FolderStore, key: &str, bytes: &'static [u8]) -> io::Result<()> {
        let temporary = store.root.path.join(TEMPORARY).join(Ulid::new().to_string());
        create(&temporary, &store.file_of(&Path::from(key)), &store.root, &PutPayload::from_static(bytes))
    }

    #[test]
    fn what_was_linked_but_not_synced_is_synced_before_it_counts_as_there() {
        let root = tempfile::tempdir().expect("a folder");
        let store = FolderStore::with_sync(root.path(), sync_or_fail).expect("opens");
        let folders = || ["v1/seg/W", "v1/seg", "v1", ""].map(|folder| root.path().join(folder)).to_vec();
        for failing in [1, 2, 3] {
            let key = format!("v1/seg/W/{failing}");
            fail(failing);
            for _ in 0..failing {
                let error = put(&store, &key, b"abc").expect_err("not durable");
                assert_ne!(error.kind(), ErrorKind::AlreadyExists, "it must not count as stored: {error}");
            }
            let error = put(&store, &key, b"abc").expect_err("the name is taken");
            assert_eq!((error.kind(), synced()), (ErrorKind::AlreadyExists, folders()), "{failing}");
        }
        // Of what another stored nothing is our affair.
        fail(0);
        for other in [&b"abd"[..], b"longer"] {
            let temporary = store.root.path.join(TEMPORARY).join("other");
            let taken = create(&temporary, &store.file_of(&Path::from("v1/seg/W/1")), &store.root, &PutPayload::from(other.to_vec()));
            assert_eq!((taken.expect_err("the name is taken").kind(), synced().len()), (ErrorKind::AlreadyExists, 0));
        }
        assert_eq!(fs::read_dir(root.path().join(TEMPORARY)).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn an_object_whose_sync_failed_once_is_stored_by_the_next_attempt() {
        static FAILURES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        fn fail_once(folder: &FilePath) -> io::Result<()> {
            match FAILURES.swap(0, std::sync::atomic::Ordering::Relaxed) {
                0 => sync_folder(folder),
                _ => Err(io::Error::other("the disk does not answer")),
            }
        }
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::new(Arc::new(FolderStore::with_sync(root.path(), fail_once).expect("opens")), "");
        assert_eq!(store.create("a/b", Bytes::from_static(b"x"), Duration::from_secs(30)).await.expect("stores"), Created::Stored);
        assert_eq!(store.get("a/b").await.expect("reads"), Some(Bytes::from_static(b"x")));
    }
}
