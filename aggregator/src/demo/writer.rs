//! The demo's pods: a thread that writes their logs as a container runtime does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tailwater_podwriter::{LiveOptions, UnixNanoseconds, Writer};

/// The pods of a seed are the same at every start.
const SEED: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("cannot write pod logs below `{folder}`: {source}; choose another folder with --data")]
    Write { folder: PathBuf, source: tailwater_podwriter::Error },
    #[error("cannot start the thread that writes pod logs: {0}")]
    Thread(std::io::Error),
}

pub(super) struct LiveWriter {
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), tailwater_podwriter::Error>>,
}

impl LiveWriter {
    /// Starts to write below `folder`, going on where an earlier start ended.
    pub(super) fn start(folder: &Path, lines_per_second: f64) -> Result<Self, WriterError> {
        let failed = |source| WriterError::Write { folder: folder.to_owned(), source };
        let options = LiveOptions::new(folder, SEED, lines_per_second);
        let mut writer = Writer::new(&options, UnixNanoseconds::now()).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::Builder::new().name("pods".to_owned()).spawn(move || writer.run(&told)).map_err(WriterError::Thread)?;
        Ok(Self { folder: folder.to_owned(), stop, thread })
    }

    /// Ends the thread; tells how its writing ended.
    pub(super) fn stop(self) -> Result<(), WriterError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(written) => written.map_err(|source| WriterError::Write { folder: self.folder, source }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
