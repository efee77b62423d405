//! What readers last saw of each group of files: a container's, or a target's.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::iter::repeat_n;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::discover::paths::live_name;
use crate::pipeline::counters::sample;
use crate::positions::table::{ContainerPath, FileEntry, SlimArc};

/// Files with series of their own; beyond it they are added up by namespace.
const MAX_PATH_SERIES: usize = 2000;

/// Where a live file is, also while an older one is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LivePath {
    /// That of an instance of a container, in the container's directory.
    Instance(Arc<Path>, u32),
    Named(String),
}

impl Default for LivePath {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

impl LivePath {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Instance(directory, number) => directory.join(live_name(*number)).to_string_lossy().into_owned(),
            Self::Named(path) => path.clone(),
        }
    }
}

/// The file being read, and what waits behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileView {
    pub(crate) path: LivePath,
    /// The file being read by its name.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Bytes read of it.
    pub(crate) read: u64,
    pub(crate) size: u64,
    /// Bytes of newer files that are not begun.
    pub(crate) waiting: u64,
    /// Lines read of the group.
    pub(crate) lines: u64,
    pub(crate) last_error: Option<String>,
}

impl FileView {
    /// Bytes of it and of newer files.
    fn unread(&self) -> u64 {
        self.size.saturating_sub(self.read) + self.waiting
    }

    /// Its size now, where it still has its name; what a reader saw otherwise.
    pub(crate) fn size_now(&self) -> u64 {
        let path = match &self.path {
            LivePath::Instance(directory, _) => directory.join(&self.name),
            LivePath::Named(path) => Path::new(path).with_file_name(&self.name),
        };
        let metadata = fs::symlink_metadata(path).ok();
        let is_it = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode);
        metadata.filter(is_it).map_or(self.size, |metadata| metadata.len())
    }
}

/// A view as it is kept; those of containers at rest, of which there may be ten thousand, in few bytes.
#[derive(Debug)]
enum Kept {
    Whole(Box<FileView>),
    /// All is read of the live file in a container's directory, which has its name.
    Resting {
        directory: Arc<Path>,
        live: SlimArc<FileEntry>,
        lines: u64,
    },
}

impl Kept {
    fn lines(&self) -> u64 {
        match self {
            Self::Whole(view) => view.lines,
            Self::Resting { lines, .. } => *lines,
        }
    }

    /// What is seen of `group`.
    fn view(&self, group: &str) -> FileView {
        match self {
            Self::Whole(view) => FileView::clone(view),
            Self::Resting { directory, live, lines } => FileView {
                path: LivePath::Instance(Arc::clone(directory), live.instance.number),
                name: live_name(live.instance.number),
                namespace: namespace_of(group).to_owned(),
                device: live.device,
                inode: live.inode,
                read: live.progress.offset,
                size: live.progress.offset,
                waiting: 0,
                lines: *lines,
                last_error: None,
            },
        }
    }

    /// The same in few bytes, if nothing is left out by that.
    fn rest(&mut self, group: &str, (directory, live): (&Arc<Path>, &SlimArc<FileEntry>)) {
        let Self::Whole(view) = self else { return };
        let resting = Self::Resting { directory: Arc::clone(directory), live: SlimArc::clone(live), lines: view.lines };
        if resting.view(group) == **view {
            *self = resting;
        }
    }
}

/// `<namespace>_<pod>_<uid>/<container>`; nothing for another target.
pub(super) fn namespace_of(group: &str) -> &str {
    group.split_once('/').and_then(|(pod, _)| pod.split_once('_')).map_or("", |(namespace, _)| namespace)
}

/// A group as its series tell of it.
struct Shown<'a> {
    view: &'a FileView,
    size: u64,
    label: String,
}

/// All groups that are being read, for each client by itself.
#[derive(Debug, Default)]
pub(crate) struct FileBoard {
    clients: Mutex<Vec<BTreeMap<ContainerPath, Kept>>>,
    /// Lines of groups whose readers ended with the configuration before: whoever reads them next counts on.
    left: Mutex<BTreeMap<ContainerPath, u64>>,
}

impl FileBoard {
    /// Replaces what is known of `group` as it is read for the clients of these numbers; `lines` are those read since.
    pub(crate) fn report(&self, readers_of: &[usize], group: &ContainerPath, lines: u64, view: FileView) {
        let mut clients = self.clients.lock();
        for (client, view) in readers_of.iter().zip(repeat_n(view, readers_of.len())) {
            if clients.len() <= *client {
                clients.resize_with(client + 1, BTreeMap::new);
            }
            let files = &mut clients[*client];
            match files.get_mut(group) {
                Some(Kept::Whole(known)) => **known = FileView { lines: known.lines + lines, ..view },
                Some(kept) => *kept = Kept::Whole(Box::new(FileView { lines: kept.lines() + lines, ..view })),
                None => {
                    let before = self.left.lock().get(group).copied().unwrap_or_default();
                    files.insert(ContainerPath::clone(group), Kept::Whole(Box::new(FileView { lines: before + lines, ..view })));
                }
            }
        }
    }

    /// Nothing is written to `group`, and its `live` file in `directory` is read: it is kept in few bytes until somebody reports of it again.
    pub(crate) fn rest(&self, readers_of: &[usize], group: &str, live: (&Arc<Path>, &SlimArc<FileEntry>)) {
        let mut clients = self.clients.lock();
        for client in readers_of {
            if let Some(kept) = clients.get_mut(*client).and_then(|files| files.get_mut(group)) {
                kept.rest(group, live);
            }
        }
    }

    /// A reload begins. What the one before left and nobody has read since is read no more.
    pub(crate) fn begin_leaving(&self) {
        self.left.lock().clear();
    }

    /// The reader of `group` ends, and another one comes with the next configuration, if that reads it.
    pub(crate) fn leave(&self, readers_of: &[usize], group: &ContainerPath) {
        let lines_read = self.remove(readers_of, group);
        let mut left = self.left.lock();
        let lines = left.entry(ContainerPath::clone(group)).or_default();
        *lines = lines_read.max(*lines);
    }

    /// The group is gone, and with it its series.
    pub(crate) fn forget(&self, readers_of: &[usize], group: &str) {
        self.left.lock().remove(group);
        self.remove(readers_of, group);
    }

    /// Returns the lines that were read.
    fn remove(&self, readers_of: &[usize], group: &str) -> u64 {
        let mut clients = self.clients.lock();
        let removed = readers_of.iter().filter_map(|client| clients.get_mut(*client)?.remove(group));
        removed.map(|view| view.lines()).max().unwrap_or_default()
    }

    /// What is read for one client.
    pub(crate) fn of(&self, client: usize) -> BTreeMap<ContainerPath, FileView> {
        let clients = self.clients.lock();
        let files = clients.get(client).into_iter().flatten();
        files.map(|(group, kept)| (ContainerPath::clone(group), kept.view(group))).collect()
    }

    /// Each group once: as far as it is read for the client that is furthest behind, with its lines as often as any client's reader has counted them.
    pub(crate) fn all(&self) -> Vec<(ContainerPath, FileView)> {
        let clients = self.clients.lock();
        let mut all: BTreeMap<&ContainerPath, FileView> = BTreeMap::new();
        for (group, kept) in clients.iter().flatten() {
            let view = kept.view(group);
            match all.entry(group) {
                Entry::Vacant(entry) => {
                    entry.insert(view);
                }
                Entry::Occupied(mut entry) => {
                    let known = entry.get_mut();
                    let lines = known.lines.max(view.lines);
                    if view.unread() > known.unread() {
                        *known = view;
                    }
                    known.lines = lines;
                }
            }
        }
        all.into_iter().map(|(group, view)| (group.clone(), view)).collect()
    }

    /// Appends Promtail's series of files.
    pub(crate) fn render(&self, out: &mut String) {
        let files = self.all();
        let is_by_path = files.len() <= MAX_PATH_SERIES;
        let label = |view: &FileView| if is_by_path { view.path.text() } else { view.namespace.clone() };
        let views: Vec<Shown<'_>> = files.iter().map(|(_, view)| Shown { view, size: view.size_now(), label: label(view) }).collect();
        let mut family = |name: &str, kind: &str, help: &str, value: fn(&Shown<'_>) -> u64| {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            let mut by_label: BTreeMap<&str, u64> = BTreeMap::new();
            for shown in &views {
                *by_label.entry(&shown.label).or_default() += value(shown);
            }
            let label_name = if is_by_path { "path" } else { "namespace" };
            by_label.into_iter().for_each(|(label, value)| sample(out, name, &[(label_name, label)], value));
        };
        family("promtail_read_lines_total", "counter", "Lines read", |shown| shown.view.lines);
        family("promtail_read_bytes_total", "gauge", "Bytes read", |shown| shown.view.read);
        family("promtail_file_bytes_total", "gauge", "Bytes of the file", |shown| shown.size);
        out.push_str("# HELP promtail_files_active_total Files being read\n# TYPE promtail_files_active_total gauge\n");
        sample(out, "promtail_files_active_total", &[], files.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::table::tests::file_entry;

    fn view(path: &str, read: u64) -> FileView {
        FileView {
            path: LivePath::Named(path.to_owned()),
            name: "0.log".to_owned(),
            namespace: "shop".to_owned(),
            read,
            size: 9,
            ..FileView::default()
        }
    }

    #[test]
    fn lines_add_up_and_series_vanish_with_the_group() {
        let board = FileBoard::default();
        board.report(&[0], &"c".into(), 2, view("/p/0.log", 4));
        board.report(&[0], &"c".into(), 3, view("/p/0.log", 9));
        let mut text = String::new();
        board.render(&mut text);
        for line in ["promtail_read_lines_total{path=\"/p/0.log\"} 5", "promtail_read_bytes_total{path=\"/p/0.log\"} 9"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        board.forget(&[0], "c");
        let mut text = String::new();
        board.render(&mut text);
        assert!(!text.contains("path="), "{text}");
    }

    #[test]
    fn a_group_at_rest_is_shown_as_before_and_counted_on() {
        let board = FileBoard::default();
        let group = ContainerPath::from("shop_web_uid/app");
        let path = LivePath::Instance(Path::new("/pods/shop_web_uid/app").into(), 3);
        let read = FileView { path, name: "3.log".to_owned(), device: 1, inode: 2, ..view("", 9) };
        let failing = FileView { last_error: Some("denied".to_owned()), ..read.clone() };
        let renamed = FileView { name: "3.log.20261121-090000".to_owned(), ..read.clone() };
        let directory = Path::new("/pods/shop_web_uid/app").into();
        let mut entry = file_entry(&group, 9);
        entry.instance.number = 3;
        let live = (&directory, &SlimArc::new(entry));
        for (view, rests) in [(read.clone(), true), (FileView { read: 8, ..read.clone() }, false), (failing, false), (renamed, false)] {
            board.report(&[0], &group, 2, view);
            let before = board.all();
            board.rest(&[0], &group, live);
            assert_eq!(matches!(board.clients.lock()[0][&group], Kept::Resting { .. }), rests, "{before:?}");
            assert_eq!((&board.all(), &board.of(0)[&group]), (&before, &before[0].1));
        }
        board.report(&[0], &group, 1, read);
        assert_eq!(board.all()[0].1.lines, 9);
        board.rest(&[0], &group, live);
        board.leave(&[0], &group);
        board.report(&[0], &group, 1, view("/p/0.log", 4));
        assert_eq!(board.all()[0].1.lines, 10);
    }

    #[test]
    fn lines_are_counted_on_by_the_reader_after_a_reload() {
        let board = FileBoard::default();
        let group = ContainerPath::from("c");
        board.report(&[0], &group, 5, view("/p/0.log", 4));
        board.report(&[1], &group, 3, view("/p/0.log", 4));
        board.leave(&[1], &group);
        board.leave(&[0], &group);
        assert!(board.all().is_empty(), "nobody reads it");
        board.report(&[0], &group, 2, view("/p/0.log", 9));
        assert_eq!(board.all()[0].1.lines, 7);
        board.forget(&[0], "c");
        board.report(&[0], &group, 1, view("/p/0.log", 9));
        assert_eq!(board.all()[0].1.lines, 1, "another file of that name");
    }

    #[test]
    fn what_a_new_configuration_does_not_read_is_forgotten_with_the_next() {
        let board = FileBoard::default();
        for reload in 0..10 {
            let group = ContainerPath::from(format!("only in configuration {reload}"));
            board.report(&[0], &group, 1, view("/p/0.log", 4));
            board.report(&[0], &"kept".into(), 1, view("/p/1.log", 4));
            board.begin_leaving();
            [group, "kept".into()].iter().for_each(|group| board.leave(&[0], group));
            assert_eq!(board.left.lock().len(), 2, "after reload {reload}");
        }
        board.report(&[0], &"kept".into(), 1, view("/p/1.log", 4));
        assert_eq!(board.all()[0].1.lines, 11, "what each configuration reads is counted on");
    }

    #[test]
    fn what_several_clients_read_is_one_series_of_the_slowest() {
        let board = FileBoard::default();
        board.report(&[1], &"c".into(), 1, view("/p/0.log", 2));
        board.report(&[0], &"c".into(), 5, view("/p/0.log", 9));
        let mut text = String::new();
        board.render(&mut text);
        for line in
            ["promtail_read_lines_total{path=\"/p/0.log\"} 5", "promtail_read_bytes_total{path=\"/p/0.log\"} 2", "files_active_total 1"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
        board.forget(&[1], "c");
        assert_eq!((board.all()[0].1.read, board.of(1).len()), (9, 0));
    }

    #[test]
    fn very_many_files_are_added_up_by_namespace() {
        let board = FileBoard::default();
        for number in 0..=MAX_PATH_SERIES {
            board.report(&[0], &number.to_string().into(), 1, view(&format!("/p/{number}/0.log"), 2));
        }
        let mut text = String::new();
        board.render(&mut text);
        assert!(text.contains("promtail_read_lines_total{namespace=\"shop\"} 2001\n") && !text.contains("path="), "{text}");
    }
}
