//! The passes over the files as the HTTP surface sees them: whether each has looked at its files, whether its receiver takes lines, how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::positions::keeper::SharedPositions;
use crate::positions::table::Positions;
use crate::push::lane::BlockedState;

/// A pass, as far as it is for one client.
#[derive(Clone)]
pub(crate) struct PassView {
    /// Names the client and what is read for it.
    pub(crate) member: String,
    pub(crate) positions: SharedPositions,
    /// Of the client among those that the pass is for.
    pub(crate) place: usize,
    pub(crate) blocked: Arc<BlockedState>,
    pub(crate) is_first_scan_done: Arc<AtomicBool>,
    /// A pass before it has looked at all files for this client.
    pub(crate) has_looked: bool,
    /// Host of its receiver.
    pub(crate) host: String,
    /// Which of the clients its receiver is.
    pub(crate) client: usize,
    /// What that client is called.
    pub(crate) name: String,
}

/// All of them, at each moment.
#[derive(Clone, Default)]
pub(crate) struct PassViews(Arc<RwLock<Vec<PassView>>>);

impl PassViews {
    /// Takes the place of what was shown of the same client before.
    pub(crate) fn show(&self, view: PassView) {
        let mut views = self.0.write();
        match views.iter_mut().find(|known| known.member == view.member) {
            Some(known) => *known = view,
            None => views.push(view),
        }
    }

    pub(crate) fn now(&self) -> Vec<PassView> {
        self.0.read().clone()
    }
}

/// Why the agent is not ready; `None` if it is. Every pass must have looked for files once, and no receiver may refuse for long.
pub(crate) fn why_not_ready(passes: &[PassView], now: Instant) -> Option<String> {
    for pass in passes {
        if let Some(status) = pass.blocked.blocked_for_long(now) {
            return Some(format!("the receiver {} refuses with status {status}", pass.host));
        }
    }
    let has_looked = |pass: &PassView| pass.has_looked || pass.is_first_scan_done.load(Ordering::Acquire);
    (!passes.iter().all(has_looked)).then(|| "the first scan is not done".to_owned())
}

/// What the client of this number is called.
pub(crate) fn name_of(passes: &[PassView], client: usize) -> &str {
    passes.iter().find(|pass| pass.client == client).map_or("", |pass| &pass.name)
}

/// Where the passes for each client are.
pub(crate) fn by_client(passes: &[PassView]) -> BTreeMap<usize, Positions> {
    let mut clients: BTreeMap<usize, Positions> = BTreeMap::new();
    for pass in passes {
        let Positions { files, instances } = pass.positions.lock().snapshot(pass.place);
        let all = clients.entry(pass.client).or_default();
        all.files.extend(files);
        all.instances.extend(instances);
    }
    clients
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::positions::table::PositionsTable;

    #[test]
    fn every_pass_must_have_looked_and_no_receiver_may_refuse() {
        let pass = |host: &str| PassView {
            member: host.to_owned(),
            positions: SharedPositions::new(PositionsTable::default()),
            place: 0,
            blocked: Arc::default(),
            is_first_scan_done: Arc::default(),
            has_looked: false,
            host: host.to_owned(),
            client: 0,
            name: host.to_owned(),
        };
        let (passes, start) = ([pass("a"), pass("b")], Instant::now());
        let unscanned = Some("the first scan is not done".to_owned());
        assert_eq!(why_not_ready(&passes, start), unscanned);
        passes[0].is_first_scan_done.store(true, Ordering::Release);
        assert_eq!(why_not_ready(&passes, start), unscanned, "the second has not looked");
        passes[1].is_first_scan_done.store(true, Ordering::Release);
        assert_eq!(why_not_ready(&passes, start), None);
        passes[1].blocked.set(403, start);
        assert_eq!(why_not_ready(&passes, start + Duration::from_secs(59)), None);
        let told = why_not_ready(&passes, start + Duration::from_secs(60));
        assert_eq!(told.as_deref(), Some("the receiver b refuses with status 403"));
    }
}
