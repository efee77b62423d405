//! Where merged rows go: a data file for each day, a new one when one is large enough, uploaded while it grows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;

use crate::compact::erasure::{Erasure, StreamErasure};
use crate::compact::error::CompactError;
use crate::compact::merge::Sink;
use crate::compact::output::{FileBuilder, FileSpec, FinishedFile};
use crate::compact::run::Run;
use crate::compact::whole_pages::LARGE_STREAM;
use crate::entry::StreamId;
use crate::manifest::DataFile;
use crate::pairs::Pairs;
use crate::store::{CreateError, Created, Day, Store, Upload};

const PUT_PATIENCE: Duration = Duration::from_secs(60);

/// Writes the outputs of one compaction.
pub(crate) struct DayFiles {
    store: Store,
    /// The day in it is of no account.
    spec: FileSpec,
    /// Bytes of lines after which a file is closed.
    file_bytes: u64,
    open: BTreeMap<Day, OpenFile>,
    finished: Written,
    stream: Option<OpenStream>,
    erasure: Arc<dyn Erasure>,
    erased_of_stream: StreamErasure,
    /// Rows left out because they were deleted or past their retention.
    pub(crate) erased: u64,
}

/// Files that are complete.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) files: Vec<DataFile>,
    /// Pages in them that went over as they were stored.
    pub(crate) whole_pages: u64,
}

/// The stream whose rows come now.
struct OpenStream {
    id: StreamId,
    labels: Pairs,
    is_large: bool,
}

struct OpenFile {
    builder: FileBuilder,
    /// Begun with the first row group that is complete.
    upload: Option<Upload>,
    uploaded_groups: usize,
    /// The builder was told of the present stream.
    knows_stream: bool,
}

impl DayFiles {
    pub(crate) fn new(store: Store, spec: FileSpec, file_bytes: u64, erasure: Arc<dyn Erasure>) -> Self {
        Self {
            store,
            spec,
            file_bytes,
            open: BTreeMap::new(),
            finished: Written::default(),
            stream: None,
            erasure,
            erased_of_stream: StreamErasure::default(),
            erased: 0,
        }
    }

    async fn append_to(&mut self, day: Day, run: &Run, start: usize, length: usize) -> Result<(), CompactError> {
        let file = match self.open.entry(day) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let spec = FileSpec { day, ..self.spec.clone() };
                place.insert(OpenFile { builder: FileBuilder::new(spec)?, upload: None, uploaded_groups: 0, knows_stream: false })
            }
        };
        if !file.knows_stream {
            let stream = self.stream.as_ref().expect("a stream was begun");
            if stream.is_large {
                file.builder.close_page()?;
            }
            file.builder.begin_stream(stream.id, &stream.labels);
            file.knows_stream = true;
        }
        file.builder.take(run, start, length)?;
        if file.builder.row_groups() > file.uploaded_groups {
            let ready = file.builder.drain()?;
            file.uploaded_groups = file.builder.row_groups();
            write_pieces(file.upload(&self.store).await?, ready).await?;
        }
        if file.builder.raw_bytes() >= self.file_bytes
            && let Some(full) = self.open.remove(&day)
        {
            full.finish(&self.store, &mut self.finished).await?;
        }
        Ok(())
    }

    /// Completes every file, or none: what was begun is thrown away then.
    pub(crate) async fn finish(mut self) -> Result<Written, CompactError> {
        while let Some((_, file)) = self.open.pop_first() {
            if let Err(error) = file.finish(&self.store, &mut self.finished).await {
                self.abort().await;
                return Err(error);
            }
        }
        Ok(self.finished)
    }

    /// Throws away what is not complete; complete files are swept as orphans.
    pub(crate) async fn abort(self) {
        for (_, file) in self.open {
            if let Some(upload) = file.upload {
                upload.abort().await;
            }
        }
    }
}

impl OpenFile {
    async fn upload(&mut self, store: &Store) -> Result<&mut Upload, CompactError> {
        if self.upload.is_none() {
            self.upload = Some(store.upload(&self.builder.key()).await?);
        }
        Ok(self.upload.as_mut().expect("it was begun"))
    }

    async fn finish(self, store: &Store, written: &mut Written) -> Result<(), CompactError> {
        let key = self.builder.key();
        let finished = match self.upload {
            Some(upload) => finish_upload(self.builder, upload).await?,
            // Of one row group: a single put does.
            None => {
                let mut finished = self.builder.finish()?;
                let whole = PutPayload::from_iter(std::mem::take(&mut finished.rest));
                if store.create(&key, whole, PUT_PATIENCE).await? == Created::Taken {
                    return Err(CreateError { key, reason: "another object has this name".to_owned() }.into());
                }
                finished
            }
        };
        written.files.push(finished.file);
        written.whole_pages += finished.whole_pages;
        Ok(())
    }
}

/// Writes the rest of a file. If that fails, nothing of it stays.
async fn finish_upload(builder: FileBuilder, mut upload: Upload) -> Result<FinishedFile, CompactError> {
    match write_rest(builder, &mut upload).await {
        Ok(finished) => {
            upload.finish().await?;
            Ok(finished)
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn write_rest(mut builder: FileBuilder, upload: &mut Upload) -> Result<FinishedFile, CompactError> {
    // The last row group is not held beside the index.
    builder.end_row_group()?;
    write_pieces(upload, builder.drain()?).await?;
    let mut finished = builder.finish()?;
    write_pieces(upload, std::mem::take(&mut finished.rest)).await?;
    Ok(finished)
}

/// Each piece is let go when its part is stored.
async fn write_pieces(upload: &mut Upload, pieces: Vec<Bytes>) -> Result<(), CreateError> {
    for piece in pieces {
        upload.write(piece).await?;
    }
    Ok(())
}

impl Sink for DayFiles {
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs, bytes: u64) {
        self.stream = Some(OpenStream { id, labels: labels.clone(), is_large: bytes >= LARGE_STREAM });
        self.erased_of_stream = self.erasure.of_stream(labels);
        self.open.values_mut().for_each(|file| file.knows_stream = false);
    }

    async fn append(&mut self, run: &Run, start: usize, length: usize) -> Result<(), CompactError> {
        if self.erased_of_stream.is_nothing() {
            return self.append_by_day(run, start..start + length).await;
        }
        let lines = run.lines()?;
        let kept: Vec<bool> =
            (start..start + length).map(|row| self.erased_of_stream.keeps(run.timestamps[row], lines.line(row))).collect();
        let mut at = 0;
        while at < length {
            let same = kept[at..].iter().take_while(|keeps| **keeps == kept[at]).count();
            match kept[at] {
                true => self.append_by_day(run, start + at..start + at + same).await?,
                false => self.erased += same as u64,
            }
            at += same;
        }
        Ok(())
    }
}

impl DayFiles {
    async fn append_by_day(&mut self, run: &Run, rows: Range<usize>) -> Result<(), CompactError> {
        let mut at = rows.start;
        while at < rows.end {
            let day = Day::of(run.timestamps[at]);
            let same = run.timestamps[at..rows.end].partition_point(|&stamp| Day::of(stamp) <= day);
            self.append_to(day, run, at, same).await?;
            at += same;
        }
        Ok(())
    }
}
