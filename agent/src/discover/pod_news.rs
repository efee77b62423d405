//! What the API tells of pods, as far as it helps to find files: the directory of a pod of which something is new is listed at once.
//!
//! Nothing is required of this. News are dropped while nobody listens or too many wait; watched directories and scans find the same files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use parking_lot::Mutex;

use super::watch::Change;

/// Where a scanner takes changes, and below which directory.
type Listener = (SyncSender<Change>, PathBuf);

/// From the watch of pods to the scanners, while they run.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodNews(Arc<Mutex<Vec<Listener>>>);

impl PodNews {
    /// From now on news of pods below `root` are sent to `changes`.
    pub(super) fn listen(&self, changes: SyncSender<Change>, root: PathBuf) {
        self.0.lock().push((changes, root));
    }

    /// Something is new about the pod; `uid` is what its directory is named after.
    pub(crate) fn tell(&self, namespace: &str, pod: &str, uid: &str) {
        self.0.lock().retain(|(changes, root)| {
            let path = root.join(format!("{namespace}_{pod}_{uid}"));
            // Before the kubelet makes it there is nothing to list.
            let is_told = if path.is_dir() { changes.try_send(Change { path, is_close: false }) } else { Ok(()) };
            // A scanner that has ended listens no more.
            !matches!(is_told, Err(TrySendError::Disconnected(_)))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn news_of_pods_with_a_directory_are_told_and_never_waited_for() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("shop_web-1_uid-1")).unwrap();
        let news = PodNews::default();
        news.tell("shop", "web-1", "uid-1");
        let (sender, changes) = sync_channel(1);
        news.listen(sender, root.path().to_owned());
        for uid in ["uid-2", "uid-1", "uid-1"] {
            news.tell("shop", "web-1", uid);
        }
        let told: Vec<_> = changes.try_iter().map(|change| change.path).collect();
        assert_eq!(told, [root.path().join("shop_web-1_uid-1")]);
        drop(changes);
        news.tell("shop", "web-1", "uid-1");
        assert!(news.0.lock().is_empty(), "nobody listens any more");
    }
}
