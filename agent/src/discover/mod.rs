//! What exists below the root: scans of the tree, and watches of its directories that say where to look sooner.
//!
//! Either alone is enough in the end. [`listing`] reads directories, [`paths`] their names, [`watch`] wraps inotify; [`scanner`] is the thread
//! that runs both and tells the workers. [`told`] keeps scans from waking readers for nothing, and
//! [`pod_news`] brings what the API tells of pods. Files are never opened here, symlinks never followed below the root.

mod clock_jumps;
pub(crate) mod docker;
pub(crate) mod listing;
pub(crate) mod paths;
mod pod_labels;
pub(crate) mod pod_news;
pub(crate) mod scanner;
pub(crate) mod scanning;
pub(crate) mod selection;
pub(crate) mod target;
pub(crate) mod target_scanner;
mod told;
pub(crate) mod watch;
