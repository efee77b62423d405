//! Where an instance's entries go: its labels, rendered once, and its place in the current batch.

use std::sync::Arc;

use tailwater_proto::write::SharedMetadata;

use super::rate::ContainerRate;
use super::stages::{StageLimits, StageOutlet, StageState};
use super::stream_limit::{LimitedStreams, StreamLimit};
use crate::batch::builder::{BatchBuilder, StreamSlot};
use crate::enrich::labels::{self, canonical_text};
use crate::parse::cri::OutputStream;
use crate::parse::format::RecordFormat;
use crate::pipeline::Pipeline;
use crate::pipeline::context::StageContext;
use crate::pipeline::entry::Entry;
use crate::positions::table::{InstanceEntry, Progress, SlimArc};
use crate::push::limited::Tenant;

/// One of an instance's label sets, rendered for the wire when lines go by it.
#[derive(Debug, Clone)]
pub(crate) struct RenderedSet {
    entry: SlimArc<InstanceEntry>,
    number: usize,
    labels: [Option<Arc<[u8]>>; 2],
    /// Only for a receiver that takes it.
    metadata: Option<Option<Arc<SharedMetadata>>>,
    sends_metadata: bool,
    /// An annotation names them.
    tenant: Tenant,
    /// Which share of the lines is kept, if not all.
    sample: Option<f64>,
    /// How its pod says that records are to be read.
    format: RecordFormat,
    /// Stages that do not look at lines.
    label_stages: Option<Box<Pipeline>>,
    /// The stages that lines go through, if any.
    plan: Option<Box<StagePlan>>,
}

/// Stages of a container's lines, without state.
#[derive(Debug, Clone)]
pub(super) struct StagePlan {
    pub(super) pipeline: Pipeline,
    pub(super) limits: Arc<StageLimits>,
    /// Tells files apart.
    pub(super) file_key: u64,
}

impl RenderedSet {
    /// The set of this number; an instance without any has one without labels.
    pub(crate) fn new(entry: SlimArc<InstanceEntry>, number: usize, sends_metadata: bool) -> Self {
        let wished = |name: &str| {
            let pairs = &entry.label_sets.get(number)?.labels;
            pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
        };
        let (tenant, sample) = (wished(labels::TENANT).map(Arc::from), wished(labels::SAMPLE).and_then(|text| text.parse().ok()));
        let format = wished(labels::PARSER).and_then(|name| RecordFormat::named(&name));
        Self {
            entry,
            number,
            labels: [None, None],
            metadata: None,
            sends_metadata,
            tenant,
            sample,
            format: format.unwrap_or_default(),
            label_stages: None,
            plan: None,
        }
    }

    /// The same for lines that go through stages.
    pub(super) fn with_stages(self, plan: Option<StagePlan>) -> Self {
        Self { plan: plan.map(Box::new), ..self }
    }

    /// The same with stages that do not look at lines.
    pub(super) fn with_label_stages(self, stages: Option<&Pipeline>) -> Self {
        let label_stages = stages.filter(|stages| !stages.is_empty()).map(|stages| Box::new(stages.clone()));
        Self { label_stages, ..self }
    }

    pub(super) fn format(&self) -> RecordFormat {
        self.format
    }

    /// How its pod asks for lines to be joined.
    pub(super) fn multiline(&self) -> Option<&str> {
        let pairs = &self.entry.label_sets.get(self.number)?.labels;
        pairs.iter().find(|(name, _)| *name == labels::MULTILINE).map(|(_, value)| value)
    }

    /// Where its lines go behind their stages.
    fn stage_outlet(&mut self, streams: Option<&Arc<StreamLimit>>) -> Option<StageOutlet> {
        let limits = Arc::clone(&self.plan.as_ref()?.limits);
        let mut labels = self.entry.label_sets.get(self.number).map(|set| set.labels.to_map()).unwrap_or_default();
        labels.retain(|name, _| !name.starts_with("__") || name == labels::TENANT);
        Some(StageOutlet::of_container(labels, self.metadata().cloned(), limits, streams))
    }

    fn labels(&mut self, stream: OutputStream) -> &Arc<[u8]> {
        self.labels[stream.index()].get_or_insert_with(|| {
            let mut labels = self.entry.label_sets.get(self.number).map(|set| set.labels.to_map()).unwrap_or_default();
            labels.retain(|name, _| !name.starts_with("__"));
            labels.insert("stream".to_owned(), stream.name().to_owned());
            if let Some(stages) = &self.label_stages {
                labels = stages.relabelled(labels);
            }
            Arc::from(canonical_text(&labels).into_bytes())
        })
    }

    fn metadata(&mut self) -> Option<&Arc<SharedMetadata>> {
        let set = self.entry.label_sets.get(self.number);
        let sent = || set.and_then(|set| set.metadata.as_ref()).filter(|_| self.sends_metadata);
        self.metadata.get_or_insert_with(|| sent().map(|pairs| Arc::new(SharedMetadata::new(pairs.iter())))).as_ref()
    }

    /// What is rendered can be made again.
    fn forget(&mut self) {
        (self.labels, self.metadata) = ([None, None], None);
    }
}

/// Labels and metadata of one instance, ready for the wire.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Those it had and has, in order.
    sets: Vec<RenderedSet>,
    /// The one that holds where its reader stands.
    current: usize,
    /// Its labels are those of the checkpoint: lines may have been sent with them that are not acknowledged.
    pub(super) is_resumed: bool,
    /// Its pod wants no lines to be sent.
    pub(super) is_excluded: bool,
    /// Lines left out since they were asked for.
    pub(super) excluded_lines: u64,
    /// Lines that are of no sample, since they were asked for.
    pub(super) unsampled_lines: u64,
    /// The stamp of a first record that has none.
    pub(crate) first_stamp: i64,
    slots: [StreamSlot; 2],
    /// Where there is a limit: those it has.
    limited: Option<Box<LimitedStreams>>,
    /// Lines of streams beyond it, since they were asked for.
    pub(super) over_limit_lines: u64,
    /// Drops what is beyond the container's limit.
    pub(super) rate: Option<Box<ContainerRate>>,
    /// Of a file whose lines go through stages. Of a target nothing above is used then.
    stages: Option<Box<StageOutlet>>,
    /// Streams of the process, where they are limited.
    streams: Option<Arc<StreamLimit>>,
}

impl Outlet {
    /// With several label sets, of which `current` holds where reading begins.
    pub(crate) fn of_sets(sets: Vec<RenderedSet>, current: usize, first_stamp: i64) -> Self {
        let mut outlet = Self {
            current: current.min(sets.len().saturating_sub(1)),
            sets,
            is_resumed: false,
            is_excluded: false,
            excluded_lines: 0,
            unsampled_lines: 0,
            first_stamp,
            slots: [StreamSlot::default(); 2],
            limited: None,
            over_limit_lines: 0,
            rate: None,
            stages: None,
            streams: None,
        };
        outlet.prepare_stages();
        outlet
    }

    /// For lines that go through stages.
    pub(crate) fn of_stages(stages: StageOutlet) -> Self {
        Self { stages: Some(Box::new(stages)), ..Self::of_sets(Vec::new(), 0, 0) }
    }

    /// Adds a label set, which does not hold yet.
    pub(super) fn add_set(&mut self, set: RenderedSet) {
        self.sets.push(set);
    }

    /// From here on the set of this number holds.
    pub(super) fn use_set(&mut self, number: usize) {
        if number < self.sets.len() {
            self.current = number;
            self.prepare_stages();
            self.slots = [StreamSlot::default(); 2];
            self.limited.iter_mut().for_each(|limited| limited.give_back());
        }
    }

    /// The process may have only so many streams.
    pub(super) fn limit_streams(&mut self, limit: Option<&Arc<StreamLimit>>) {
        self.limited = limit.map(|limit| Box::new(LimitedStreams::new(Arc::clone(limit))));
        self.streams = limit.cloned();
        self.prepare_stages();
    }

    /// Lines go through the stages of the set that holds.
    fn prepare_stages(&mut self) {
        if let Some(set) = self.sets.get_mut(self.current) {
            self.stages = set.stage_outlet(self.streams.as_ref()).map(Box::new);
        }
    }

    /// Its lines are those of a target, and go through stages.
    pub(super) fn is_of_target(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whose its lines are where its reader stands, as far as that is known.
    pub(super) fn tenant(&self) -> Option<&Tenant> {
        match &self.stages {
            Some(stages) => stages.last_tenant(),
            None => self.sets.get(self.current).map(|set| &set.tenant),
        }
    }

    /// How the pod says that records are to be read, where its reader stands.
    pub(super) fn wished_format(&self) -> RecordFormat {
        self.sets.get(self.current).map_or(RecordFormat::Auto, RenderedSet::format)
    }

    /// Whether lines would go through other stages with the set of this number.
    pub(super) fn would_change_stages(&self, number: usize) -> bool {
        let wish = |number: usize| self.sets.get(number).map(|set| (set.multiline(), set.format()));
        number < self.sets.len() && wish(number) != wish(self.current)
    }

    /// The state in which the stages begin at `progress`, if lines go through any.
    pub(super) fn stage_state(&self, progress: &Progress) -> Option<StageState> {
        let plan = self.sets.get(self.current)?.plan.as_ref()?;
        Some(StageState::at(plan.pipeline.clone(), plan.file_key, progress))
    }

    /// Nothing is being written: what can be made again takes no memory meanwhile.
    pub(super) fn rest(&mut self) {
        self.sets.iter_mut().for_each(RenderedSet::forget);
    }

    pub(super) fn stages(&self) -> Option<&StageOutlet> {
        self.stages.as_deref()
    }

    pub(crate) fn stages_mut(&mut self) -> Option<&mut StageOutlet> {
        self.stages.as_deref_mut()
    }

    #[inline]
    fn slot(&mut self, stream: OutputStream, batch: &mut BatchBuilder) -> Option<StreamSlot> {
        let index = stream.index();
        if !batch.is_open(self.slots[index]) {
            if self.limited.as_mut().is_some_and(|limited| !limited.may_open(stream)) {
                self.over_limit_lines += 1;
                return None;
            }
            let set = &mut self.sets[self.current];
            let metadata = set.metadata().cloned().unwrap_or_default();
            let tenant = set.tenant.clone();
            self.slots[index] = batch.open_for(tenant, set.labels(stream), &metadata);
        }
        Some(self.slots[index])
    }

    /// Whether a line is not to be sent; counted.
    #[inline]
    fn leaves_out(&mut self, timestamp: i64, length: usize) -> bool {
        if self.is_excluded {
            self.excluded_lines += 1;
            return true;
        }
        // By its stamp, which is given once in an instance and is the same in a replay.
        if let Some(share) = self.sets[self.current].sample
            && !is_sampled(timestamp, share)
        {
            self.unsampled_lines += 1;
            return true;
        }
        self.rate.as_mut().is_some_and(|rate| !rate.allows(length))
    }

    #[inline]
    pub(crate) fn push(&mut self, batch: &mut BatchBuilder, stream: OutputStream, timestamp: i64, line: &[u8]) {
        if self.leaves_out(timestamp, line.len()) {
            return;
        }
        let Some(slot) = self.slot(stream, batch) else { return };
        batch.push(slot, timestamp, line);
    }

    /// Puts what came out of the stages into the batch.
    pub(super) fn push_entry(&mut self, batch: &mut BatchBuilder, entry: Entry, timestamp: i64, context: &mut StageContext<'_>) {
        if !self.is_of_target() && self.leaves_out(timestamp, entry.line.len()) {
            return;
        }
        if let Some(stages) = &mut self.stages {
            stages.push(batch, entry, timestamp, context);
        }
    }

    /// Appends an entry with a pair of its own, where the receiver takes it.
    pub(crate) fn push_with(&mut self, batch: &mut BatchBuilder, stream: OutputStream, timestamp: i64, line: &[u8], pair: (&str, &str)) {
        if self.leaves_out(timestamp, line.len()) {
            return;
        }
        let Some(slot) = self.slot(stream, batch) else { return };
        let pairs = [pair];
        let takes_metadata = self.sets[self.current].metadata().is_some();
        batch.push_with_metadata(slot, timestamp, line, if takes_metadata { &pairs } else { &[] });
    }
}

/// The outlets of a container's instances; mostly there is one.
#[derive(Debug, Default)]
pub(super) struct Outlets(Vec<(u32, Outlet)>);

impl Outlets {
    pub(super) fn get(&self, instance: u32) -> Option<&Outlet> {
        self.0.iter().find(|(number, _)| *number == instance).map(|(_, outlet)| outlet)
    }

    pub(super) fn get_mut(&mut self, instance: u32) -> Option<&mut Outlet> {
        self.0.iter_mut().find(|(number, _)| *number == instance).map(|(_, outlet)| outlet)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Outlet> {
        self.0.iter_mut().map(|(_, outlet)| outlet)
    }

    /// For an instance that has none.
    pub(super) fn insert(&mut self, instance: u32, outlet: Outlet) {
        self.0.reserve_exact(1);
        self.0.push((instance, outlet));
    }

    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

/// Whether a line of this stamp is among those kept.
fn is_sampled(timestamp: i64, share: f64) -> bool {
    let place = xxhash_rust::xxh3::xxh3_64(&timestamp.to_le_bytes()) >> 11;
    (place as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_share_that_is_asked_for_and_the_same_every_time() {
        for (share, expected) in [(0.0, 0..1), (0.25, 2300..2700), (1.0, 10_000..10_001)] {
            let kept = || (0..10_000).filter(|stamp| is_sampled(*stamp, share)).count();
            assert!(expected.contains(&kept()), "{share}: {}", kept());
            assert_eq!(kept(), kept());
        }
    }
}
