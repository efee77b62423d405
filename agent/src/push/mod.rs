//! Batches to the receiver, in order, until they are acknowledged.
//!
//! [`lane`] sends the batches of one reader thread, each tenant's requests one after another, which keeps the order within every stream; [`unsettled`] knows
//! what is on its way, [`doubt`] what of it may be stored, [`delivery`] settles one request, [`receiver`] makes it; [`answer`] says what an answer means, [`backoff`] how long to wait,
//! [`limited`] which tenants do, [`laggards`] which clients hold up others, [`announce`] asks once whether the receiver is one of ours.
//!
//! Invariants: a retry holds the same entries; what a batch's marks say is true only after a 2xx, or after its refused entries were counted.

pub(crate) mod announce;
pub(crate) mod answer;
pub(crate) mod backoff;
mod delivery;
pub(crate) mod doubt;
pub(crate) mod gate;
pub(crate) mod laggards;
pub(crate) mod lane;
pub(crate) mod limited;
pub(crate) mod oauth2;
pub(crate) mod outgoing;
pub(crate) mod print;
pub(crate) mod receiver;
mod renewed;
pub(crate) mod tls;
mod unsettled;
