//! A client of a pass over the files: what is looked for, to whom it goes, how far it is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::agent::Discovery;
use crate::config::{Config, MetadataMode, RunMode};
use crate::push::lane::BlockedState;
use crate::push::receiver::Receiver;
use crate::starting::OpenedPositions;

pub(crate) struct Member {
    /// Names it among all, also over a reload.
    pub(crate) name: String,
    /// As the client has it; what the process may take is not shared out.
    pub(crate) config: Config,
    pub(crate) discovery: Discovery,
    pub(crate) receiver: Receiver,
    pub(crate) positions: OpenedPositions,
    /// To send Kubernetes' events to it.
    pub(crate) events: Option<kube::Client>,
    pub(crate) blocked: Arc<BlockedState>,
    pub(crate) is_first_scan_done: Arc<AtomicBool>,
}

impl Member {
    pub(crate) fn new(name: String, config: Config, discovery: Discovery, receiver: Receiver, positions: OpenedPositions) -> Self {
        Self { name, config, discovery, receiver, positions, events: None, blocked: Arc::default(), is_first_scan_done: Arc::default() }
    }

    /// Whether structured metadata is sent; `None` if the receiver is to be asked.
    pub(crate) fn sends_metadata(&self) -> Option<bool> {
        // The stages of a `promtail.yaml` say what is sent.
        if self.config.promtail.is_some() {
            return Some(false);
        }
        match self.config.metadata {
            // Nobody is asked in a run that sends nothing.
            MetadataMode::Auto if self.receiver.prints => Some(false),
            MetadataMode::Auto => None,
            MetadataMode::Standard => Some(true),
            MetadataMode::None => Some(false),
        }
    }

    /// Whether both are sent the same bytes from now on, so that one pass can read for them.
    pub(super) fn is_in_step_with(&self, other: &Self) -> bool {
        let client = |member: &Self| (member.config.client.batchwait, member.config.client.batchsize);
        let begins_at = |member: &Self| (member.positions.not_before, member.positions.is_full_reread);
        self.config.run_mode == RunMode::Ship
            && self.discovery.finds_the_same_as(&other.discovery)
            && self.config.external_labels == other.config.external_labels
            && client(self) == client(other)
            && self.sends_metadata().is_some()
            && self.sends_metadata() == other.sends_metadata()
            && begins_at(self) == begins_at(other)
            && self.positions.loaded.agree_with(&other.positions.loaded)
    }
}

/// Those that are in step in one pass each, in their order.
pub(super) fn together(members: Vec<Member>) -> Vec<Vec<Member>> {
    let mut passes: Vec<Vec<Member>> = Vec::new();
    for member in members {
        match passes.iter_mut().find(|pass| pass[0].is_in_step_with(&member)) {
            Some(pass) => pass.push(member),
            None => passes.push(vec![member]),
        }
    }
    passes
}
