//! Which requests fetch many byte ranges: neighbours together, none too large.

use std::ops::Range;

/// How far away objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    Network,
    Disk,
}

impl Distance {
    /// Bytes between two ranges that are cheaper to fetch than to ask twice.
    fn gap(self) -> u64 {
        match self {
            Self::Network => 256 << 10,
            Self::Disk => 4 << 10,
        }
    }

    /// How many ranges are asked for at once. Over a network each is a request, and these go side by side.
    pub(super) fn ranges_at_once(self) -> usize {
        match self {
            Self::Network => 1,
            Self::Disk => 64,
        }
    }
}

/// Most bytes of one request, unless a single range is longer.
const MOST: u64 = 8 << 20;

/// What is fetched in one piece, and the ranges (indices into those asked for) that lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) range: Range<u64>,
    pub(super) parts: Vec<usize>,
}

/// Requests that cover `ranges`, ascending.
pub(super) fn coalesce(ranges: &[Range<u64>], distance: Distance) -> Vec<Request> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&index| (ranges[index].start, ranges[index].end));
    let mut requests: Vec<Request> = Vec::new();
    for index in order {
        let range = &ranges[index];
        match requests.last_mut() {
            Some(last)
                if range.start <= last.range.end.saturating_add(distance.gap())
                    && range.end.max(last.range.end) - last.range.start <= MOST =>
            {
                last.range.end = last.range.end.max(range.end);
                last.parts.push(index);
            }
            _ => requests.push(Request { range: range.clone(), parts: vec![index] }),
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_range_lies_in_one_request_and_none_is_too_large(
            ranges in proptest::collection::vec((0u64..(40 << 20), 0u64..(1 << 20)), 0..60),
            is_near: bool,
        ) {
            let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
            let requests = coalesce(&ranges, if is_near { Distance::Disk } else { Distance::Network });
            let mut seen = vec![0; ranges.len()];
            for request in &requests {
                prop_assert!(request.range.end - request.range.start <= MOST);
                for &part in &request.parts {
                    seen[part] += 1;
                    prop_assert!(request.range.start <= ranges[part].start && ranges[part].end <= request.range.end);
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn neighbours_go_together() {
        for distance in [Distance::Network, Distance::Disk] {
            let far = 20 + distance.gap() + 1;
            let requests = coalesce(&[far..far + 5, 0..10, 10..20], distance);
            let together = Request { range: 0..20, parts: vec![1, 2] };
            assert_eq!(requests, [together, Request { range: far..far + 5, parts: vec![0] }], "{distance:?}");
        }
    }
}
