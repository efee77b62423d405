//! The closed labels of metrics: why and how, never text of users.

use prometheus_client::encoding::EncodeLabelSet;

/// One closed label, `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// One closed label, `error`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ErrorName {
    pub(crate) error: &'static str,
}

/// One closed label, `outcome`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

/// One closed label, `format`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Format {
    pub(crate) format: &'static str,
}

/// One label, `namespace`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Namespace {
    pub(crate) namespace: String,
}

/// A request to the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KubeRequest {
    pub(super) verb: &'static str,
    /// `-1` without an answer.
    pub(super) code: String,
}

/// The status that blocks a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Status {
    pub(crate) status: u16,
}

/// Why a file's bytes may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PossibleLoss {
    /// A checkpointed file cannot be found any more.
    RotatedAway,
    /// A file shrank, or its content was replaced in place.
    Truncated,
    /// A compressed rotated file cannot be decompressed to its end.
    Compressed,
    /// A deleted file was let go unread, since it was held too long or took too much of the disk.
    DeletedHold,
    /// A file of the journal is damaged.
    Journal,
}

impl PossibleLoss {
    pub(crate) const ALL: [Self; 5] = [Self::RotatedAway, Self::Truncated, Self::Compressed, Self::DeletedHold, Self::Journal];

    pub(super) fn reason(self) -> Reason {
        let reason = match self {
            Self::RotatedAway => "rotated_away",
            Self::Truncated => "truncated",
            Self::Compressed => "compressed",
            Self::DeletedHold => "deleted_hold",
            Self::Journal => "journal_damaged",
        };
        Reason { reason }
    }
}

/// Why a line was deliberately not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The receiver refused it for good.
    IngesterError,
    LineTooLong,
    Unparsed,
    /// It would have begun a stream beyond the limit.
    StreamLimited,
    /// An annotation of its pod or namespace asks for it.
    Excluded,
    /// It is not of the share that an annotation asks for.
    Unsampled,
    /// It became older than the configuration says to read.
    TooOld,
    /// The receiver limits the rate, and the configuration says to drop then; or its container wrote more than its limit allows.
    RateLimited,
}

impl DropReason {
    pub(crate) const ALL: [Self; 8] = [
        Self::Excluded,
        Self::IngesterError,
        Self::RateLimited,
        Self::LineTooLong,
        Self::TooOld,
        Self::Unparsed,
        Self::Unsampled,
        Self::StreamLimited,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::IngesterError => "ingester_error",
            Self::RateLimited => "rate_limited",
            Self::LineTooLong => "line_too_long",
            Self::TooOld => "too_old",
            Self::Unparsed => "unparsed",
            Self::Unsampled => "unsampled",
            Self::StreamLimited => "stream_limited",
        }
    }

    pub(super) fn reason(self) -> Reason {
        Reason { reason: self.name() }
    }
}

/// Why an entry of the journal, or a field of it, is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalFailure {
    NoMessage,
    EmptyLabels,
    /// In a way this program does not know.
    Compression,
}

impl JournalFailure {
    pub(crate) const ALL: [Self; 3] = [Self::NoMessage, Self::EmptyLabels, Self::Compression];

    pub(super) fn error(self) -> ErrorName {
        let error = match self {
            Self::NoMessage => "no_message",
            Self::EmptyLabels => "empty_labels",
            Self::Compression => "compression",
        };
        ErrorName { error }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    Acknowledged,
    Retried,
    Blocked,
    Refused,
}

impl PushOutcome {
    pub(super) fn outcome(self) -> Outcome {
        let outcome = match self {
            Self::Acknowledged => "acknowledged",
            Self::Retried => "retried",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
        };
        Outcome { outcome }
    }
}
