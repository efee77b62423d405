//! Structured metadata beyond the standard set, asked for by name. Values are constant in the life of a container instance.

use std::path::Path;

use super::InstanceQuestion;
use super::pods::PodFacts;
use crate::discover::paths::live_name;

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetadataField {
    /// As the pod's status names it.
    Image,
    /// `sha256:…`
    ImageDigest,
    NodeIp,
    PodIp,
    /// `Deployment`, `DaemonSet`, `StatefulSet`, …
    OwnerKind,
    OwnerName,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    Qos,
    /// Path of the live file.
    Filename,
}

impl MetadataField {
    pub(crate) const ALL: [Self; 8] =
        [Self::Image, Self::ImageDigest, Self::NodeIp, Self::PodIp, Self::OwnerKind, Self::OwnerName, Self::Qos, Self::Filename];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::ImageDigest => "image_digest",
            Self::NodeIp => "node_ip",
            Self::PodIp => "pod_ip",
            Self::OwnerKind => "owner_kind",
            Self::OwnerName => "owner_name",
            Self::Qos => "qos",
            Self::Filename => "filename",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Its value, if it is known.
    pub(super) fn value(self, question: InstanceQuestion<'_>, pods_dir: &Path, facts: Option<&PodFacts>) -> Option<String> {
        if self == Self::Filename {
            return Some(live_file(question, pods_dir));
        }
        let facts = facts?;
        let owner = facts.owner.as_ref();
        match self {
            Self::Image => facts.image.clone(),
            Self::ImageDigest => facts.image_digest.clone(),
            Self::NodeIp => facts.node_ip.clone(),
            Self::PodIp => facts.pod_ip.clone(),
            Self::OwnerKind => owner.map(|(kind, _)| kind.clone()),
            Self::OwnerName => owner.map(|(_, name)| name.clone()),
            Self::Qos => facts.qos.clone(),
            Self::Filename => None,
        }
        .filter(|value| !value.is_empty())
    }
}

/// Where the instance's live file is, rotated ones being named otherwise.
pub(super) fn live_file(question: InstanceQuestion<'_>, pods_dir: &Path) -> String {
    let InstanceQuestion { pod, container, number, .. } = question;
    let directory = format!("{}_{}_{}", pod.namespace, pod.pod, pod.uid);
    pods_dir.join(directory).join(container).join(live_name(number)).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::discover::paths::PodDirectory;

    #[test]
    fn fields_are_those_of_the_pod_and_absent_if_not_known() {
        let pod = PodDirectory::parse("shop_web-1_uid").unwrap();
        let question = InstanceQuestion { pod: &pod, container: "app", number: 3, waited: Duration::ZERO };
        let facts = PodFacts {
            owner: Some(("Deployment".to_owned(), "web".to_owned())),
            pod_ip: Some(String::new()),
            qos: Some("Burstable".to_owned()),
            ..PodFacts::default()
        };
        let value = |field: &str, facts| MetadataField::named(field).unwrap().value(question, Path::new("/var/log/pods"), facts);
        assert_eq!(value("filename", None).as_deref(), Some("/var/log/pods/shop_web-1_uid/app/3.log"));
        assert_eq!(value("owner_kind", Some(&facts)).as_deref(), Some("Deployment"));
        assert_eq!(value("qos", Some(&facts)).as_deref(), Some("Burstable"));
        for absent in ["image", "image_digest", "node_ip", "pod_ip"] {
            assert_eq!(value(absent, Some(&facts)), None, "{absent}");
            assert_eq!(value(absent, None), None, "{absent}");
        }
        assert_eq!(MetadataField::named("other"), None);
    }
}
