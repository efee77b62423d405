//! What a group of files tells of itself after a turn, for `/targets` and Promtail's series of files.

use std::sync::Arc;

use super::container::{ContainerTail, FinishedFile, Turn};
use crate::discover::listing::Source;
use crate::observe::files::{FileBoard, FileView, LivePath};

struct BeingRead {
    instance: u32,
    view: FileView,
}

impl ContainerTail {
    /// Puts on `board` what a turn for the clients of those numbers saw; one in which nothing happened has nothing to tell.
    pub(super) fn report(&mut self, (board, clients): (&FileBoard, &[usize]), lines: u64, turn: &std::io::Result<Turn>) {
        let last_error = turn.as_ref().err().map(ToString::to_string);
        let is_quiet = matches!(turn, Ok(Turn::Idle)) && lines == 0;
        if is_quiet && self.is_reported {
            return;
        }
        let Some(being_read) = self.being_read() else { return };
        self.is_reported = last_error.is_none();
        let (path, namespace) = match &self.source {
            Source::Container { pod, .. } => (LivePath::Instance(Arc::clone(&self.directory), being_read.instance), pod.namespace.clone()),
            Source::Target(target) => {
                let label = |name: &str| target.labels.get(name).cloned().unwrap_or_default();
                (LivePath::Named(label("filename")), label("namespace"))
            }
        };
        let waiting = self.files.iter().skip(1).map(|file| file.size.saturating_sub(file.offset)).sum();
        board.report(clients, &self.path, lines, FileView { path, namespace, waiting, last_error, ..being_read.view });
    }

    /// The file in front, or the last one if nothing is left to read.
    fn being_read(&self) -> Option<BeingRead> {
        let view =
            |name: &str, device, inode, read, size| FileView { name: name.to_owned(), device, inode, read, size, ..FileView::default() };
        if let Some(front) = self.files.front() {
            let view = view(&front.name, front.device, front.inode, front.offset, front.size);
            return Some(BeingRead { instance: front.parsed_name.instance, view });
        }
        let FinishedFile { entry, size, .. } = self.finished.last()?;
        let view = view(&entry.name, entry.device, entry.inode, entry.progress.offset, *size);
        Some(BeingRead { instance: entry.instance.number, view })
    }
}
