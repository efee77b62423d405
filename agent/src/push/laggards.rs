//! Who holds up others: clients that are read for together get the same batches, and nothing is read while one of them takes none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::lane::LaneLoad;
use super::limited::LimitedTenants;

/// Between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In so many looks more than it does not, a client may hold others up.
const PATIENCE: u32 = 20;

#[derive(Debug)]
struct Client {
    lanes: Vec<LaneLoad>,
    limited: Arc<LimitedTenants>,
    held_up: u32,
}

impl Client {
    fn takes_batches(&self) -> bool {
        self.lanes.iter().all(LaneLoad::has_room) && !self.limited.are_any()
    }
}

/// The clients of one pass.
#[derive(Debug)]
pub(crate) struct Laggards {
    /// By their places.
    clients: Vec<Client>,
    /// Whether all of them took batches at the last look.
    all_take: Arc<AtomicBool>,
}

impl Laggards {
    pub(crate) fn among(clients: impl IntoIterator<Item = Arc<LimitedTenants>>, all_take: Arc<AtomicBool>) -> Self {
        let client = |limited| Client { lanes: Vec::new(), limited, held_up: 0 };
        Self { clients: clients.into_iter().map(client).collect(), all_take }
    }

    pub(crate) fn add_lane(&mut self, place: usize, lane: LaneLoad) {
        self.clients[place].lanes.push(lane);
    }

    /// Looks who takes batches at this moment. Returns the places of those that have held up others for too long.
    pub(crate) fn look(&mut self) -> Vec<usize> {
        let takes: Vec<bool> = self.clients.iter().map(Client::takes_batches).collect();
        self.all_take.store(takes.iter().all(|takes| *takes), Ordering::Release);
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
    use std::time::Instant;

    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};
    use crate::push::lane;

    fn fill(lane: &lane::LaneSender) {
        let batch = BatchBuilder::new(BatchLimits { batch_bytes: 1, max_line_bytes: 1 }).finish(Instant::now());
        lane.try_send(batch).unwrap();
    }

    #[test]
    fn a_client_lags_when_it_takes_nothing_for_long_while_another_does() {
        let mut laggards = Laggards::among([Arc::default(), Arc::default()], Arc::default());
        let lanes = [0, 1].map(|place| {
            let (sender, mut lane) = lane::channel(1, 1);
            let lane = lane.remove(0);
            laggards.add_lane(place, lane.load());
            (sender, lane)
        });
        assert!((0..100).all(|_| laggards.look().is_empty()));
        fill(&lanes[1].0);
        assert!((1..PATIENCE).all(|_| laggards.look().is_empty()));
        assert_eq!(laggards.look(), [1]);
        // With both full nobody waits for the other.
        fill(&lanes[0].0);
        assert!((0..100).all(|_| laggards.look().is_empty()));
    }

    #[test]
    fn a_client_lags_whose_receiver_limits_a_tenant() {
        let limited: Arc<LimitedTenants> = Arc::default();
        let all_take: Arc<AtomicBool> = Arc::default();
        let mut laggards = Laggards::among([Arc::default(), Arc::clone(&limited)], Arc::clone(&all_take));
        let waiting = limited.begin(&None);
        assert_eq!((0..PATIENCE).map(|_| laggards.look()).last(), Some(vec![1]));
        assert!(!all_take.load(Ordering::Acquire));
        drop(waiting);
        assert!(laggards.look().is_empty() && all_take.load(Ordering::Acquire));
    }
}
