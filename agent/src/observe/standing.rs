//! How far each file is: what readers saw, joined with what is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{FileView, namespace_of};
use super::journals::{self, JournalView};
use crate::metrics::{Metrics, Namespace};
use crate::positions::table::{ContainerPath, InstanceKey, Positions};

/// What places in a file count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    /// Of a journal file.
    Entries,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Entries => "entries",
        }
    }
}

/// One file as `/targets` shows it; its places in units of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    /// Its container's directory, or its job and path.
    pub(crate) group: ContainerPath,
    pub(crate) instance: u32,
    pub(crate) name: String,
    pub(crate) path: Option<String>,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) unit: Unit,
    pub(crate) size: Option<u64>,
    pub(crate) read: Option<u64>,
    pub(crate) acknowledged: u64,
    /// What is on the node and not acknowledged, newer files of the group included.
    pub(crate) lag: u64,
    /// Nanoseconds since the epoch.
    pub(crate) last_stamp: Option<i64>,
    pub(crate) is_finished: bool,
    pub(crate) last_error: Option<String>,
}

impl Standing {
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self { last_error: Some(_), .. } => "failing",
            Self { is_finished: true, .. } => "finished",
            Self { labels, acknowledged: 0, read: Some(0), .. } if labels.is_empty() => "waiting",
            Self { lag: 0, .. } => "idle",
            _ => "reading",
        }
    }

    /// How old the last acknowledged line is, where more are there.
    pub(crate) fn lag_seconds(&self, now_nanos: i64) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "an age in seconds")]
        let age = |stamp: i64| (now_nanos.saturating_sub(stamp) as f64 / 1e9).max(0.0);
        self.last_stamp.filter(|_| self.lag > 0 && !self.is_finished).map(age)
    }
}

/// All files that are known, each once, ordered by group: how far the client of this number is, whose `positions` these are.
pub(crate) fn standings(metrics: &Arc<Metrics>, client: usize, positions: &Positions) -> Vec<Standing> {
    let mut seen = metrics.files.of(client);
    let labels_of = |key: &InstanceKey| {
        let entry = positions.instances.get(key);
        entry.and_then(|entry| entry.label_sets.last()).map(|set| set.labels.to_map()).unwrap_or_default()
    };
    let mut journals = metrics.journals.all();
    let mut standings = Vec::new();
    for file in &positions.files {
        let is_it = |view: &FileView| (view.device, view.inode) == (file.device, file.inode);
        let group = &file.instance.container;
        let mut standing = Standing {
            namespace: namespace_of(group).to_owned(),
            labels: labels_of(&file.instance),
            acknowledged: file.progress.offset,
            last_stamp: file.progress.last_stamp,
            is_finished: file.progress.is_finished,
            ..Standing::of(group, file.instance.number, &file.name)
        };
        if let Some(view) = seen.get(group).is_some_and(is_it).then(|| seen.remove(group)).flatten() {
            standing.see(view);
        }
        if let Some(view) = journals.remove(&(group.clone(), file.name.to_string())) {
            standing.see_journal(view);
        }
        standings.push(standing);
    }
    // Not yet checkpointed: nothing of them is acknowledged.
    for (group, view) in seen {
        let instance = instance_of(&view.name);
        let labels = labels_of(&InstanceKey { container: group.clone(), number: instance });
        let mut standing = Standing { labels, ..Standing::of(&group, instance, &view.name) };
        standing.see(view);
        standings.push(standing);
    }
    for ((group, id), view) in journals {
        let mut standing = Standing { acknowledged: view.start, ..Standing::of(&group, 0, &id) };
        standing.see_journal(view);
        standings.push(standing);
    }
    standings.sort_by(|a, b| (&a.group, a.instance, &a.name).cmp(&(&b.group, b.instance, &b.name)));
    standings
}

/// Sets the gauges that say how far behind the files are: of the client that is furthest behind, and of all clients together what is read and not acknowledged.
pub(crate) fn measure(metrics: &Arc<Metrics>, clients: &BTreeMap<usize, Positions>, now_nanos: i64) {
    let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut by_namespace: BTreeMap<String, u64> = BTreeMap::new();
    let (mut oldest, mut unacked) = (0.0, 0);
    for (client, positions) in clients {
        let standings = standings(metrics, *client, positions);
        let mut of_client: BTreeMap<&str, u64> = BTreeMap::new();
        for standing in standings.iter().filter(|standing| standing.unit == Unit::Bytes) {
            unacked += standing.read.unwrap_or_default().saturating_sub(standing.acknowledged);
            if standing.size.is_some() {
                *of_client.entry(&standing.namespace).or_default() += standing.lag;
            }
        }
        for (namespace, lag) in of_client {
            let most = by_namespace.entry(namespace.to_owned()).or_default();
            *most = lag.max(*most);
        }
        oldest = standings.iter().filter_map(|standing| standing.lag_seconds(now_nanos)).fold(oldest, f64::max);
    }
    metrics.lag_bytes.clear();
    for (namespace, lag) in by_namespace {
        metrics.lag_bytes.get_or_create(&Namespace { namespace }).set(bytes(lag));
    }
    metrics.lag_seconds_max.set(oldest);
    metrics.unacked_bytes.set(bytes(unacked));
}

impl Standing {
    /// A file of which nothing is known.
    fn of(group: &ContainerPath, instance: u32, name: &str) -> Self {
        Self {
            group: ContainerPath::clone(group),
            instance,
            name: name.to_owned(),
            path: None,
            namespace: String::new(),
            labels: BTreeMap::new(),
            unit: if journals::is_group(group) { Unit::Entries } else { Unit::Bytes },
            size: None,
            read: None,
            acknowledged: 0,
            lag: 0,
            last_stamp: None,
            is_finished: false,
            last_error: None,
        }
    }

    fn see_journal(&mut self, view: JournalView) {
        self.lag = view.end.saturating_sub(self.acknowledged);
        (self.size, self.read) = (Some(view.end), Some(view.next));
        self.path = Some(view.path);
        self.labels = view.labels;
        self.last_error = view.last_error;
    }

    fn see(&mut self, view: FileView) {
        let size = view.size_now();
        self.lag = size.saturating_sub(self.acknowledged) + view.waiting;
        (self.size, self.read) = (Some(size), Some(view.read));
        self.name = view.name;
        self.path = Some(view.path.text());
        self.namespace = view.namespace;
        self.last_error = view.last_error;
    }
}

fn instance_of(name: &str) -> u32 {
    name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::files::LivePath;
    use crate::positions::table::tests::file_entry;

    #[test]
    fn what_was_read_and_what_is_acknowledged_are_joined() {
        let metrics = Metrics::new();
        let view = |group: &str, inode: u64| FileView {
            path: LivePath::Named(format!("/nowhere/{group}/0.log")),
            name: "0.log".to_owned(),
            namespace: "shop".to_owned(),
            device: 1,
            inode,
            read: 80,
            size: 100,
            waiting: 7,
            ..FileView::default()
        };
        metrics.files.report(&[0], &"shop_a_u/c".into(), 1, view("shop_a_u/c", 2));
        metrics.files.report(&[0], &"shop_b_u/c".into(), 1, FileView { last_error: Some("denied".to_owned()), ..view("shop_b_u/c", 9) });
        let positions = Positions { files: vec![file_entry("shop_a_u/c", 60).into()], ..Positions::default() };
        let found = standings(&metrics, 0, &positions);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].acknowledged, found[0].lag, found[0].read, found[0].state()), (60, 47, Some(80), "reading"));
        assert_eq!(found[0].lag_seconds(2_000_000_005), Some(2.0));
        measure(&metrics, &BTreeMap::from([(0, positions)]), 2_000_000_005);
        assert_eq!((metrics.lag_seconds_max.get(), metrics.unacked_bytes.get()), (2.0, 100));
        assert!(metrics.render().contains("tailwater_agent_lag_bytes{namespace=\"shop\"} 154"));
        assert_eq!((found[1].acknowledged, found[1].lag, found[1].state()), (0, 107, "failing"));
    }

    #[test]
    fn the_client_that_is_furthest_behind_counts() {
        let metrics = Metrics::new();
        let view = |read| FileView {
            path: LivePath::Named("/nowhere/0.log".to_owned()),
            namespace: "shop".to_owned(),
            device: 1,
            inode: 2,
            read,
            size: 100,
            ..FileView::default()
        };
        let positions = |offset| Positions { files: vec![file_entry("shop_a_u/c", offset).into()], ..Positions::default() };
        for (client, read) in [(0, 100), (1, 40)] {
            metrics.files.report(&[client], &"shop_a_u/c".into(), 1, view(read));
        }
        measure(&metrics, &BTreeMap::from([(0, positions(100)), (1, positions(30))]), 3_000_000_005);
        assert_eq!((metrics.lag_seconds_max.get(), metrics.unacked_bytes.get()), (3.0, 10));
        assert!(metrics.render().contains("tailwater_agent_lag_bytes{namespace=\"shop\"} 70"));
    }

    #[test]
    fn journal_files_count_entries_and_are_no_part_of_the_bytes() {
        let metrics = Metrics::new();
        let view = |id: &str| JournalView { path: format!("/journal/{id}"), start: 80, next: 90, end: 101, ..JournalView::default() };
        metrics.journals.report("journal-a", "id1", view("id1"));
        metrics.journals.report("journal-a", "id2", JournalView { last_error: Some("damaged".to_owned()), ..view("id2") });
        let mut file = file_entry("journal-a", 60);
        (file.name, file.device, file.inode) = ("id1".into(), 0, 0);
        let positions = Positions { files: vec![file.into()], ..Positions::default() };
        let found = standings(&metrics, 0, &positions);
        let seen: Vec<_> = found.iter().map(|file| (file.name.as_str(), file.read, file.acknowledged, file.lag, file.state())).collect();
        assert_eq!(seen, [("id1", Some(90), 60, 41, "reading"), ("id2", Some(90), 80, 21, "failing")]);
        assert!(found.iter().all(|file| file.unit == Unit::Entries && file.path.is_some()));
        measure(&metrics, &BTreeMap::from([(0, positions)]), 0);
        assert_eq!(metrics.unacked_bytes.get(), 0);
        assert!(!metrics.render().contains("tailwater_agent_lag_bytes{"));
    }
}
