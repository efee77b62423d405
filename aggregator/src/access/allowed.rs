//! The allowed set as it travels in a signed header.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tailwater_engine::access::{AllowedNamespaces, AllowedPods, Grant, Incarnations};

/// See [`AllowedNamespaces`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedClaim {
    All,
    Only(BTreeMap<String, GrantClaim>),
}

/// See [`Grant`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantClaim {
    /// `None`: every namespace that ever had the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    present: Option<PresentClaim>,
    /// `None`: every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pods: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PresentClaim {
    uid: String,
    /// Nanoseconds since the epoch.
    created: i64,
}

impl From<&AllowedNamespaces> for AllowedClaim {
    fn from(allowed: &AllowedNamespaces) -> Self {
        match allowed {
            AllowedNamespaces::All => Self::All,
            AllowedNamespaces::Only(grants) => Self::Only(grants.iter().map(|(name, grant)| (name.clone(), grant.into())).collect()),
        }
    }
}

impl From<AllowedClaim> for AllowedNamespaces {
    fn from(claim: AllowedClaim) -> Self {
        match claim {
            AllowedClaim::All => Self::All,
            AllowedClaim::Only(grants) => Self::Only(grants.into_iter().map(|(name, grant)| (name, grant.into())).collect()),
        }
    }
}

impl From<&Grant> for GrantClaim {
    fn from(grant: &Grant) -> Self {
        let present = match &grant.incarnations {
            Incarnations::Every => None,
            Incarnations::Present { uid, created } => Some(PresentClaim { uid: uid.to_string(), created: *created }),
        };
        let pods = match &grant.pods {
            AllowedPods::Every => None,
            AllowedPods::Only(pods) => Some(pods.iter().cloned().collect()),
        };
        Self { present, pods }
    }
}

impl From<GrantClaim> for Grant {
    fn from(claim: GrantClaim) -> Self {
        let incarnations = match claim.present {
            None => Incarnations::Every,
            Some(PresentClaim { uid, created }) => Incarnations::Present { uid: uid.into(), created },
        };
        Self { incarnations, pods: claim.pods.map_or(AllowedPods::Every, |pods| AllowedPods::Only(pods.into_iter().collect())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_arrives() {
        let present = Incarnations::Present { uid: "u".into(), created: -5 };
        let one_pod = AllowedPods::Only(["p".to_owned()].into());
        let grants = [
            ("a", Grant::whole()),
            ("b", Grant { incarnations: present.clone(), pods: AllowedPods::Every }),
            ("c", Grant { incarnations: present, pods: one_pod }),
        ];
        let only = AllowedNamespaces::Only(grants.into_iter().map(|(name, grant)| (name.to_owned(), grant)).collect());
        for allowed in [AllowedNamespaces::All, AllowedNamespaces::Only(BTreeMap::new()), only] {
            let text = serde_json::to_string(&AllowedClaim::from(&allowed)).expect("JSON");
            let claim: AllowedClaim = serde_json::from_str(&text).expect("a claim");
            assert_eq!(AllowedNamespaces::from(claim), allowed);
        }
    }
}
