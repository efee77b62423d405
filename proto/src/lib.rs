//! The wire between agent and aggregator: Loki's push request, written and walked byte by byte.
//!
//! A push may hold millions of entries, so neither side builds a tree of messages. The agent writes
//! each entry straight into the bytes of its stream ([`write`]); the aggregator walks the bytes it received
//! and hands out borrowed views ([`read`]). Both use prost's wire primitives, so the encoding is protobuf's.
//!
//! ```text
//! PushRequest { repeated Stream streams = 1 }
//! Stream  { string labels = 1; repeated Entry entries = 2; repeated LabelPair shared_metadata = 1001 }
//! Entry   { Timestamp timestamp = 1; bytes line = 2; repeated LabelPair structured_metadata = 3 }
//! LabelPair { bytes name = 1; bytes value = 2 }
//! ```
//! `shared_metadata` is ours: pairs added to every entry of that stream in the request that has no pair of the name.
//! Lines, labels and metadata are bytes here: one invalid byte must not refuse a whole push.

#[cfg(test)]
mod messages;
pub mod read;
pub mod snappy;
pub mod wire;
pub mod write;

/// Field numbers of the messages above.
pub(crate) mod field {
    pub(crate) const REQUEST_STREAMS: u32 = 1;
    pub(crate) const STREAM_LABELS: u32 = 1;
    pub(crate) const STREAM_ENTRIES: u32 = 2;
    pub(crate) const STREAM_SHARED_METADATA: u32 = 1001;
    pub(crate) const ENTRY_TIMESTAMP: u32 = 1;
    pub(crate) const ENTRY_LINE: u32 = 2;
    pub(crate) const ENTRY_STRUCTURED_METADATA: u32 = 3;
    pub(crate) const TIMESTAMP_SECONDS: u32 = 1;
    pub(crate) const TIMESTAMP_NANOS: u32 = 2;
    pub(crate) const PAIR_NAME: u32 = 1;
    pub(crate) const PAIR_VALUE: u32 = 2;
}
