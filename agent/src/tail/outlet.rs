//! Where an instance's entries go: its labels, rendered once, and its place in the current batch.

use std::sync::Arc;

use tailwater_proto::write::SharedMetadata;

use super::rate::ContainerRate;
use super::stages::StageOutlet;
use crate::batch::builder::{BatchBuilder, StreamSlot};
use crate::parse::cri::OutputStream;

/// Labels and metadata of one instance, ready for the wire.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    labels: [Arc<[u8]>; 2],
    shared_metadata: Arc<SharedMetadata>,
    /// Whether the receiver takes structured metadata at all.
    takes_metadata: bool,
    /// The stamp of a first record that has none.
    pub(crate) first_stamp: i64,
    slots: [StreamSlot; 2],
    /// Drops what is beyond the container's limit.
    pub(super) rate: Option<Box<ContainerRate>>,
    /// Of a file whose lines go through stages; then nothing above is used.
    stages: Option<Box<StageOutlet>>,
}

impl Outlet {
    /// `labels` by output stream, `metadata` only for a receiver that takes it.
    pub(crate) fn new(labels: [Arc<[u8]>; 2], metadata: Option<SharedMetadata>, first_stamp: i64) -> Self {
        Self {
            labels,
            takes_metadata: metadata.is_some(),
            shared_metadata: Arc::new(metadata.unwrap_or_default()),
            first_stamp,
            slots: [StreamSlot::default(); 2],
            rate: None,
            stages: None,
        }
    }

    /// For lines that go through stages.
    pub(crate) fn of_stages(stages: StageOutlet) -> Self {
        let none: Arc<[u8]> = Arc::from(&b"{}"[..]);
        Self { stages: Some(Box::new(stages)), ..Self::new([Arc::clone(&none), none], None, 0) }
    }

    pub(super) fn stages(&self) -> Option<&StageOutlet> {
        self.stages.as_deref()
    }

    pub(super) fn stages_mut(&mut self) -> Option<&mut StageOutlet> {
        self.stages.as_deref_mut()
    }

    #[inline]
    fn slot(&mut self, stream: OutputStream, batch: &mut BatchBuilder) -> StreamSlot {
        let index = stream.index();
        if !batch.is_open(self.slots[index]) {
            self.slots[index] = batch.open(&self.labels[index], &self.shared_metadata);
        }
        self.slots[index]
    }

    #[inline]
    fn is_denied(&mut self, length: usize) -> bool {
        self.rate.as_mut().is_some_and(|rate| !rate.allows(length))
    }

    #[inline]
    pub(crate) fn push(&mut self, batch: &mut BatchBuilder, stream: OutputStream, timestamp: i64, line: &[u8]) {
        if self.is_denied(line.len()) {
            return;
        }
        let slot = self.slot(stream, batch);
        batch.push(slot, timestamp, line);
    }

    /// Appends an entry with a pair of its own, where the receiver takes it.
    pub(crate) fn push_with(&mut self, batch: &mut BatchBuilder, stream: OutputStream, timestamp: i64, line: &[u8], pair: (&str, &str)) {
        if self.is_denied(line.len()) {
            return;
        }
        let slot = self.slot(stream, batch);
        let pairs = [pair];
        batch.push_with_metadata(slot, timestamp, line, if self.takes_metadata { &pairs } else { &[] });
    }
}
