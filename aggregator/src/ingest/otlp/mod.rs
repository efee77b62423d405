//! OpenTelemetry's log export requests (`/otlp/v1/logs`): what of them becomes streams, entries and structured metadata.
//!
//! ```text
//! body (none, gzip, zstd, lz4) → json: the same message in protobuf ─┐
//!                              → protobuf ───────────────────────────┴→ request → attributes, value → intake
//! ```
//! The message is walked on the wire, never built as a tree; JSON is rewritten as the protobuf that it stands for, so that there is
//! one mapping. Nesting is bounded by [`MAX_DEPTH`], text made of structured values by [`MAX_VALUE_TEXT`], everything that is
//! kept by the intake's own bound. Which attributes become stream labels is the tenant's business: [`rules`].

mod attributes;
pub mod body;
mod json;
mod request;
pub mod rules;
mod schema;
pub mod status;
#[cfg(test)]
mod tests;
mod value;

use tailwater_storage::entry::TenantId;

use crate::ingest::decode::{Format, PushRefused};
use crate::ingest::intake::{Accepted, Intake};
use crate::ingest::json::JsonError;
use crate::limits::Limits;

/// Levels of maps and arrays in one value.
pub const MAX_DEPTH: usize = 64;

/// Bytes of text that is made of one map or array.
pub const MAX_VALUE_TEXT: usize = 16 << 20;

/// Pairs of the maps that are being written at a time.
pub const MAX_OPEN_PAIRS: usize = 1 << 18;

/// Why an export request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    #[error("content type: {content_type} is not supported")]
    ContentType { content_type: String },
    #[error("unsupported content encoding {encoding}: only gzip, lz4 and zstd are supported")]
    Encoding { encoding: String },
    #[error("{}", told(.0))]
    Json(JsonError),
    #[error("{what} is no number in range: {text:?}")]
    Number { what: &'static str, text: String },
    #[error("{what} is not encoded as it should be")]
    Encoded { what: &'static str },
    #[error("{what} has {length} bytes, it must have {expected}")]
    IdLength { what: &'static str, length: usize, expected: usize },
    #[error("values are nested more than {limit} deep")]
    TooDeep { limit: usize },
    /// 413.
    #[error("request body too large: the text of one value takes more than {limit} bytes")]
    ValueTooLarge { limit: usize },
    /// 413.
    #[error("request body too large: one value has more than {limit} pairs")]
    TooManyPairs { limit: usize },
}

/// The error without the name of the message that push requests are.
fn told(error: &JsonError) -> String {
    let text = error.to_string();
    text.strip_prefix("loghttp.PushRequest: ").unwrap_or(&text).to_owned()
}

impl Intake {
    /// What of an uncompressed export request may be stored. `now`: nanoseconds since the epoch.
    pub fn accept_otlp(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        now: i64,
        format: Format,
        request: &[u8],
    ) -> Result<Accepted, PushRefused> {
        let mut builder = self.begin(tenant, limits, now);
        match format {
            Format::Protobuf => request::read(request, &limits.otlp_config, now, &mut builder)?,
            Format::Json => request::read(&json::to_protobuf(request)?, &limits.otlp_config, now, &mut builder)?,
        }
        if !builder.has_streams() {
            return Err(PushRefused::NoStreams);
        }
        Ok(builder.finish())
    }
}
