//! A file whose lines go through stages: the pipeline with its state, and where the entries go.
//!
//! Labels of entries are rendered once for each set that is seen, external ones added; a tenant that lines name is taken off them. Everything that a
//! replay needs to repeat the same entries is part of [`StageProgress`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use encoding_rs::Encoding;
use parking_lot::Mutex;
use tailwater_proto::write::SharedMetadata;

use super::boundaries::Boundaries;
use super::overlong::Overlong;
use super::read_clock::ClockScope;
use super::staged::{WholeLine, by_stream};
use super::stream_limit::{LimitedStreams, StreamLimit};
use crate::batch::builder::{BatchBuilder, StreamSlot};
use crate::enrich::labels::canonical_text;
use crate::metrics::{DropReason, Metrics};
use crate::parse::cri::OutputStream;
use crate::pipeline::context::{KnownStamps, ReadClock, StampState};
use crate::pipeline::counters::DropCounters;
use crate::pipeline::entry::{Entry, Origin};
use crate::pipeline::{Pipeline, PlainStream, TENANT_LABEL, TokenBucket};
use crate::positions::table::{FileId, Progress, StageProgress};
use crate::push::limited::Tenant;
use crate::relabel::Labels;

/// Label sets of which the text is kept.
const MAX_RENDERED: usize = 4096;

/// State of an instance's pipeline between two lines.
#[derive(Debug)]
pub(crate) struct StageState {
    pub(super) pipeline: Pipeline,
    pub(super) stamps: StampState,
    pub(super) boundaries: Boundaries,
    /// Number of the next line.
    pub(super) next_place: u64,
    /// Where the time of reading was decided.
    pub(crate) clock: ClockScope,
    pub(super) file_key: u64,
    pub(super) out: Vec<Entry>,
    /// Of a container's records: whole lines on their way to the stages, and where the pieces of split ones are.
    pub(super) whole_lines: Vec<WholeLine>,
    pub(super) pieces: [Option<Origin>; 2],
}

impl StageState {
    /// At a clean point.
    pub(crate) fn at(pipeline: Pipeline, file_key: u64, progress: &Progress) -> Self {
        let known = progress.stages.as_deref().cloned().unwrap_or_default();
        let clock = ReadClock { last: known.clock.map(|(last, _)| last), is_decided: known.clock.is_some(), decisions: Vec::new() };
        let giver = crate::parse::stamps::StampGiver::after(progress.last_stamp);
        Self {
            pipeline,
            stamps: StampState { giver, known: KnownStamps(known.known), clock },
            boundaries: Boundaries::default(),
            next_place: 0,
            clock: ClockScope::up_to(known.clock.map_or(0, |(_, until)| until)),
            file_key,
            out: Vec::new(),
            whole_lines: Vec::new(),
            pieces: [None, None],
        }
    }

    /// What a checkpoint here must hold; the clock only if it goes on up to `clock_until`.
    pub(crate) fn progress(&self, clock_until: Option<u64>) -> Option<Arc<StageProgress>> {
        let clock = clock_until.filter(|_| self.stamps.clock.is_decided).and_then(|until| Some((self.stamps.clock.last?, until)));
        let progress = StageProgress { known: Arc::clone(&self.stamps.known.0), clock };
        (progress != StageProgress::default()).then(|| Arc::new(progress))
    }

    pub(super) fn held(&self) -> Vec<Origin> {
        let mut held: Vec<Origin> = self.pieces.into_iter().flatten().collect();
        if self.pipeline.can_hold() {
            self.pipeline.held(&mut held);
        }
        held
    }

    pub(crate) fn held_keys(&self) -> Vec<u64> {
        let mut keys = Vec::new();
        self.pipeline.held_keys(&mut keys);
        keys
    }

    pub(crate) fn expired_keys(&self, now: Instant) -> Vec<u64> {
        let mut keys = Vec::new();
        self.pipeline.expired(now, &mut keys);
        keys
    }

    /// A decision of an earlier process about the time of reading.
    pub(super) fn decide_clock(&mut self, stamp: i64, until: u64) {
        self.clock.decide(&mut self.stamps.clock, stamp, until);
    }

    /// Whether the clock must decide anew for a line at `offset` in this batch.
    pub(super) fn settle_clock(&mut self, offset: u64, epoch: u64) {
        self.clock.settle(&mut self.stamps.clock, offset, epoch);
    }

    pub(super) fn note_clock(&mut self, file: FileId) {
        self.clock.note(&mut self.stamps.clock, file);
    }
}

/// Limits and counters that all files of a process share.
#[derive(Debug)]
pub(crate) struct StageLimits {
    pub(crate) counters: Arc<DropCounters>,
    pub(crate) metrics: Arc<Metrics>,
    /// Bytes of a line that is sent; 0: none.
    pub(crate) max_line_size: usize,
    /// What is done with longer ones.
    pub(crate) overlong: Overlong,
    /// Streams of the process; 0: none.
    pub(crate) max_streams: usize,
    pub(crate) streams: Mutex<std::collections::HashSet<Labels>>,
    pub(crate) read_rate: Option<(Mutex<TokenBucket>, bool)>,
    pub(crate) external_labels: Labels,
    /// Whether every stage prints what it does.
    pub(crate) inspects: bool,
}

#[cfg(test)]
impl StageLimits {
    /// No limit at all.
    pub(crate) fn none(metrics: Arc<Metrics>) -> Self {
        Self {
            counters: Arc::default(),
            metrics,
            max_line_size: 0,
            overlong: Overlong::Cut,
            max_streams: 0,
            streams: Mutex::default(),
            read_rate: None,
            external_labels: Labels::new(),
            inspects: false,
        }
    }
}

/// What a container's lines have beyond those of a target.
#[derive(Debug)]
struct OfContainer {
    by_stream: [Arc<Labels>; 2],
    /// `None`: the receiver takes none.
    metadata: Option<Arc<SharedMetadata>>,
    limited: Option<LimitedStreams>,
}

/// Where an instance's entries go.
#[derive(Debug)]
pub(crate) struct StageOutlet {
    pub(super) labels: Arc<Labels>,
    pub(super) limits: Arc<StageLimits>,
    pub(super) encoding: Option<&'static Encoding>,
    /// Where in `renderings` a label set is.
    rendered: HashMap<Arc<Labels>, usize>,
    renderings: Vec<Rendered>,
    /// Where the labels of its last entry are.
    last: usize,
    /// Of a container: labels by stream, metadata, and the streams it may have.
    of_container: Option<Box<OfContainer>>,
    /// Of a target: whether the receiver takes pairs that no stage made.
    takes_pairs: bool,
    /// Of a target: whether a `\r` at the end of a line is no part of it.
    pub(super) drops_returns: bool,
    /// Of a pipeline that does not look at lines, once that was asked.
    pub(super) plain: Option<Option<Plain>>,
    /// How long reading of this file should pause.
    pub(crate) pause: Duration,
}

/// The streams of a pipeline that does not look at lines.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub(super) streams: [PlainStream; 2],
    /// Where their labels are rendered.
    rendered: [Option<usize>; 2],
}

#[derive(Debug, Clone)]
struct Rendered {
    text: Arc<[u8]>,
    tenant: Tenant,
    slot: StreamSlot,
    is_over_limit: bool,
}

impl StageOutlet {
    pub(crate) fn new(labels: Labels, encoding: Option<&'static Encoding>, limits: Arc<StageLimits>) -> Self {
        Self {
            labels: Arc::new(labels),
            limits,
            encoding,
            rendered: HashMap::new(),
            renderings: Vec::new(),
            last: 0,
            of_container: None,
            takes_pairs: false,
            drops_returns: false,
            plain: None,
            pause: Duration::ZERO,
        }
    }

    /// The same for a receiver that takes pairs that no stage made, or not.
    pub(crate) fn with_pairs(self, takes_pairs: bool) -> Self {
        Self { takes_pairs, ..self }
    }

    /// The same for a container's lines, with metadata where the receiver takes it.
    pub(super) fn of_container(
        labels: Labels,
        metadata: Option<Arc<SharedMetadata>>,
        limits: Arc<StageLimits>,
        streams: Option<&Arc<StreamLimit>>,
    ) -> Self {
        let limited = streams.map(|limit| LimitedStreams::new(Arc::clone(limit)));
        let of_container = OfContainer { by_stream: by_stream(&labels), metadata, limited };
        Self { of_container: Some(Box::new(of_container)), ..Self::new(labels, None, limits) }
    }

    /// Labels of a line of `stream`.
    pub(super) fn labels_of(&self, stream: OutputStream) -> &Arc<Labels> {
        self.of_container.as_ref().map_or(&self.labels, |container| &container.by_stream[stream.index()])
    }

    /// Whether the receiver takes pairs that no stage made.
    pub(super) fn takes_metadata(&self) -> bool {
        self.of_container.as_ref().map_or(self.takes_pairs, |container| container.metadata.is_some())
    }

    /// Puts a whole record of a pipeline that does not look at lines into the batch.
    #[inline]
    pub(super) fn push_plain(&mut self, batch: &mut BatchBuilder, stream: OutputStream, timestamp: i64, line: &[u8]) {
        let Some(Some(plain)) = &self.plain else { return };
        let index = match plain.rendered[stream.index()] {
            Some(index) => index,
            None => self.render_plain(stream),
        };
        if let Some(slot) = self.slot(index, line.len(), batch) {
            batch.push(slot, timestamp, line);
        }
    }

    #[cold]
    fn render_plain(&mut self, stream: OutputStream) -> usize {
        let Some(Some(plain)) = &self.plain else { return 0 };
        let labels = Arc::clone(&plain.streams[stream.index()].labels);
        let index = self.rendering(&labels);
        if let Some(Some(plain)) = &mut self.plain {
            plain.rendered[stream.index()] = Some(index);
        }
        index
    }

    /// Asks once whether lines of `pipeline` need no stage.
    pub(super) fn ask_plain(&mut self, pipeline: &Pipeline) {
        if self.plain.is_none() {
            let is_free = self.encoding.is_none() && !self.drops_returns && self.limits.read_rate.is_none() && !self.limits.inspects;
            let streams = pipeline.plain(&self.labels).filter(|_| is_free);
            self.plain = Some(streams.map(|streams| Plain { streams, rendered: [None; 2] }));
        }
    }

    /// Where `labels` are rendered.
    pub(super) fn rendering(&mut self, labels: &Arc<Labels>) -> usize {
        if let Some(index) = self.rendered.get(labels) {
            return *index;
        }
        if self.renderings.len() > MAX_RENDERED {
            self.rendered.clear();
            self.renderings.clear();
            self.limited_mut().into_iter().for_each(LimitedStreams::give_back);
            if let Some(Some(plain)) = &mut self.plain {
                plain.rendered = [None; 2];
            }
        }
        self.renderings.push(self.render(labels));
        self.rendered.insert(Arc::clone(labels), self.renderings.len() - 1);
        self.renderings.len() - 1
    }

    /// The place of a label set in the batch, for a line of `length` bytes; counted as dropped if there are too many streams.
    #[inline]
    pub(super) fn slot(&mut self, index: usize, length: usize, batch: &mut BatchBuilder) -> Option<StreamSlot> {
        if self.renderings[index].is_over_limit
            && let Some(limited) = self.limited_mut()
        {
            let is_over_limit = !limited.may_open_another();
            self.renderings[index].is_over_limit = is_over_limit;
        }
        let rendered = &mut self.renderings[index];
        if rendered.is_over_limit {
            self.limits.metrics.dropped_lines(DropReason::StreamLimited, 1, length as u64);
            return None;
        }
        self.last = index;
        if !batch.is_open(rendered.slot) {
            let metadata = self.of_container.as_ref().and_then(|container| container.metadata.clone()).unwrap_or_default();
            rendered.slot = batch.open_for(rendered.tenant.clone(), &rendered.text, &metadata);
        }
        Some(rendered.slot)
    }

    /// Whose its last entry was, if it had one.
    pub(super) fn last_tenant(&self) -> Option<&Tenant> {
        self.renderings.get(self.last).map(|rendered| &rendered.tenant)
    }

    /// Of a container: the streams it may have, where they are limited.
    fn limited_mut(&mut self) -> Option<&mut LimitedStreams> {
        self.of_container.as_mut()?.limited.as_mut()
    }

    fn render(&self, labels: &Labels) -> Rendered {
        let mut all = self.limits.external_labels.clone();
        all.extend(labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        let tenant = all.remove(TENANT_LABEL).map(Arc::from);
        let text = Arc::from(canonical_text(&all).into_bytes());
        let is_over_limit = match &self.of_container {
            // Asked with each line until there is room.
            Some(container) => container.limited.is_some(),
            None => self.is_one_too_many(labels),
        };
        Rendered { text, tenant, slot: StreamSlot::default(), is_over_limit }
    }

    /// Whether a target's stream is beyond the limit of the process; one that is not is among its streams then.
    fn is_one_too_many(&self, labels: &Labels) -> bool {
        if self.limits.max_streams == 0 {
            return false;
        }
        let mut streams = self.limits.streams.lock();
        let is_new = !streams.contains(labels);
        let is_full = is_new && streams.len() >= self.limits.max_streams;
        if is_new && !is_full {
            streams.insert(labels.clone());
        }
        is_full
    }

    /// The text of a line: valid UTF-8, decoded if the job says how.
    pub(super) fn decode(&self, bytes: &[u8]) -> (String, bool) {
        match self.encoding {
            None => match simdutf8::basic::from_utf8(bytes) {
                Ok(text) => (text.to_owned(), false),
                Err(_) => (String::from_utf8_lossy(bytes).into_owned(), true),
            },
            Some(encoding) => {
                let (text, _, is_replaced) = encoding.decode(bytes);
                (text.into_owned(), is_replaced)
            }
        }
    }
}
