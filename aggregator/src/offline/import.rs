//! `import`: the lines of a file, by the ordinary way of a push, then folded, so that none is there twice.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tailwater_storage::catalog::Catalog;
use tailwater_storage::cluster::Cluster;
use tailwater_storage::compact::{Compactor, FoldWhen};
use tailwater_storage::entry::{PushBatch, TenantId};
use tailwater_storage::transfer::{Batches, ImportError, JsonLines, ParquetRows, Records, Tally, is_parquet};
use tokio::sync::mpsc;

use crate::clock::{Clock, SystemClock};
use crate::ingest::buffer::{IngestOptions, Ingester};
use crate::offline::derive::ImportDerive;
use crate::offline::export::stamp;
use crate::offline::from_loki::LokiLines;
use crate::offline::opened::Opened;
use crate::offline::progress::Progress;
use crate::offline::{ImportInput, ImportOptions, LokiSource, OfflineError};
use crate::retention::RetentionRules;
use crate::wiring;

const STANDARD_INPUT: &str = "-";

/// Bytes of a push; each makes a segment.
const BATCH_BYTES: usize = 8 << 20;

/// How far back a Loki is asked without a time, nanoseconds.
const MONTH: i64 = 31 * 86_400 * 1_000_000_000;

/// Pushes that are read ahead.
const READ_AHEAD: usize = 2;

/// How long a store may take to answer before the import is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stores the lines and says on standard output what became of them.
pub async fn import(options: &ImportOptions) -> Result<(), OfflineError> {
    let input = match &options.input {
        ImportInput::File(path) => Input::open(path)?,
        ImportInput::Loki(source) => Input::loki(source)?,
    };
    let opened = Opened::open(&options.source, false).await?;
    opened.store.probe().await?;
    Cluster::open(&opened.store, opened.config.storage.format_version).await?;
    let tenant = opened.tenant(options.tenant.as_deref());
    let records = input.records(&tenant).map_err(|source| OfflineError::Import { imported: 0, source })?;
    let catalog = opened.catalog().await?;
    let importer = Importer {
        rules: opened.rules(&catalog)?,
        compactor: Compactor::new(catalog.clone(), wiring::work_options(&opened.config).compaction, opened.manifest_clock()),
        tenant: tenant.clone(),
        now: opened.clock.now(),
    };
    // What lies there already is no repetition of what comes.
    importer.fold(FoldWhen::AtOnce).await?;
    let derive = ImportDerive { limits: opened.config.tenant_limits().of(&tenant) };
    let batches = Batches::new(records, derive, tenant, BATCH_BYTES);
    let (tally, duplicates) = importer.run(&opened, &catalog, batches).await?;
    tell(&tally, duplicates);
    Ok(())
}

fn tell(tally: &Tally, duplicates: u64) {
    let Tally { read, accepted, refused, refusals, of_others } = tally;
    for refusal in refusals {
        println!("refused  line or row {}: {}", refusal.place, refusal.reason);
    }
    if *refused > refusals.len() as u64 {
        println!("refused  {} more", refused - refusals.len() as u64);
    }
    if *of_others > 0 {
        println!("{of_others} entries are of other tenants and were passed over");
    }
    println!("{read} read, {} stored, {duplicates} duplicates, {refused} refused", accepted.saturating_sub(duplicates));
}

/// What is read.
enum Input {
    Stream(Box<dyn BufRead + Send>, Option<u64>),
    Parquet(File),
}

impl Input {
    fn open(path: &Path) -> Result<Self, OfflineError> {
        if path.as_os_str() == STANDARD_INPUT {
            let mut input = BufReader::new(io::stdin());
            if is_parquet(input.fill_buf()?) {
                return Err(OfflineError::ParquetInput);
            }
            return Ok(Self::Stream(Box::new(input), None));
        }
        let failed = |source| OfflineError::File { path: path.display().to_string(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut beginning = Vec::new();
        file.by_ref().take(4).read_to_end(&mut beginning).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if is_parquet(&beginning) {
            return Ok(Self::Parquet(file));
        }
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self::Stream(Box::new(BufReader::with_capacity(1 << 20, file)), Some(size)))
    }

    fn loki(source: &LokiSource) -> Result<Self, OfflineError> {
        let now = SystemClock.now();
        let time = |flag, text: &Option<String>| text.as_ref().map(|text| stamp(flag, text)).transpose();
        let end = time("to", &source.to)?.unwrap_or(now);
        let start = time("from", &source.from)?.unwrap_or(now.saturating_sub(MONTH));
        Ok(Self::Stream(Box::new(BufReader::with_capacity(1 << 20, LokiLines::new(source.clone(), (start, end))?)), None))
    }

    fn records(self, tenant: &TenantId) -> Result<Box<dyn Records + Send>, ImportError> {
        Ok(match self {
            Self::Stream(input, size) => Box::new(JsonLines::new(input, size)),
            Self::Parquet(file) => Box::new(ParquetRows::open(file, tenant.clone())?),
        })
    }
}

/// What the reading thread hands over.
enum Handed {
    Push { push: PushBatch, done: u64, total: Option<u64>, read: u64 },
    End { tally: Tally, failure: Option<ImportError> },
}

struct Importer {
    rules: RetentionRules,
    compactor: Compactor,
    tenant: TenantId,
    now: i64,
}

impl Importer {
    /// Returns what was read, and how many entries were there already.
    async fn run(
        &self,
        opened: &Opened,
        catalog: &Arc<Catalog>,
        batches: Batches<Box<dyn Records + Send>, ImportDerive>,
    ) -> Result<(Tally, u64), OfflineError> {
        let options =
            IngestOptions { flush_interval: Duration::ZERO, segment_bytes: BATCH_BYTES, ack_timeout: PATIENCE, budget_bytes: usize::MAX };
        let ingester = Ingester::start(catalog.clone(), opened.clock.clone(), options);
        let outcome = self.push_all(&ingester, batches).await;
        ingester.stop().await;
        let (tally, failure, folded) = outcome?;
        let duplicates = folded + self.fold(FoldWhen::AtOnce).await? + ingester.metrics().duplicates();
        match failure {
            Some(source) => Err(OfflineError::Import { imported: tally.accepted, source }),
            None => Ok((tally, duplicates)),
        }
    }

    async fn push_all(
        &self,
        ingester: &Ingester,
        batches: Batches<Box<dyn Records + Send>, ImportDerive>,
    ) -> Result<(Tally, Option<ImportError>, u64), OfflineError> {
        let (hand_over, mut reads) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || read(batches, &hand_over));
        let progress = Progress::new("importing");
        let (mut imported, mut duplicates) = (0, 0);
        while let Some(read) = reads.recv().await {
            match read {
                Handed::Push { push, done, total, read } => {
                    let entries = push.entries() as u64;
                    ingester.push(push).await.map_err(|source| OfflineError::Push { imported, source })?;
                    imported += entries;
                    duplicates += self.fold(FoldWhen::Due).await?;
                    progress.set(done, total, || format!("{read} entries read, {imported} handed to the store"));
                }
                Handed::End { tally, failure } => return Ok((tally, failure, duplicates)),
            }
        }
        // The reader ended without a word: it panicked.
        reading.await?;
        Err(OfflineError::Output(io::Error::other("reading the input ended early")))
    }

    /// Folds segments; returns how many entries were there twice.
    async fn fold(&self, when: FoldWhen) -> Result<u64, OfflineError> {
        let mut duplicates = 0;
        loop {
            let erasure = self.rules.erasure(&self.tenant, self.now, false);
            match self.compactor.fold(&self.tenant, erasure, when).await.map_err(OfflineError::Fold)? {
                Some(work) => duplicates += work.duplicates,
                None => return Ok(duplicates),
            }
        }
    }
}

/// Reads on a thread of its own until nobody listens.
fn read(mut batches: Batches<Box<dyn Records + Send>, ImportDerive>, hand_over: &mpsc::Sender<Handed>) {
    let mut failure = None;
    while let Some(batch) = batches.next() {
        match batch {
            Ok(push) => {
                let (done, total) = (batches.records().done(), batches.records().total());
                let read = batches.tally().read;
                if hand_over.blocking_send(Handed::Push { push, done, total, read }).is_err() {
                    return;
                }
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // Nobody listens only where the import has failed already.
    drop(hand_over.blocking_send(Handed::End { tally: batches.tally().clone(), failure }));
}
