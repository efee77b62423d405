//! What the agent tells of itself: files and how far they are, receivers, liveness, the process.
//!
//! [`kubelet_keeps`] learns what [`buffer`] needs to know of the kubelet. [`files`] is written by readers once a turn, never once a line, [`journals`] once a second; [`standing`] joins it with the positions when somebody asks. [`clients`] counts by
//! receiver under the names that Promtail's users alert on, [`heartbeats`] knows whether every loop still turns, [`process`] reads `/proc`, [`pass`] says whether the agent is ready.

pub(crate) mod buffer;
pub(crate) mod clients;
pub(crate) mod files;
pub(crate) mod heartbeats;
pub(crate) mod journals;
pub(crate) mod kubelet_keeps;
pub(crate) mod pass;
pub(crate) mod process;
pub(crate) mod standing;
