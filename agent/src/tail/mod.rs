//! Bytes of log files to entries of batches, on plain threads.
//!
//! [`worker`] is one reader thread with its share of containers and its batch, [`turns`] and [`share`] say who reads first, [`descriptors`] which files it
//! holds open, [`rest`] what it keeps of containers to which nothing is written. [`container`] is one
//! container's files in the order in which they are read, [`entrance`] and [`finality`] a file's beginning and end; [`file`] holds one descriptor.
//! [`records`] turns a chunk of bytes into entries, [`state`] being what carries over from one record to the next; [`outlet`] is where an instance's
//! entries go. [`reconcile`] takes in what a directory holds, [`cuts`] decides about lines that do not end, [`marks`] says what an acknowledgement will
//! mean, [`handover`] keeps descriptors over a reload, [`restart`] begins anew with a container after a panic. Lines of a `promtail.yaml`'s targets go through [`stages`], chunk by chunk in [`lines`]; those of
//! containers for which [`container_stages`] has some, record by record in [`staged`]; [`boundaries`] knows from where they could be read again. Lines of
//! files that are no records go by [`raw`]. [`balance`] checks that nothing went missing on the way.
//!
//! Invariants: a file is read by descriptor, never by name; a newer file of a container is not read before the older is final and drained;
//! what is emitted depends only on the files' bytes and on what is in the checkpoint.

pub(crate) mod balance;
mod boundaries;
mod compressed;
pub(crate) mod container;
pub(crate) mod container_stages;
mod content;
pub(crate) mod counts;
mod cuts;
mod descriptors;
mod entrance;
pub(crate) mod file;
mod finality;
pub(crate) mod fingerprint;
mod follow_labels;
pub(crate) mod handover;
mod hold;
mod late;
mod lines;
mod lookback;
mod marks;
pub(crate) mod outlet;
pub(crate) mod overlong;
mod plain_lines;
pub(crate) mod rate;
mod raw;
mod read_clock;
pub(crate) mod reconcile;
pub(crate) mod records;
mod report;
mod rest;
mod restart;
mod retry;
mod share;
mod staged;
pub(crate) mod stages;
pub(crate) mod state;
pub(crate) mod stream_limit;
mod turns;
pub(crate) mod worker;
