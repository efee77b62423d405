//! Faults that drills plant, to prove that they would notice.
//!
//! Linked only with the feature `planted-faults`, which no released program has. One fault at a time, named by the variable
//! `TAILWATER_PLANTED_FAULT`; without it the programs behave as always.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The aggregator answers 204 before its segment was stored.
    AckBeforePut,
    /// The agent moves its position when it sends, not when it is answered.
    PositionBeforeAnswer,
    /// The agent does not read what is left in a file when it is rotated.
    RotatedTailForgotten,
    /// The agent takes a file as final without asking whether somebody still writes to it.
    WritersUnasked,
    /// What one of the agent's clients acknowledges counts for all that are read for together.
    OneForAll,
    /// The agent reads for clients together that are not where they meet.
    MeetingMissed,
    /// Turns of the agent at one container end in a panic.
    TurnPanics,
    /// The agent's scanner, a sender, or its writer of positions ends in a panic.
    ScannerPanics,
    SenderPanics,
    KeeperPanics,
    /// Entries that lie in several segments count several times.
    DeduplicationOff,
    /// Queries see every namespace, whoever asks.
    AccessOff,
    /// Who may read a namespace sees what former ones of its name wrote as well.
    NamespaceUidIgnored,
    /// The scan leaves out one page of lines.
    PageSkipped,
    /// Kept results are found by their question alone, whatever was stored or deleted since.
    ResultsWithoutIdentity,
    /// Windows hold the entry at their open end as well.
    WindowEdge,
    /// The last of several steps has no points.
    LastStepLost,
    /// A parser sets labels that an earlier stage has set.
    LabelsOverwritten,
    /// A line filter for no text keeps no line.
    EmptyFilterDrops,
    /// Of several line filters only the last one filters.
    LastFilterOnly,
    /// Log queries show the entry at the end of their range as well.
    EndIncluded,
    /// A page of a log query ends in the middle of a stamp, behind which the next one begins.
    PageCut,
    /// Of several matchers the first selects nothing.
    FirstMatcherIgnored,
    /// Printed queries lack their offsets.
    OffsetUnprinted,
    /// Queries may nest as deeply as they like.
    NestingUnbounded,
    /// A merge commits also if another one has replaced its inputs meanwhile.
    MergeInputsUnchecked,
    /// A fold says that it holds one segment more than it does.
    WatermarkAhead,
    /// The sweep of orphans spares what the newest version of the manifest names alone.
    SweepForgetsReaders,
    /// The text index excludes the first page of a file, whatever is in it.
    IndexTooSure,
    /// Queries show what is past its retention until it is erased.
    RetentionUnfiltered,
    /// The newest files go first where a store is too large.
    NewestDropped,
}

impl Fault {
    pub const ALL: [Fault; 31] = [
        Self::AckBeforePut,
        Self::PositionBeforeAnswer,
        Self::RotatedTailForgotten,
        Self::WritersUnasked,
        Self::OneForAll,
        Self::MeetingMissed,
        Self::TurnPanics,
        Self::ScannerPanics,
        Self::SenderPanics,
        Self::KeeperPanics,
        Self::DeduplicationOff,
        Self::AccessOff,
        Self::NamespaceUidIgnored,
        Self::PageSkipped,
        Self::ResultsWithoutIdentity,
        Self::WindowEdge,
        Self::LastStepLost,
        Self::LabelsOverwritten,
        Self::EmptyFilterDrops,
        Self::LastFilterOnly,
        Self::EndIncluded,
        Self::PageCut,
        Self::FirstMatcherIgnored,
        Self::OffsetUnprinted,
        Self::NestingUnbounded,
        Self::MergeInputsUnchecked,
        Self::WatermarkAhead,
        Self::SweepForgetsReaders,
        Self::IndexTooSure,
        Self::RetentionUnfiltered,
        Self::NewestDropped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforePut => "ack-before-put",
            Self::PositionBeforeAnswer => "position-before-answer",
            Self::RotatedTailForgotten => "rotated-tail-forgotten",
            Self::WritersUnasked => "writers-unasked",
            Self::OneForAll => "one-for-all",
            Self::MeetingMissed => "meeting-missed",
            Self::TurnPanics => "turn-panics",
            Self::ScannerPanics => "scanner-panics",
            Self::SenderPanics => "sender-panics",
            Self::KeeperPanics => "keeper-panics",
            Self::DeduplicationOff => "deduplication-off",
            Self::AccessOff => "access-off",
            Self::NamespaceUidIgnored => "namespace-uid-ignored",
            Self::PageSkipped => "page-skipped",
            Self::ResultsWithoutIdentity => "results-without-identity",
            Self::WindowEdge => "window-edge",
            Self::LastStepLost => "last-step-lost",
            Self::LabelsOverwritten => "labels-overwritten",
            Self::EmptyFilterDrops => "empty-filter-drops",
            Self::LastFilterOnly => "last-filter-only",
            Self::EndIncluded => "end-included",
            Self::PageCut => "page-cut",
            Self::FirstMatcherIgnored => "first-matcher-ignored",
            Self::OffsetUnprinted => "offset-unprinted",
            Self::NestingUnbounded => "nesting-unbounded",
            Self::MergeInputsUnchecked => "merge-inputs-unchecked",
            Self::WatermarkAhead => "watermark-ahead",
            Self::SweepForgetsReaders => "sweep-forgets-readers",
            Self::IndexTooSure => "index-too-sure",
            Self::RetentionUnfiltered => "retention-unfiltered",
            Self::NewestDropped => "newest-dropped",
        }
    }

    /// Panics at the call of that number, from 1, if this fault is planted in this process.
    pub fn panics_at(self, call: usize) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        assert!(!self.is_planted() || CALLS.fetch_add(1, Ordering::Relaxed) + 1 != call, "planted: {}", self.name());
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
