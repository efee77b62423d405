//! How many streams the process may have: lines of a further one are dropped and counted until another ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::parse::cri::OutputStream;

/// Streams of all readers.
#[derive(Debug)]
pub(crate) struct StreamLimit {
    max: usize,
    open: AtomicUsize,
}

impl StreamLimit {
    /// `None` without a limit.
    pub(crate) fn new(max: usize) -> Option<Arc<Self>> {
        (max > 0).then(|| Arc::new(Self { max, open: AtomicUsize::new(0) }))
    }

    fn take(&self) -> bool {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

/// The streams that one instance has; given back when it is over.
#[derive(Debug)]
pub(super) struct LimitedStreams {
    limit: Arc<StreamLimit>,
    is_open: [bool; 2],
    /// Of lines that go through stages.
    others: usize,
}

impl LimitedStreams {
    pub(super) fn new(limit: Arc<StreamLimit>) -> Self {
        Self { limit, is_open: [false; 2], others: 0 }
    }

    /// Whether lines of `stream` may be sent.
    pub(super) fn may_open(&mut self, stream: OutputStream) -> bool {
        let is_open = &mut self.is_open[stream.index()];
        *is_open = *is_open || self.limit.take();
        *is_open
    }

    /// Whether one more may be opened, whatever its labels.
    pub(super) fn may_open_another(&mut self) -> bool {
        let may = self.limit.take();
        self.others += usize::from(may);
        may
    }

    /// With other labels they are others.
    pub(super) fn give_back(&mut self) {
        let open = std::mem::take(&mut self.is_open).into_iter().filter(|is_open| *is_open).count();
        let open = open + std::mem::take(&mut self.others);
        self.limit.open.fetch_sub(open, Ordering::AcqRel);
    }
}

impl Drop for LimitedStreams {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_beyond_the_limit_wait_for_the_end_of_others() {
        assert!(StreamLimit::new(0).is_none());
        let limit = StreamLimit::new(3).unwrap();
        let [mut first, mut second] = [(); 2].map(|()| LimitedStreams::new(Arc::clone(&limit)));
        assert!(first.may_open(OutputStream::Stdout) && first.may_open(OutputStream::Stderr) && second.may_open(OutputStream::Stdout));
        assert!(!second.may_open(OutputStream::Stderr), "a fourth");
        assert!(second.may_open(OutputStream::Stdout), "one it has");
        drop(first);
        assert!(second.may_open(OutputStream::Stderr) && second.may_open_another());
        assert!(!second.may_open_another(), "a fourth");
        second.give_back();
        assert!(second.may_open_another());
        second.give_back();
        assert_eq!(limit.open.load(Ordering::Relaxed), 0);
    }
}
