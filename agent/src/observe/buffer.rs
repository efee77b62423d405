//! How long the node's files would hold what containers write, if nobody took it: the warning that comes before lines are lost.
//!
//! The kubelet keeps so many files of so many bytes for each container and deletes the oldest with every rotation. What its settings are, it shows by what it
//! does ([`super::kubelet_keeps`]); a container that writes faster than the kubelet looks has larger files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::observe::files::FileView;
use crate::observe::kubelet_keeps::KubeletKeeps;
use crate::positions::table::ContainerPath;

/// Below it the log says which container it is.
const WARN_BELOW: f64 = 600.0;
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Share of a new rate in the average.
const WEIGHT: f64 = 0.3;

#[derive(Debug, Default)]
struct Container {
    inode: u64,
    size: u64,
    largest: u64,
    /// Bytes a second.
    rate: f64,
    is_warned: bool,
}

/// Rates of all containers.
#[derive(Debug, Default)]
struct Rates {
    containers: HashMap<ContainerPath, Container>,
    last_look: Option<Instant>,
}

impl Rates {
    /// Takes over what is seen now. Returns the container whose files hold least, in seconds.
    fn look(&mut self, views: Vec<(ContainerPath, FileView)>, keeps: &KubeletKeeps, now: Instant) -> Option<(ContainerPath, f64)> {
        let since = self.last_look.replace(now).map(|last| now.saturating_duration_since(last).as_secs_f64()).filter(|since| *since > 0.0);
        let mut least: Option<(ContainerPath, f64)> = None;
        let mut containers = HashMap::with_capacity(views.len());
        for (path, view) in views {
            let (inode, size) = (view.inode, view.size_now() + view.waiting);
            let mut container = self.containers.remove(&path).unwrap_or(Container { inode, size, ..Container::default() });
            let written = if container.inode == inode { size.saturating_sub(container.size) } else { size };
            if let Some(since) = since {
                container.rate += WEIGHT * (written as f64 / since - container.rate);
            }
            container.largest = container.largest.max(view.size);
            (container.inode, container.size) = (inode, size);
            let held = container.largest.max(keeps.rotated_at()) * keeps.rotated_files();
            let seconds = if container.rate < 1.0 { f64::INFINITY } else { held as f64 / container.rate };
            if least.as_ref().is_none_or(|(_, other)| seconds < *other) {
                least = Some((path.clone(), seconds));
            }
            containers.insert(path, container);
        }
        self.containers = containers;
        least
    }

    /// Whether the log should say so: once each time it falls below the bound.
    fn warns(&mut self, path: &str, seconds: f64) -> bool {
        let Some(container) = self.containers.get_mut(path) else { return false };
        let was_warned = std::mem::replace(&mut container.is_warned, seconds < WARN_BELOW);
        !was_warned && container.is_warned
    }
}

/// Measures until `stop`.
pub(crate) async fn watch(metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut rates = Rates::default();
    loop {
        let least = rates.look(metrics.files.all(), &metrics.kubelet_keeps, Instant::now());
        let (path, seconds) = least.unwrap_or_else(|| (ContainerPath::default(), f64::INFINITY));
        metrics.buffer_seconds_min.set(seconds);
        if rates.warns(&path, seconds) {
            tracing::warn!(
                container = &*path,
                seconds = seconds.round(),
                "the node keeps what this container writes for less than ten minutes; an outage of the receiver that lasts longer loses lines"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::files::LivePath;

    fn view(inode: u64, size: u64) -> FileView {
        FileView { path: LivePath::Named("/nowhere/0.log".to_owned()), name: "0.log".to_owned(), inode, size, ..FileView::default() }
    }

    #[test]
    fn the_container_that_writes_most_holds_least_and_is_named_once() {
        let start = Instant::now();
        let (mut rates, keeps) = (Rates::default(), KubeletKeeps::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let views = |slow: u64, inode: u64, fast: u64| vec![("slow".into(), view(1, slow)), ("fast".into(), view(inode, fast))];
        assert_eq!(rates.look(views(0, 2, 0), &keeps, at(0)).unwrap().1, f64::INFINITY);
        let mut least = (ContainerPath::default(), 0.0);
        for step in 1..40 {
            // 100 kB/s; every tenth look the file was rotated.
            let (inode, size) = (2 + step / 10, step % 10 * 1_000_000);
            least = rates.look(views(step * 10, inode, size), &keeps, at(step * 10)).unwrap();
        }
        assert_eq!(&*least.0, "fast");
        let expected = f64::from(4 * (10 << 20)) / 100_000.0;
        assert!((expected * 0.5..expected * 2.0).contains(&least.1), "{least:?}, expected about {expected}");
        assert!(rates.warns("fast", least.1) && !rates.warns("fast", least.1));
        assert!(!rates.warns("fast", 10_000.0) && rates.warns("fast", 1.0));
    }
}
