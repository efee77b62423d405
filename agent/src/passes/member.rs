//! A client of a pass over the files: what is looked for, to whom it goes, how far it is.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::agent::Discovery;
use crate::config::{Config, MetadataMode, RunMode};
use crate::handle::StartError;
use crate::push::lane::BlockedState;
use crate::push::receiver::Receiver;
use crate::starting::OpenedPositions;

/// The longest time that a client goes on by itself though it keeps up.
const MAX_APART: Duration = Duration::from_secs(600);

pub(crate) struct Member {
    /// Names it among all, also over a reload.
    pub(crate) name: String,
    /// As the client has it; what the process may take is not shared out.
    pub(crate) config: Config,
    pub(crate) discovery: Discovery,
    pub(crate) receiver: Receiver,
    pub(crate) positions: OpenedPositions,
    /// Whether structured metadata is sent, once that is known.
    pub(crate) sends_metadata: Arc<OnceLock<bool>>,
    /// To send Kubernetes' events to it.
    pub(crate) events: Option<kube::Client>,
    pub(crate) blocked: Arc<BlockedState>,
    /// A pass for it has looked at all files.
    pub(crate) has_looked: bool,
    /// How long it is to keep up before it is read for together with others.
    pub(super) apart: Duration,
    /// Since when it is.
    pub(super) joined: Option<Instant>,
}

impl Member {
    /// With its positions, in the data directory that its configuration names. `was_used`: an agent ran there before. `started`: for all members the same.
    pub(crate) fn open(
        name: String,
        config: Config,
        (discovery, receiver): (Discovery, Receiver),
        (was_used, started): (bool, SystemTime),
    ) -> Result<Self, StartError> {
        if config.run_mode == RunMode::Ship {
            std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
        }
        Ok(Self {
            name,
            sends_metadata: Arc::new(sends_metadata(&config, &receiver).map_or_else(OnceLock::new, OnceLock::from)),
            discovery,
            receiver,
            positions: OpenedPositions::open(&config, was_used, started),
            events: None,
            blocked: Arc::default(),
            has_looked: false,
            apart: config.timing.rejoin_after,
            joined: None,
            config,
        })
    }

    pub(super) fn likeness(&self) -> Likeness {
        Likeness {
            discovery: self.discovery.clone(),
            external_labels: self.config.external_labels.clone(),
            batches: (self.config.client.batchwait, self.config.client.batchsize),
            sends: self.config.run_mode == RunMode::Ship,
            sends_metadata: Arc::clone(&self.sends_metadata),
        }
    }

    /// Whether both are sent the same bytes from now on, so that one pass can read for them.
    fn is_in_step_with(&self, other: &Self) -> bool {
        let begins_at = |member: &Self| (member.positions.not_before, member.positions.is_full_reread);
        self.likeness().is_like(&other.likeness())
            && begins_at(self) == begins_at(other)
            && self.positions.loaded.agree_with(&other.positions.loaded)
    }

    /// From now on it goes on from where `other` is, which is where it is itself.
    pub(super) fn join(&mut self, other: &Self, now: Instant) {
        self.positions.loaded = other.positions.loaded.with_events_of(&self.positions.loaded);
        (self.positions.not_before, self.positions.is_full_reread) = (other.positions.not_before, other.positions.is_full_reread);
        self.joined = Some(now);
    }

    /// It held up others, or did not meet them. If that was so not long ago as well, it goes on by itself for longer.
    pub(super) fn part(&mut self, now: Instant) {
        let was_long_together = self.joined.take().is_some_and(|since| now.saturating_duration_since(since) >= MAX_APART);
        self.apart = if was_long_together { self.config.timing.rejoin_after } else { (2 * self.apart).min(MAX_APART) };
    }
}

/// `None` if the receiver is to be asked.
fn sends_metadata(config: &Config, receiver: &Receiver) -> Option<bool> {
    // The stages of a `promtail.yaml` say what is sent.
    if config.promtail.is_some() {
        return Some(false);
    }
    match config.metadata {
        // Nobody is asked in a run that sends nothing.
        MetadataMode::Auto if receiver.prints => Some(false),
        MetadataMode::Auto => None,
        MetadataMode::Standard => Some(true),
        MetadataMode::None => Some(false),
    }
}

/// What the bytes depend on that a client is sent of a line.
pub(super) struct Likeness {
    discovery: Discovery,
    external_labels: BTreeMap<String, String>,
    batches: (Duration, usize),
    /// It is not only shown.
    sends: bool,
    sends_metadata: Arc<OnceLock<bool>>,
}

impl Likeness {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let announced = self.sends_metadata.get();
        self.sends
            && self.discovery.finds_the_same_as(&other.discovery)
            && self.external_labels == other.external_labels
            && self.batches == other.batches
            && announced.is_some()
            && announced == other.sends_metadata.get()
    }
}

/// Those that are in step in one pass each, in the order of the clients.
pub(super) fn together(mut members: Vec<Member>) -> Vec<Vec<Member>> {
    members.sort_by_key(|member| member.receiver.client);
    let mut passes: Vec<Vec<Member>> = Vec::new();
    for member in members {
        match passes.iter_mut().find(|pass| pass[0].is_in_step_with(&member)) {
            Some(pass) => pass.push(member),
            None => passes.push(vec![member]),
        }
    }
    passes
}
