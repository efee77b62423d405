//! The text of one line, in the style of the program that writes it.
//!
//! Identifiers recur as they do in life: a trace id spans about three lines of different containers, client
//! addresses are few and skewed. A stack trace is a run of lines of one stream: [`Composer::compose`] says
//! whether the stream has to go on. No line holds a line feed, ends in a carriage return, or is empty.

mod access;
mod java;
mod json_application;
mod klog;
mod logfmt;
pub(crate) mod pen;
mod vocabulary;

use crate::random::Random;
use crate::timestamp::Calendar;
use pen::Pen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    JsonApplication,
    Logfmt,
    Access,
    Java,
    Klog,
}

/// What is left of a stack trace that a stream is in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    frames: u32,
}

impl Trace {
    pub(crate) fn is_running(self) -> bool {
        self.frames > 0
    }
}

/// What lines of all containers share.
#[derive(Clone, Debug)]
pub(crate) struct Composer {
    random: Random,
    /// Trace and span ids under way.
    requests: Vec<[u64; 3]>,
    clients: Vec<String>,
}

impl Composer {
    pub(crate) fn new(mut random: Random) -> Self {
        let requests = (0..64).map(|_| [random.next(), random.next(), random.next()]).collect();
        let clients = (0..400).map(|_| format!("10.{}.{}.{}", random.below(4), random.below(256), 1 + random.below(254))).collect();
        Self { random, requests, clients }
    }

    /// Appends the next line of a stream. `trace` is the stream's own and must come back with its next line.
    pub(crate) fn compose(&mut self, style: Style, app: &str, calendar: &Calendar, trace: &mut Trace, out: &mut Vec<u8>) {
        match style {
            Style::JsonApplication => json_application::write(self, app, calendar, out),
            Style::Logfmt => logfmt::write(self, app, calendar, out),
            Style::Access => access::write(self, calendar, out),
            Style::Java => java::write(self, app, calendar, trace, out),
            Style::Klog => klog::write(self, app, calendar, out),
        }
    }

    /// Appends a line of 17 to 60 KiB: a request body somebody logs in full.
    pub(crate) fn compose_long(&mut self, app: &str, calendar: &Calendar, out: &mut Vec<u8>) {
        let end = out.len() + (17 << 10) + self.random.index(43 << 10);
        json_application::write(self, app, calendar, out);
        out.pop();
        Pen(out).text(",\"payload\":\"");
        while out.len() + 2 < end {
            Pen(out).hex(self.random.next(), 16);
        }
        Pen(out).text("\"}");
    }

    /// Trace and span id of a request that goes on, or of a new one.
    fn request(&mut self) -> [u64; 3] {
        let at = self.random.index(self.requests.len());
        if self.random.below(3) == 0 {
            self.requests[at] = [self.random.next(), self.random.next(), self.random.next()];
        }
        self.requests[at]
    }

    /// An address; the first of the list come most often.
    fn client(&mut self) -> &str {
        let bound = 1 + self.random.index(self.clients.len());
        &self.clients[self.random.index(bound)]
    }

    /// A status of an HTTP answer: mostly good.
    fn status(&mut self) -> u64 {
        match self.random.below(100) {
            0..85 => 200,
            85..90 => 201,
            90..94 => 304,
            94..97 => 404,
            97..99 => 429,
            _ => 503,
        }
    }

    /// Skewed towards small ones, below `bound`.
    fn skewed(&mut self, bound: u64) -> u64 {
        let inner = 1 + self.random.below(bound);
        self.random.below(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::UnixNanoseconds;

    const STYLES: [Style; 5] = [Style::JsonApplication, Style::Logfmt, Style::Access, Style::Java, Style::Klog];

    fn lines(style: Style, count: usize) -> Vec<Vec<u8>> {
        let mut composer = Composer::new(Random::new(5));
        let mut calendar = Calendar::new(0);
        calendar.set(UnixNanoseconds(1_768_471_200_123_456_789));
        let mut trace = Trace::default();
        (0..count)
            .map(|_| {
                let mut out = Vec::new();
                composer.compose(style, "checkout", &calendar, &mut trace, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn lines_can_stand_in_a_log_file_and_differ() {
        for style in STYLES {
            let lines = lines(style, 500);
            for line in &lines {
                assert!(!line.is_empty() && !line.contains(&b'\n') && line.last() != Some(&b'\r'), "{style:?}");
                assert!(std::str::from_utf8(line).is_ok(), "{style:?}");
                assert!(line.contains(&b' '), "needles go in after a blank: {}", String::from_utf8_lossy(line));
            }
            let distinct: std::collections::BTreeSet<_> = lines.iter().collect();
            assert!(distinct.len() > 450, "{style:?}: {} of 500 differ", distinct.len());
        }
    }

    #[test]
    fn lines_are_about_two_hundred_bytes() {
        let sizes = STYLES.map(|style| lines(style, 500).iter().map(Vec::len).sum::<usize>() / 500);
        assert!(sizes.iter().all(|size| (60..350).contains(size)), "{sizes:?}");
        assert!((150..260).contains(&(sizes.iter().sum::<usize>() / sizes.len())), "{sizes:?}");
    }

    #[test]
    fn stack_traces_run_over_several_lines() {
        let lines = lines(Style::Java, 2_000);
        let frames = lines.iter().filter(|line| line.starts_with(b"\tat ")).count();
        let heads = lines.iter().filter(|line| line.starts_with(b"2026-")).count();
        assert!(frames > 200 && heads > 200, "{frames} frames, {heads} heads");
    }

    #[test]
    fn long_lines_are_longer_than_a_piece() {
        let mut composer = Composer::new(Random::new(5));
        for _ in 0..50 {
            let mut out = Vec::new();
            composer.compose_long("checkout", &Calendar::new(0), &mut out);
            assert!((17 << 10..61 << 10).contains(&out.len()), "{}", out.len());
            assert!(out.ends_with(b"\"}"));
        }
    }
}
