//! The way of a push, from its bytes to the buffer whose flush makes it durable.
//!
//! ```text
//! body (http/push) → decode | json | otlp → intake: streams, limits, levels → PushBatch → buffer → flush → 2xx
//! ```
//! Everything up to the [`PushBatch`](tailwater_storage::entry::PushBatch) is pure: bytes, limits and a time in, a batch and
//! refusals out. The request is walked where it lies; what it can make us allocate is bounded by [`intake::MAX_BATCH_BYTES`].

pub mod body;
pub mod buffer;
pub mod decode;
mod discover;
pub mod flush;
pub mod flush_metrics;
pub mod intake;
pub mod json;
mod label_text;
mod level;
pub mod media_type;
pub(crate) use discover::{DETECTED_LEVEL, DetectedLevel, SERVICE_NAME, detected_level, level_of_labels, service_name};
pub(crate) use level::LEVEL_NAMES;
pub(crate) use metadata::sanitised_name;
mod metadata;
mod newest;
pub mod otlp;
pub mod rate;
pub(crate) mod rejection;
pub(crate) mod stamp;
mod stream;
pub(crate) mod stream_limits;
pub mod subscription;
