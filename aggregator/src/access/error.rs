//! Why somebody may not read. The texts tell what is missing, never whether there is anything to be read.

use crate::access::policy::PolicyError;
use crate::access::signature::SignatureError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefused {
    /// 401.
    #[error("who asks is not known, send a token that the cluster knows as `Authorization: Bearer …`")]
    Unauthenticated,
    /// 401.
    #[error("it cannot be found out who asks, the Kubernetes API does not answer; try again")]
    Unknown,
    /// 401.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// 403.
    #[error("user \"{user}\" cannot get resource \"pods/log\" in API group \"\" {}", place(namespace.as_deref(), pod.as_deref()))]
    Forbidden { user: String, namespace: Option<String>, pod: Option<String> },
    /// 403.
    #[error("user \"{user}\" cannot get resource \"pods/log\" in API group \"\" at the cluster scope, which this needs")]
    NotClusterWide { user: String },
    /// 400.
    #[error("the query can touch more than {limit} namespaces, name some of them by the label `namespace`")]
    TooManyNamespaces { limit: usize },
    /// 400.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

fn place(namespace: Option<&str>, pod: Option<&str>) -> String {
    let namespace = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "in any namespace that the query can touch".to_owned(),
    };
    match pod {
        Some(pod) => format!("of the pod \"{pod}\" {namespace}"),
        None => namespace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_verb_resource_and_namespace() {
        let refusal = |namespace: Option<&str>, pod: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            AccessRefused::Forbidden { user: "ann".to_owned(), namespace: owned(namespace), pod: owned(pod) }.to_string()
        };
        let start = r#"user "ann" cannot get resource "pods/log" in API group "" "#;
        assert_eq!(refusal(Some("a"), None), format!(r#"{start}in the namespace "a""#));
        assert_eq!(refusal(Some("a"), Some("p")), format!(r#"{start}of the pod "p" in the namespace "a""#));
        assert_eq!(refusal(None, None), format!("{start}in any namespace that the query can touch"));
    }
}
