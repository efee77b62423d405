//! `…/pods?watch=true`: what becomes of the pods that have logs, as events of Kubernetes' watches.
//!
//! ```text
//! each round: series → which pods there are · series since the last round → which have logged · those are told anew → events
//! ```
//! Nothing is kept between watches: where one begins follows from its version (`version.rs`), and a version that tells too little is
//! 410. A round tells at most [`MOST_TOLD`] known pods anew, the others by the next ones. Lines that come late are found by going around all pods, some a
//! round. It ends after its time, or when its right is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::apiserver::forward::Counted;
use crate::apiserver::live_log::StillHolds;
use crate::apiserver::pod_log::{flag, number};
use crate::apiserver::pods::{MOST_INCARNATIONS, Places, PodKey, PodSummary, Pods};
use crate::apiserver::shape::Shape;
use crate::apiserver::status::Refused;
use crate::apiserver::version::{NameSum, ResourceVersion};
use crate::clock::Clock;
use crate::http::form::Form;

const INTERVAL: Duration = Duration::from_secs(5);
/// Rounds without an event after which a bookmark is sent.
const QUIET_ROUNDS: usize = 12;
/// How much later than its stamp a line may come, and the clocks of replicas may differ, nanoseconds.
const SLACK: i64 = 10_000_000_000;
/// Pods of one watch.
const MOST_WATCHED: usize = 10_000;
/// Known pods that are told anew in a round, and of them those that were not told for long.
const MOST_TOLD: usize = 100;
const GOING_AROUND: usize = 10;
const LONGEST: Duration = Duration::from_secs(3600);

/// How a watch is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WatchQuestion {
    begin: Begin,
    has_bookmarks: bool,
    ends_initial: bool,
    time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// With all that there is.
    All,
    /// With what comes.
    Present,
    /// With what has changed since.
    After(ResourceVersion),
}

impl WatchQuestion {
    /// `None`: a list is asked for.
    pub(super) fn of(form: &Form) -> Result<Option<Self>, String> {
        if !flag(form, "watch")? {
            return Ok(None);
        }
        if !form.get("untilTime").is_empty() {
            return Err("at most one of `watch` or `untilTime` may be specified".to_owned());
        }
        let sends_initial = match form.get("sendInitialEvents") {
            "" => None,
            _ => Some(flag(form, "sendInitialEvents")?),
        };
        let begin = match (sends_initial, form.get("resourceVersion")) {
            (Some(true), _) | (None, "" | "0") => Begin::All,
            (Some(false), "" | "0") => Begin::Present,
            (_, version) => Begin::After(version.parse().map_err(|_| format!("resourceVersion: `{version}` is of no list"))?),
        };
        let has_bookmarks = flag(form, "allowWatchBookmarks")?;
        let time = number(form, "timeoutSeconds")?.map_or(LONGEST / 2, |seconds| Duration::from_secs(seconds as u64)).min(LONGEST);
        Ok(Some(Self { begin, has_bookmarks, ends_initial: sends_initial == Some(true), time }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Added(PodSummary),
    Modified(PodSummary),
    Deleted(PodSummary),
}

/// What a watch has told.
#[derive(Debug, Default)]
struct Told {
    pods: BTreeMap<PodKey, Known>,
    round: usize,
    /// Have logged, and are not told since.
    pending: BTreeSet<PodKey>,
}

#[derive(Debug, Default)]
struct Known {
    /// `None`: as a list had it.
    summary: Option<PodSummary>,
    places: Places,
    /// The round in which it was looked at.
    looked: usize,
}

impl Told {
    /// Begins with pods that a client knows.
    fn known(all: &BTreeMap<PodKey, Places>) -> Self {
        let known = |places: &Places| Known { places: places.clone(), ..Known::default() };
        Self { pods: all.iter().map(|(key, places)| (key.clone(), known(places))).collect(), ..Self::default() }
    }

    /// What is to be looked at: new pods, pods that have logged, and some that were not looked at for long.
    fn due(&mut self, all: &BTreeMap<PodKey, Places>, active: impl IntoIterator<Item = PodKey>) -> Vec<(PodKey, Places)> {
        self.round += 1;
        self.pending.extend(active);
        self.pending.retain(|key| all.contains_key(key));
        let mut by_age: Vec<(usize, &PodKey)> =
            self.pods.iter().filter(|(key, _)| all.contains_key(key)).map(|(key, known)| (known.looked, key)).collect();
        by_age.sort_unstable();
        let pending = by_age.iter().filter(|(_, key)| self.pending.contains(*key)).take(MOST_TOLD - GOING_AROUND);
        let around = by_age.iter().take(GOING_AROUND);
        let known: BTreeSet<&PodKey> = pending.chain(around).map(|(_, key)| *key).collect();
        let is_due = |key: &PodKey| known.contains(key) || !self.pods.contains_key(key);
        let due: Vec<_> = all.iter().filter(|(key, _)| is_due(key)).map(|(key, places)| (key.clone(), places.clone())).collect();
        for (key, _) in &due {
            let was_pending = self.pending.remove(key);
            if let Some(known) = self.pods.get_mut(key) {
                known.looked = self.round;
                // It logged while nobody looked: what a list told of it is old.
                if was_pending && known.summary.is_none() {
                    known.summary = Some(bare(key, &known.places));
                }
            }
        }
        due
    }

    /// What is new, and notes it. `looked_at`: the newest incarnation of each pod that was due.
    fn changes(&mut self, all: &BTreeMap<PodKey, Places>, looked_at: Vec<PodSummary>) -> Vec<Change> {
        let gone: Vec<PodKey> = self.pods.keys().filter(|key| !all.contains_key(key)).cloned().collect();
        let mut changes = Vec::new();
        for key in gone {
            if let Some(known) = self.pods.remove(&key) {
                changes.push(Change::Deleted(known.summary.unwrap_or_else(|| bare(&key, &known.places))));
            }
        }
        for pod in looked_at {
            let looked = self.round;
            let known = self.pods.get(&pod.key);
            let before = known.map(|known| known.summary.as_ref());
            changes.extend(match before {
                None => Some(Change::Added(pod.clone())),
                Some(Some(before)) if *before == pod => None,
                Some(Some(before)) if before.uid != pod.uid && !before.uid.is_empty() => Some(Change::Added(pod.clone())),
                Some(Some(_)) => Some(Change::Modified(pod.clone())),
                Some(None) => None,
            });
            let places = all.get(&pod.key).cloned().unwrap_or_default();
            self.pods.insert(pod.key.clone(), Known { places, looked, summary: Some(pod) });
        }
        changes
    }
}

/// A pod of which only its name is known.
fn bare(key: &PodKey, places: &Places) -> PodSummary {
    PodSummary { key: key.clone(), uid: String::new(), places: places.clone(), first: 0, last: 0, lines: 0, bytes: 0 }
}

/// Which pods came after a version, if that is all that came and went. `recent`: those that may have, with the time of their first line.
fn new_since<'p>(version: ResourceVersion, all: NameSum, recent: impl Iterator<Item = (&'p PodKey, i64)>) -> Option<BTreeSet<PodKey>> {
    let mut candidates: Vec<(i64, &PodKey)> =
        recent.filter(|(_, first)| *first >= version.time().saturating_sub(SLACK)).map(|(key, first)| (first, key)).collect();
    candidates.sort_unstable();
    let (mut left, mut new) = (all, BTreeSet::new());
    loop {
        if left == version.names() {
            return Some(new);
        }
        let (_, newest) = candidates.pop()?;
        left = left.without(newest);
        new.insert(newest.clone());
    }
}

/// A watch on its way to a client.
pub(super) struct PodWatch<S> {
    pub(super) pods: Pods<S>,
    pub(super) question: WatchQuestion,
    pub(super) shape: Shape,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) still_holds: StillHolds,
}

impl<S: Fn() -> HeaderValue + Send + Sync + 'static> PodWatch<S> {
    /// The answer; what is wrong with its begin is told by a status.
    pub(super) async fn answer(self, done: impl FnOnce(u64) + Send + 'static) -> Result<Response<Body>, Refused> {
        let now = self.clock.now();
        let until = Instant::now() + self.question.time;
        let (told, names, changes) = self.begin(now).await?;
        let counted = Counted::new(done);
        let mut watching = Watching { watch: self, told, names, previous: now, quiet: 0, is_over: false, until, counted };
        let mut first = watching.events(changes, now);
        if watching.watch.question.ends_initial {
            first.extend(watching.bookmark(true));
        }
        watching.counted.add(first.len());
        let pieces = stream::unfold((watching, Some(first)), |(mut watching, first)| async move {
            let piece = match first {
                Some(first) => Some(Bytes::from(first)),
                None => watching.piece().await,
            };
            piece.map(|piece| (Ok::<_, std::io::Error>(piece), (watching, None)))
        });
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
        response.body(Body::from_stream(pieces)).map_err(|error| Refused::Unavailable { reason: error.to_string() })
    }

    /// What is known at the begin, the names that the client knows, and what is to be sent.
    async fn begin(&self, now: i64) -> Result<(Told, Names, Vec<Change>), Refused> {
        let span = self.span(now);
        let all = self.all(span).await?;
        match self.question.begin {
            Begin::Present => Ok((Told::known(&all), Names::of(all.keys()), Vec::new())),
            Begin::All => {
                let mut told = Told::default();
                let mut pods = self.pods.summaries(all.clone().into_iter().collect(), span, MOST_INCARNATIONS).await?;
                // The newest one last, which is the one that a client keeps.
                pods.reverse();
                told.changes(&all, pods.clone());
                Ok((told, Names::default(), pods.into_iter().map(Change::Added).collect()))
            }
            Begin::After(version) => {
                let since = version.time().saturating_sub(SLACK);
                if since < span.0 {
                    return Err(Refused::Expired);
                }
                let active = self.pods.all((since, now)).await?.into_keys();
                let active = active.filter_map(|key| all.get_key_value(&key)).map(|(key, places)| (key.clone(), places.clone())).collect();
                let looked_at = self.pods.summaries(active, span, 1).await?;
                let firsts = looked_at.iter().map(|pod| (&pod.key, pod.first));
                let new = new_since(version, NameSum::of(all.keys()), firsts).ok_or(Refused::Expired)?;
                let mut told = Told::known(&all);
                told.pods.retain(|key, _| !new.contains(key));
                for pod in &looked_at {
                    if let Some(known) = told.pods.get_mut(&pod.key) {
                        known.summary = Some(bare(&pod.key, &known.places));
                    }
                }
                let names = Names::of(told.pods.keys());
                let changes = told.changes(&all, looked_at);
                Ok((told, names, changes))
            }
        }
    }

    /// What is looked at: as much time as was asked for, up to now.
    fn span(&self, now: i64) -> (i64, i64) {
        let length = self.pods.question.until.saturating_sub(self.pods.question.since);
        (now.saturating_sub(length), now)
    }

    async fn all(&self, span: (i64, i64)) -> Result<BTreeMap<PodKey, Places>, Refused> {
        let all = self.pods.all(span).await?;
        if all.len() > MOST_WATCHED {
            return Err(Refused::BadRequest { text: format!("more than {MOST_WATCHED} pods, watch a namespace or use a selector") });
        }
        Ok(all)
    }
}

/// The pods that a client knows.
#[derive(Debug, Default)]
struct Names {
    keys: BTreeSet<PodKey>,
    sum: NameSum,
}

impl Names {
    fn of<'k>(keys: impl Iterator<Item = &'k PodKey>) -> Self {
        let mut names = Self::default();
        keys.for_each(|key| names.add(key));
        names
    }

    fn add(&mut self, key: &PodKey) {
        if self.keys.insert(key.clone()) {
            self.sum = self.sum.with(key);
        }
    }

    fn remove(&mut self, key: &PodKey) {
        if self.keys.remove(key) {
            self.sum = self.sum.without(key);
        }
    }
}

struct Watching<S, F: FnOnce(u64)> {
    watch: PodWatch<S>,
    told: Told,
    names: Names,
    /// When the round before began, nanoseconds since the epoch.
    previous: i64,
    /// Rounds without an event.
    quiet: usize,
    is_over: bool,
    until: Instant,
    counted: Counted<F>,
}

impl<S: Fn() -> HeaderValue + Send + Sync + 'static, F: FnOnce(u64)> Watching<S, F> {
    /// The next events; `None` at its end.
    async fn piece(&mut self) -> Option<Bytes> {
        while !self.is_over && Instant::now() + INTERVAL <= self.until {
            sleep(INTERVAL).await;
            if !(self.watch.still_holds)().await {
                self.is_over = true;
                return Some(self.sent(event("ERROR", &Refused::Withdrawn.document())));
            }
            let now = self.watch.clock.now();
            let piece = match self.round(now).await {
                Ok(changes) => self.events(changes, now),
                Err(error) => {
                    tracing::warn!(%error, "pods cannot be watched, trying again");
                    continue;
                }
            };
            self.previous = now;
            self.quiet = if piece.is_empty() { self.quiet + 1 } else { 0 };
            if !piece.is_empty() {
                return Some(self.sent(piece));
            }
            if self.watch.question.has_bookmarks && self.quiet >= QUIET_ROUNDS {
                self.quiet = 0;
                let bookmark = self.bookmark(false);
                return Some(self.sent(bookmark));
            }
        }
        let last = Some(self.until.saturating_duration_since(Instant::now())).filter(|_| !self.is_over);
        sleep(last.unwrap_or_default()).await;
        None
    }

    fn sent(&mut self, piece: Vec<u8>) -> Bytes {
        self.counted.add(piece.len());
        piece.into()
    }

    async fn round(&mut self, now: i64) -> Result<Vec<Change>, Refused> {
        let span = self.watch.span(now);
        let all = self.watch.all(span).await?;
        let active = self.watch.pods.all((self.previous.saturating_sub(SLACK), now)).await?;
        let due = self.told.due(&all, active.into_keys());
        let looked_at = self.watch.pods.summaries(due, span, 1).await?;
        Ok(self.told.changes(&all, looked_at))
    }

    /// Events as they are sent. All but the last have the version of the round before, so that a client that got some of them gets the others.
    fn events(&mut self, changes: Vec<Change>, now: i64) -> Vec<u8> {
        let (mut text, count) = (Vec::new(), changes.len());
        for (number, change) in changes.into_iter().enumerate() {
            let time = if number + 1 == count { now } else { self.previous };
            let (kind, pod) = match &change {
                Change::Added(pod) => ("ADDED", pod),
                Change::Modified(pod) => ("MODIFIED", pod),
                Change::Deleted(pod) => ("DELETED", pod),
            };
            match &change {
                Change::Deleted(pod) => self.names.remove(&pod.key),
                Change::Added(pod) | Change::Modified(pod) => self.names.add(&pod.key),
            }
            text.extend(event(kind, &self.watch.shape.one(pod, ResourceVersion::at(time, self.names.sum))));
        }
        text
    }

    fn bookmark(&self, is_initial_end: bool) -> Vec<u8> {
        let version = ResourceVersion::at(self.previous, self.names.sum);
        event("BOOKMARK", &self.watch.shape.bookmark(version, is_initial_end))
    }
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    const BEGIN: i64 = 1_795_300_000_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn question(parameters: &[(&str, &str)]) -> Result<Option<WatchQuestion>, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        WatchQuestion::of(&Form::new(&HeaderMap::new(), Some(&query), &Bytes::new()))
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "a".to_owned(), name: name.to_owned() }
    }

    fn pod(name: &str, uid: &str, lines: u64) -> PodSummary {
        PodSummary { uid: uid.to_owned(), first: BEGIN, last: BEGIN, lines, ..bare(&key(name), &Places::default()) }
    }

    fn all(names: &[&str]) -> BTreeMap<PodKey, Places> {
        names.iter().map(|name| (key(name), Places::default())).collect()
    }

    #[test]
    fn a_watch_begins_as_its_parameters_say() {
        let version = ResourceVersion::new(BEGIN, []);
        let text = version.to_string();
        for (parameters, expected) in [
            (&[][..], Begin::All),
            (&[("resourceVersion", "0")], Begin::All),
            (&[("resourceVersion", text.as_str())], Begin::After(version)),
            (&[("resourceVersion", text.as_str()), ("sendInitialEvents", "true")], Begin::All),
            (&[("sendInitialEvents", "false")], Begin::Present),
        ] {
            let asked: Vec<_> = [("watch", "1")].iter().chain(parameters).copied().collect();
            assert_eq!(question(&asked).expect("parameters").expect("a watch").begin, expected, "{parameters:?}");
        }
        assert_eq!(question(&[("resourceVersion", "x")]), Ok(None), "a list");
        for wrong in [("resourceVersion", "x"), ("timeoutSeconds", "-1"), ("untilTime", "2026-01-01T00:00:00Z"), ("watch", "yes")] {
            assert!(question(&[wrong, ("watch", "true")]).expect_err("refused").contains(wrong.0), "{wrong:?}");
        }
    }

    #[test]
    fn rounds_tell_what_is_new_and_nothing_twice() {
        let mut told = Told::known(&all(&["p", "q"]));
        let here = all(&["p", "q", "r"]);
        let due = told.due(&here, [key("p")]);
        assert_eq!(due.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(), ["p", "q", "r"], "few pods are all looked at");
        let looked_at = vec![pod("p", "u", 2), pod("q", "v", 1), pod("r", "w", 1)];
        let expected = [Change::Modified(pod("p", "u", 2)), Change::Added(pod("r", "w", 1))];
        assert_eq!(told.changes(&here, looked_at.clone()), expected, "q is as the list had it");
        told.due(&here, []);
        assert_eq!(told.changes(&here, looked_at), []);
        let here = all(&["p", "q"]);
        told.due(&here, [key("q")]);
        let looked_at = vec![pod("p", "next", 1), pod("q", "v", 5)];
        let expected = [Change::Deleted(pod("r", "w", 1)), Change::Added(pod("p", "next", 1)), Change::Modified(pod("q", "v", 5))];
        assert_eq!(told.changes(&here, looked_at), expected);
    }

    #[test]
    fn a_round_looks_at_few_and_all_have_their_turn() {
        let names: Vec<String> = (0..1000).map(|number| format!("p-{number}")).collect();
        let here = all(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut told = Told::known(&here);
        let mut seen = BTreeSet::new();
        let mut active: Vec<PodKey> = here.keys().cloned().collect();
        for _ in 0..12 {
            let due = told.due(&here, active.drain(..));
            assert!(due.len() <= MOST_TOLD, "{}", due.len());
            seen.extend(due.into_iter().map(|(key, _)| key));
        }
        assert_eq!((seen.len(), told.pending.len()), (1000, 0));
    }

    #[test]
    fn what_came_after_a_version_is_found_by_its_first_line() {
        let (p, q, r) = (key("p"), key("q"), key("r"));
        let version = ResourceVersion::new(BEGIN, [&p, &q]);
        let sum = |keys: &[&PodKey]| NameSum::of(keys.iter().copied());
        let new = |all, recent: &[(&PodKey, i64)]| new_since(version, all, recent.iter().copied());
        assert_eq!(new(sum(&[&p, &q]), &[(&p, BEGIN)]), Some(BTreeSet::new()));
        assert_eq!(new(sum(&[&p, &q, &r]), &[(&p, 0), (&r, BEGIN + SECOND)]), Some(BTreeSet::from([r.clone()])));
        assert_eq!(new(sum(&[&p, &q, &r]), &[(&r, BEGIN - 60 * SECOND)]), None, "it came unseen");
        assert_eq!(new(sum(&[&p]), &[(&p, BEGIN)]), None, "one is gone");
    }
}
