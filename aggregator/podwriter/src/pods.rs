//! Which containers write: names, styles and loudness, all from the seed.
//!
//! Volume per container is Zipf distributed, as in real clusters: few are loud, most are quiet.

use crate::content::Style;
use crate::content::pen::Pen;
use crate::random::Random;

/// Where a container writes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Stdout => Self::Stderr,
            Self::Stderr => Self::Stdout,
        }
    }

    /// 0 or 1, for arrays with a place for each.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

/// One container of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) namespace: &'static str,
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) name: &'static str,
    pub(crate) app: &'static str,
    pub(crate) style: Style,
    /// The stream that most of its lines go to.
    pub(crate) main_stream: Stream,
}

impl Container {
    /// `<namespace>_<pod>_<uid>/<container>`, below the tree's folder.
    pub(crate) fn folder(&self) -> String {
        format!("{}_{}_{}/{}", self.namespace, self.pod, self.uid, self.name)
    }
}

#[derive(Clone, Copy, Debug)]
struct Application {
    namespace: &'static str,
    app: &'static str,
    container: &'static str,
    style: Style,
    main_stream: Stream,
    /// Started by the kubelet itself: the UID is a hash of its configuration, the name ends in the node's.
    is_static: bool,
}

const fn application(namespace: &'static str, app: &'static str, container: &'static str, style: Style) -> Application {
    let main_stream = match style {
        Style::Logfmt | Style::Klog => Stream::Stderr,
        Style::JsonApplication | Style::Access | Style::Java => Stream::Stdout,
    };
    Application { namespace, app, container, style, main_stream, is_static: matches!(style, Style::Klog) }
}

const APPLICATIONS: &[Application] = &[
    application("shop", "checkout", "checkout", Style::JsonApplication),
    application("shop", "storefront", "nginx", Style::Access),
    application("payments", "ledger", "ledger", Style::Java),
    application("monitoring", "metrics-store", "metrics-store", Style::Logfmt),
    application("kube-system", "kube-scheduler", "kube-scheduler", Style::Klog),
    application("shop", "basket", "basket", Style::JsonApplication),
    application("ingress", "edge", "controller", Style::Access),
    application("identity", "login", "login", Style::JsonApplication),
    application("payments", "invoices", "invoices", Style::Java),
    application("batch", "stock-import", "import", Style::Logfmt),
];
const SIDECAR: &str = "mesh-proxy";
/// Letters Kubernetes makes random names of.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The containers of `pods` pods; every fourth pod has a second one.
pub(crate) fn containers(pods: usize, seed: u64) -> Vec<Container> {
    let mut random = Random::new(seed ^ 0x0070_6f64);
    let mut containers = Vec::new();
    for index in 0..pods {
        let application = APPLICATIONS[index % APPLICATIONS.len()];
        let mut uid = Vec::new();
        Pen(&mut uid).uuid(&mut random);
        if application.is_static {
            uid.clear();
            Pen(&mut uid).hex(random.next(), 16).hex(random.next(), 16);
        }
        let suffix = if application.is_static { format!("node-{}", index / APPLICATIONS.len()) } else { replica_name(&mut random) };
        let main = Container {
            namespace: application.namespace,
            pod: format!("{}-{suffix}", application.app),
            uid: String::from_utf8(uid).expect("hex digits and dashes are text"),
            name: application.container,
            app: application.app,
            style: application.style,
            main_stream: application.main_stream,
        };
        if index % 4 == 1 {
            let sidecar = Container { name: SIDECAR, app: SIDECAR, style: Style::Logfmt, main_stream: Stream::Stderr, ..main.clone() };
            containers.push(sidecar);
        }
        containers.push(main);
    }
    containers
}

/// `7d9f8b6c5d-x2x7k`: template hash and random part of a ReplicaSet's pod.
fn replica_name(random: &mut Random) -> String {
    let mut letters = |count: usize| (0..count).map(|_| char::from(random.pick(NAME_LETTERS))).collect::<String>();
    format!("{}-{}", letters(10), letters(5))
}

/// Draws containers by their loudness.
#[derive(Clone, Debug)]
pub(crate) struct Loudness {
    /// Running sums of the weights.
    sums: Vec<u64>,
}

impl Loudness {
    pub(crate) fn new(count: usize, random: &mut Random) -> Self {
        let mut weights: Vec<u64> = (1..=count as u64).map(|rank| 1_000_000 / rank).collect();
        // Shuffled, so that no style is always the loudest.
        for index in (1..weights.len()).rev() {
            weights.swap(index, random.index(index + 1));
        }
        let mut sum = 0;
        let sums = weights.iter().map(|weight| {
            sum += (*weight).max(1);
            sum
        });
        Self { sums: sums.collect() }
    }

    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let at = random.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|sum| *sum <= at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pods_follow_from_the_seed_and_have_folders_of_their_own() {
        assert_eq!(containers(30, 1), containers(30, 1));
        assert_ne!(containers(30, 1), containers(30, 2));
        let all = containers(30, 1);
        let folders: BTreeSet<_> = all.iter().map(Container::folder).collect();
        assert_eq!(folders.len(), all.len());
        assert!(all.len() > 30, "some pods have two containers");
        for container in &all {
            assert_eq!(container.folder().matches('_').count(), 2, "names hold no underscore");
        }
    }

    #[test]
    fn several_namespaces_take_part() {
        let namespaces: BTreeSet<_> = containers(12, 9).iter().map(|container| container.namespace).collect();
        assert!(namespaces.len() >= 5, "{namespaces:?}");
    }

    #[test]
    fn every_container_is_drawn_and_some_far_more_often() {
        let mut random = Random::new(4);
        let loudness = Loudness::new(15, &mut random);
        let mut counts = [0; 15];
        for _ in 0..30_000 {
            counts[loudness.draw(&mut random)] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 0 && most > &(least * 5), "{counts:?}");
    }
}
