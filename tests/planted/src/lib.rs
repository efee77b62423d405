//! Faults that drills plant, to prove that they would notice.
//!
//! Linked only with the feature `planted-faults`, which no released program has. One fault at a time, named by the variable
//! `TAILWATER_PLANTED_FAULT`; without it the programs behave as always.

use std::sync::LazyLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The aggregator answers 204 before its segment was stored.
    AckBeforePut,
    /// The agent moves its position when it sends, not when it is answered.
    PositionBeforeAnswer,
    /// The agent does not read what is left in a file when it is rotated.
    RotatedTailForgotten,
    /// Entries that lie in several segments count several times.
    DeduplicationOff,
    /// Queries see every namespace, whoever asks.
    AccessOff,
    /// The scan leaves out one page of lines.
    PageSkipped,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Self::AckBeforePut,
        Self::PositionBeforeAnswer,
        Self::RotatedTailForgotten,
        Self::DeduplicationOff,
        Self::AccessOff,
        Self::PageSkipped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforePut => "ack-before-put",
            Self::PositionBeforeAnswer => "position-before-answer",
            Self::RotatedTailForgotten => "rotated-tail-forgotten",
            Self::DeduplicationOff => "deduplication-off",
            Self::AccessOff => "access-off",
            Self::PageSkipped => "page-skipped",
        }
    }

    /// Whether this fault is planted in this process.
    pub fn is_planted(self) -> bool {
        static PLANTED: LazyLock<Option<Fault>> = LazyLock::new(|| {
            let name = std::env::var("TAILWATER_PLANTED_FAULT").ok()?;
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            Some(fault.unwrap_or_else(|| panic!("`{name}` is no planted fault; these are: {:?}", Fault::ALL.map(Fault::name))))
        });
        *PLANTED == Some(self)
    }
}
