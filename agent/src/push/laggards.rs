//! Who holds up others: clients that are read for together get the same batches, and nothing is read while one of them takes none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lane::LaneLoad;
use super::limited::LimitedTenants;

/// Between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In so many looks more than it does not, a client may hold others up.
const PATIENCE: u32 = 20;
/// A client that keeps up answers within it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Lane {
    load: LaneLoad,
    /// What was settled when somebody looked last, if something was on its way, and since when it is so many.
    settled: Option<u64>,
    since: Instant,
}

#[derive(Debug)]
struct Client {
    lanes: Vec<Lane>,
    limited: Arc<LimitedTenants>,
    held_up: u32,
}

impl Client {
    fn takes_batches(&self) -> bool {
        self.lanes.iter().all(|lane| lane.load.has_room()) && !self.limited.are_any()
    }

    /// Looks whether what was sent is answered.
    fn answers(&mut self, now: Instant) -> bool {
        for lane in &mut self.lanes {
            let settled = lane.load.settled_while_busy();
            if settled.is_none() || settled != lane.settled {
                (lane.settled, lane.since) = (settled, now);
            }
        }
        let answers = |lane: &Lane| now.saturating_duration_since(lane.since) < ANSWERS_WITHIN;
        self.lanes.iter().all(answers) && !self.limited.are_any()
    }
}

/// The clients of one pass.
#[derive(Debug)]
pub(crate) struct Laggards {
    /// By their places.
    clients: Vec<Client>,
    /// Whether all of them answered when somebody looked last.
    all_answer: Arc<AtomicBool>,
}

impl Laggards {
    pub(crate) fn among(clients: impl IntoIterator<Item = Arc<LimitedTenants>>, all_answer: Arc<AtomicBool>) -> Self {
        let client = |limited| Client { lanes: Vec::new(), limited, held_up: 0 };
        Self { clients: clients.into_iter().map(client).collect(), all_answer }
    }

    pub(crate) fn add_lane(&mut self, place: usize, load: LaneLoad) {
        self.clients[place].lanes.push(Lane { load, settled: None, since: Instant::now() });
    }

    /// Looks who takes batches. Returns the places of those that have held up others for too long.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<usize> {
        let mut all_answer = true;
        self.clients.iter_mut().for_each(|client| all_answer &= client.answers(now));
        self.all_answer.store(all_answer, Ordering::Release);
        let takes: Vec<bool> = self.clients.iter().map(Client::takes_batches).collect();
        let is_any_free = takes.contains(&true);
        for (client, takes) in self.clients.iter_mut().zip(takes) {
            client.held_up = if !takes && is_any_free { client.held_up + 1 } else { client.held_up.saturating_sub(1) };
        }
        let is_laggard = |client: &Client| client.held_up >= PATIENCE;
        self.clients.iter().enumerate().filter(|(_, client)| is_laggard(client)).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};
    use crate::push::lane;

    fn fill(lane: &lane::LaneSender) {
        let batch = BatchBuilder::new(BatchLimits { batch_bytes: 1, max_line_bytes: 1 }).finish(Instant::now());
        lane.try_send(batch).unwrap();
    }

    /// Two clients with lanes of one batch.
    fn pair(all_answer: &Arc<AtomicBool>, limited: &Arc<LimitedTenants>) -> (Laggards, [(lane::LaneSender, lane::LaneBatches); 2]) {
        let mut laggards = Laggards::among([Arc::default(), Arc::clone(limited)], Arc::clone(all_answer));
        let lanes = [0, 1].map(|place| {
            let (sender, mut lane) = lane::channel(1, 1);
            let lane = lane.remove(0);
            laggards.add_lane(place, lane.load());
            (sender, lane)
        });
        (laggards, lanes)
    }

    #[test]
    fn a_client_lags_when_it_takes_nothing_for_long_while_another_does() {
        let (mut laggards, lanes) = pair(&Arc::default(), &Arc::default());
        let now = Instant::now();
        assert!((0..100).all(|_| laggards.look(now).is_empty()));
        fill(&lanes[1].0);
        assert!((1..PATIENCE).all(|_| laggards.look(now).is_empty()));
        assert_eq!(laggards.look(now), [1]);
        // With both full nobody waits for the other.
        fill(&lanes[0].0);
        assert!((0..100).all(|_| laggards.look(now).is_empty()));
    }

    #[test]
    fn a_client_lags_whose_receiver_limits_a_tenant() {
        let (all_answer, limited): (Arc<AtomicBool>, Arc<LimitedTenants>) = Default::default();
        let (mut laggards, _lanes) = pair(&all_answer, &limited);
        let (waiting, now) = (limited.begin(&None), Instant::now());
        assert_eq!((0..PATIENCE).map(|_| laggards.look(now)).last(), Some(vec![1]));
        assert!(!all_answer.load(Ordering::Acquire));
        drop(waiting);
        assert!(laggards.look(now).is_empty() && all_answer.load(Ordering::Acquire));
    }

    #[test]
    fn a_client_does_not_keep_up_that_does_not_answer_what_it_got() {
        let all_answer: Arc<AtomicBool> = Arc::default();
        let (mut laggards, lanes) = pair(&all_answer, &Arc::default());
        let mut look = |seconds: u64| {
            laggards.look(Instant::now() + Duration::from_secs(seconds));
            all_answer.load(Ordering::Acquire)
        };
        assert!(look(0) && look(10), "nothing was sent");
        fill(&lanes[0].0);
        assert!(look(11) && look(12) && !look(14));
    }
}
