//! Beginning with a file: the state and the labels with which its first record is read.
//!
//! State passes from file to file within an instance and begins anew with the next one. Labels are those of the checkpoint, or are decided here once and
//! are on disk before the first push that uses them.

use std::sync::Arc;

use smallvec::smallvec;
use xxhash_rust::xxh3::xxh3_64;

use super::container::{ContainerTail, ReadContext};
use super::outlet::{Outlet, RenderedSet, StagePlan};
use super::rate::ContainerRate;
use super::staged::equip;
use super::stages::StageOutlet;
use super::state::LineState;
use crate::discover::listing::Source;
use crate::discover::target::FileTarget;
use crate::enrich::InstanceQuestion;
use crate::parse::cri::OutputStream;
use crate::positions::pairs::PackedPairs;
use crate::positions::table::{CutKind, InstanceEntry, InstanceKey, LabelSet, Progress, SlimArc};

impl ContainerTail {
    /// Makes state and labels ready for the front file. Returns whether it may be read.
    pub(super) fn enter_front(&mut self, context: &mut ReadContext<'_>) -> bool {
        let is_only_one = self.files.len() == 1;
        let Some(front) = self.files.front_mut() else { return false };
        if self.entered == Some(front.id) {
            return true;
        }
        // An error shows again when it is read.
        let is_empty = front.size == 0 && !front.look(context.now).is_ok_and(|look| look.has_news);
        if is_empty && front.links > 0 && is_only_one {
            // Nothing to read, nothing to decide: what labels need may become known meanwhile.
            return false;
        }
        let (id, instance, start, first_stamp) = (front.id, front.parsed_name.instance, front.start.clone(), front.modified_nanos());
        if !self.ensure_outlet(instance, first_stamp, context) {
            return false;
        }
        match self.state.as_deref_mut() {
            Some((current, state)) if *current == instance && start.offset == 0 => state.last_stream = OutputStream::Stdout,
            _ => {
                let mut at_start = line_state(&self.source, &self.path, &start);
                if let Some(outlet) = self.outlets.get(instance) {
                    equip(&mut at_start, outlet, &start);
                }
                self.state = Some(Box::new((instance, at_start)));
            }
        }
        self.entered = Some(id);
        true
    }

    /// Decides an instance's labels, or takes those of the checkpoint. `false` while its lines should wait.
    pub(super) fn ensure_outlet(&mut self, instance: u32, first_stamp: i64, context: &mut ReadContext<'_>) -> bool {
        if self.outlets.get(instance).is_some() {
            return true;
        }
        let key = InstanceKey { container: self.path.clone(), number: instance };
        // What the receiver takes decides what is sent, before the first push.
        if context.enricher.sends_metadata.get().is_none() {
            return false;
        }
        if let Source::Target(target) = &self.source {
            let outlet = target_outlet(target, key, first_stamp, context);
            self.outlets.insert(instance, outlet);
            return true;
        }
        let recorded = context.positions.lock().instance(&key).cloned();
        let is_resumed = recorded.is_some();
        let entry = match (recorded, &self.source) {
            (Some(entry), Source::Container { pod, .. }) => {
                let since = *self.waiting_since.get_or_insert(context.now);
                if !self.was_at_rest && !context.enricher.may_go_on(pod, context.now.saturating_duration_since(since)) {
                    return false;
                }
                entry
            }
            (_, Source::Target(_)) => return false,
            (None, Source::Container { pod, container }) => {
                let since = *self.waiting_since.get_or_insert(context.now);
                let waited = context.now.saturating_duration_since(since);
                let question = InstanceQuestion { pod, container, number: instance, waited };
                let Some(set) = context.enricher.decide(question) else { return false };
                let entry = SlimArc::new(InstanceEntry { label_sets: smallvec![set], first_stamp, revision: 0 });
                let revision = context.positions.lock().decide_instance(key, SlimArc::clone(&entry));
                context.batch.rest_on(revision);
                entry
            }
        };
        self.waiting_since = None;
        let of_instance = self.files.iter().filter(|file| file.parsed_name.instance == instance);
        let next_set = of_instance.flat_map(|file| &file.cuts).find_map(|cut| match cut.kind {
            CutKind::Labels { set } => Some(set),
            _ => None,
        });
        let current = next_set.map_or(entry.label_sets.len(), |next| next).saturating_sub(1);
        let sets =
            (0..entry.label_sets.len().max(1)).map(|number| rendered_set(&entry, number, (&self.source, &self.path), context)).collect();
        let mut outlet = Outlet::of_sets(sets, current, entry.first_stamp);
        outlet.rate = ContainerRate::new(context.rules.rate, context.now).filter(|_| context.rules.rate.drops);
        outlet.limit_streams(context.streams);
        outlet.is_resumed = is_resumed;
        self.outlets.insert(instance, outlet);
        // Recorded labels may be of another configuration; what was decided from the path a moment ago is as it is to be.
        self.followed = if is_resumed { 0 } else { context.enricher.version_of_paths() };
        true
    }
}

/// The state in which reading of an instance begins at `start`.
pub(super) fn line_state(source: &Source, path: &str, start: &Progress) -> LineState {
    match source {
        Source::Container { .. } => LineState::at(start),
        Source::Target(target) => LineState::with_stages(start, target.job.pipeline.clone(), xxh3_64(path.as_bytes())),
    }
}

/// The labels of a target are those of the checkpoint unless the configuration that decides them has changed.
fn target_outlet(target: &FileTarget, key: InstanceKey, first_stamp: i64, context: &mut ReadContext<'_>) -> Outlet {
    let revision = target.job.revision;
    let recorded = context.positions.lock().instance(&key).filter(|entry| entry.revision == revision).cloned();
    let set = recorded.and_then(|entry| entry.label_sets.last().cloned()).unwrap_or_else(|| {
        let metadata = context.enricher.sends_metadata().then(PackedPairs::default);
        let set = LabelSet { from_offset: 0, labels: PackedPairs::from(&target.labels), metadata };
        let entry = InstanceEntry { label_sets: smallvec![set.clone()], first_stamp, revision };
        context.batch.rest_on(context.positions.lock().decide_instance(key, SlimArc::new(entry)));
        set
    });
    let mut outlet = StageOutlet::new(set.labels.to_map(), target.job.encoding, Arc::clone(&target.limits));
    // As Promtail reads lines of what it decompresses, and of nothing else.
    outlet.drops_returns = target.job.decompression.is_some();
    Outlet::of_stages(outlet.with_pairs(set.metadata.is_some()))
}

/// An instance's label set of that number, to be rendered for the wire, with the stages that its lines go through.
pub(super) fn rendered_set(
    entry: &SlimArc<InstanceEntry>,
    number: usize,
    (source, path): (&Source, &str),
    context: &ReadContext<'_>,
) -> RenderedSet {
    let set =
        RenderedSet::new(SlimArc::clone(entry), number, context.enricher.sends_metadata()).with_label_stages(context.stages.label_stages());
    let Source::Container { pod, container } = source else { return set };
    let limits = &context.stages.limits;
    let plan = |pipeline| StagePlan { pipeline, limits: Arc::clone(limits), file_key: xxh3_64(path.as_bytes()) };
    let pipeline = context.stages.pipeline(pod, container, set.multiline());
    set.with_stages(pipeline.map(plan))
}
