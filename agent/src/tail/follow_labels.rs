//! Labels that change while an instance is read: late metadata, edits of labels, wishes of pods and namespaces, another configuration than before.
//!
//! A new label set holds from where the reader stands, behind everything put into a batch, in earlier processes too; its place is on disk before the first push that uses it, so a
//! replay of any offset has the labels of its first sending. Nothing changes while pieces of a line are pending; blocks of stages end.

use super::balance::Meter;
use super::container::{ContainerTail, ReadContext, add_to_balance, count_denied};
use super::cuts::decide_cut;
use super::entrance::rendered_set;
use super::rate::ContainerRate;
use crate::discover::listing::Source;
use crate::enrich::InstanceQuestion;
use crate::parse::cri::OutputStream;
use crate::positions::table::{CutKind, InstanceEntry, InstanceKey, LabelSet, SlimArc};

/// Label sets of one instance; more changes are not followed.
const MAX_SETS: usize = 64;

impl ContainerTail {
    /// Takes over what the Kubernetes API and the configuration say now of the instance being read.
    pub(super) fn follow_labels(&mut self, context: &mut ReadContext<'_>) {
        let Source::Container { pod, container } = &self.source else { return };
        let version = context.enricher.version(pod);
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else { return };
        if (self.end_asked, self.end_asked_of) != (version, *instance) {
            (self.end_asked, self.end_asked_of) = (version, *instance);
            self.has_ended = context.enricher.has_ended(pod, container, *instance);
        }
        if version == self.followed || state.has_pieces() || !front.cuts.is_empty() || !self.late.is_empty() {
            return;
        }
        let Some(outlet) = self.outlets.get_mut(*instance) else { return };
        outlet.is_excluded = context.enricher.is_excluded(pod, container);
        let limit = context.enricher.rate_limit(pod, context.rules.rate);
        if self.rate_limit != Some(limit) {
            (self.rate_limit, self.rate) = (Some(limit), None);
            outlet.rate = ContainerRate::new(limit, context.now).filter(|_| limit.drops);
        }
        // What an earlier process may have sent is sent again with the labels that it had.
        if outlet.is_resumed && front.offset < front.may_be_sent {
            return;
        }
        self.followed = version;
        let question = InstanceQuestion { pod, container, number: *instance, waited: std::time::Duration::ZERO };
        let Some(set) = context.enricher.known(question) else { return };
        let key = InstanceKey { container: self.path.clone(), number: *instance };
        let Some(entry) = context.positions.lock().instance(&key).cloned() else { return };
        let number = entry.label_sets.len();
        if entry.label_sets.last().is_some_and(|last| is_same(last, &set)) {
            return;
        }
        if number >= MAX_SETS {
            context.metrics.label_changes_ignored.inc();
            tracing::warn!(
                container = &*self.path,
                "labels of this container changed too often; its lines keep those they have until it restarts"
            );
            return;
        }
        let mut entry = InstanceEntry::clone(&entry);
        entry.label_sets.push(LabelSet { from_offset: front.offset, ..set });
        let entry = SlimArc::new(entry);
        outlet.add_set(rendered_set(&entry, number, (&self.source, &self.path), context));
        let revision = context.positions.lock().decide_instance(key, entry);
        context.batch.rest_on(revision);
        let meter = Meter::start(context.counts, context.batch);
        decide_cut(front, &self.path, (OutputStream::Stdout, CutKind::Labels { set: number }), state, outlet, context);
        count_denied(outlet, context.counts);
        add_to_balance(front, state, meter.stop(context.counts, context.batch));
        self.is_in_batch = true;
    }
}

/// A receiver that takes no metadata does not make a set another one.
fn is_same(one: &LabelSet, other: &LabelSet) -> bool {
    one.labels == other.labels && (one.metadata == other.metadata || one.metadata.is_none() || other.metadata.is_none())
}
