//! From records to pushes of bounded size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::{Metadata, PushBatch, StreamEntries, StreamId, StreamLabels, TenantId};
use crate::pairs::Pairs;
use crate::transfer::error::ImportError;
use crate::transfer::record::{ImportedEntry, Record, Records};

/// Refusals that are told one by one.
const TOLD: usize = 20;

/// Streams whose derived labels are remembered.
const KNOWN_STREAMS: usize = 16_384;

/// Bytes that an entry and a stream take beside their texts.
const ENTRY_OVERHEAD: usize = 64;
const STREAM_OVERHEAD: usize = 640;

/// Derives what is derived at ingest, by the same rules.
pub trait Derive {
    /// What is known of a stream for its entries.
    type Stream;

    /// Labels as stored; the reason of a refusal is meant for a person.
    fn stream(&self, pushed: Pairs) -> Result<(StreamLabels, Self::Stream), String>;

    fn metadata(&self, stream: &Self::Stream, pushed: Pairs, line: &str) -> Metadata;
}

/// A record that is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Line or row, from 1.
    pub place: u64,
    pub reason: String,
}

/// What was read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records, whatever became of them.
    pub read: u64,
    /// Entries that were handed over.
    pub accepted: u64,
    /// Records that are no entry.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<Refusal>,
    /// Entries of other tenants, which were passed over.
    pub of_others: u64,
}

type Known<S> = Arc<(Arc<StreamLabels>, S)>;

/// Reads an input as pushes of one tenant.
pub struct Batches<R, D: Derive> {
    records: R,
    derive: D,
    tenant: TenantId,
    /// Bytes of a push.
    bytes: usize,
    known: HashMap<Pairs, Known<D::Stream>>,
    tally: Tally,
    /// Why the input cannot be read on.
    failure: Option<ImportError>,
}

/// The push that is filling.
struct OpenBatch {
    streams: Vec<StreamEntries>,
    places: HashMap<StreamId, usize>,
    bytes: usize,
}

impl<R: Records, D: Derive> Batches<R, D> {
    /// `bytes`: how much one push may hold, beside the entry that makes it full.
    pub fn new(records: R, derive: D, tenant: TenantId, bytes: usize) -> Self {
        Self { records, derive, tenant, bytes, known: HashMap::new(), tally: Tally::default(), failure: None }
    }

    pub fn records(&self) -> &R {
        &self.records
    }

    /// What was read so far; what the pushes so far hold is accepted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn fill(&mut self, open: &mut OpenBatch) -> Result<(), ImportError> {
        while open.bytes < self.bytes {
            let Some(record) = self.records.next() else { return Ok(()) };
            let record = record?;
            self.tally.read += 1;
            match record {
                Record::Entry(entry) => match self.stream(entry.labels.clone()) {
                    Ok(known) => self.take(open, &known, entry),
                    Err(reason) => self.refuse(reason),
                },
                Record::Refused(reason) => self.refuse(reason),
                Record::OtherTenant => self.tally.of_others += 1,
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: String) {
        self.tally.refused += 1;
        if self.tally.refusals.len() < TOLD {
            self.tally.refusals.push(Refusal { place: self.records.place(), reason });
        }
    }

    fn stream(&mut self, pushed: Pairs) -> Result<Known<D::Stream>, String> {
        if let Some(known) = self.known.get(&pushed) {
            return Ok(known.clone());
        }
        let (labels, of_stream) = self.derive.stream(pushed.clone())?;
        let known = Arc::new((Arc::new(labels), of_stream));
        if self.known.len() >= KNOWN_STREAMS {
            self.known.clear();
        }
        self.known.insert(pushed, known.clone());
        Ok(known)
    }

    fn take(&mut self, open: &mut OpenBatch, known: &Known<D::Stream>, entry: ImportedEntry) {
        let (labels, of_stream) = known.as_ref();
        let place = *open.places.entry(labels.id()).or_insert_with(|| {
            open.bytes += STREAM_OVERHEAD;
            open.streams.push(StreamEntries::new(labels.clone()));
            open.streams.len() - 1
        });
        open.bytes += entry.line.len() + entry.metadata.as_bytes().len() + ENTRY_OVERHEAD;
        let metadata = self.derive.metadata(of_stream, entry.metadata, &entry.line);
        let stream = &mut open.streams[place];
        let handle = stream.intern(metadata);
        stream.push(entry.timestamp, &entry.line, handle);
        self.tally.accepted += 1;
    }
}

impl<R: Records, D: Derive> Iterator for Batches<R, D> {
    type Item = Result<PushBatch, ImportError>;

    /// The next push. An input that cannot be read on gives what was read of it, then the error.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        let mut open = OpenBatch { streams: Vec::new(), places: HashMap::new(), bytes: 0 };
        let outcome = self.fill(&mut open);
        if open.streams.is_empty() {
            return outcome.err().map(Err);
        }
        self.failure = outcome.err();
        Some(Ok(PushBatch { tenant: self.tenant.clone(), streams: open.streams }))
    }
}
