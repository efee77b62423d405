//! Whether a user may do something: Roles and ClusterRoles by their bindings. Aggregated ClusterRoles are not computed.

use serde_json::Value;

use crate::identity::{MASTERS, User};
use crate::request::Attributes;
use crate::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use crate::store::Store;

/// Why it is allowed, in the words of the API server; `None`: it is not.
pub(crate) fn allows(store: &Store, user: &User, asked: &Attributes) -> Option<String> {
    if user.groups.iter().any(|group| group == MASTERS) {
        return Some(String::new());
    }
    for binding in store.all(CLUSTER_ROLE_BINDINGS, None) {
        if let Some(subject) = subject_of(binding, user, "")
            && rules_of(store, binding, "").iter().any(|rule| rule_allows(rule, asked))
        {
            return Some(told("ClusterRoleBinding", name_of(binding), binding, &subject));
        }
    }
    if asked.namespace.is_empty() {
        return None;
    }
    for binding in store.all(ROLE_BINDINGS, Some(&asked.namespace)) {
        if let Some(subject) = subject_of(binding, user, &asked.namespace)
            && rules_of(store, binding, &asked.namespace).iter().any(|rule| asked.is_resource && rule_allows(rule, asked))
        {
            let name = format!("{}/{}", name_of(binding), asked.namespace);
            return Some(told("RoleBinding", &name, binding, &subject));
        }
    }
    None
}

/// What a refused request is told.
pub(crate) fn refusal(user: &User, asked: &Attributes) -> String {
    if !asked.is_resource {
        return format!("forbidden: User \"{}\" cannot {} path \"{}\"", user.name, asked.verb, asked.path);
    }
    let qualified = if asked.group.is_empty() { asked.resource.clone() } else { format!("{}.{}", asked.resource, asked.group) };
    let subject = if asked.name.is_empty() { qualified } else { format!("{qualified} \"{}\"", asked.name) };
    let place =
        if asked.namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace \"{}\"", asked.namespace) };
    let resource = asked.combined_resource();
    format!(
        "{subject} is forbidden: User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        user.name, asked.verb, asked.group
    )
}

fn told(kind: &str, name: &str, binding: &Value, subject: &str) -> String {
    let role = &binding["roleRef"];
    let (role_kind, role) = (role["kind"].as_str().unwrap_or_default(), role["name"].as_str().unwrap_or_default());
    format!("RBAC: allowed by {kind} \"{name}\" of {role_kind} \"{role}\" to {subject}")
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The subject of a binding that the user is. `namespace` is the binding's: a service account's where it names none.
fn subject_of(binding: &Value, user: &User, namespace: &str) -> Option<String> {
    list(&binding["subjects"]).iter().find_map(|subject| {
        let name = subject["name"].as_str()?;
        let is_user = match subject["kind"].as_str()? {
            "User" => user.name == name,
            "Group" => user.groups.iter().any(|group| group == name),
            "ServiceAccount" => {
                let namespace = subject["namespace"].as_str().unwrap_or(namespace);
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        };
        is_user.then(|| format!("{} \"{name}\"", subject["kind"].as_str().unwrap_or_default()))
    })
}

fn rules_of<'s>(store: &'s Store, binding: &Value, namespace: &str) -> &'s [Value] {
    let role = &binding["roleRef"];
    let name = role["name"].as_str().unwrap_or_default();
    let found = match role["kind"].as_str() {
        Some("ClusterRole") => store.get(CLUSTER_ROLES, "", name),
        Some("Role") if !namespace.is_empty() => store.get(ROLES, namespace, name),
        _ => None,
    };
    found.map_or(&[], |role| list(&role["rules"]))
}

fn rule_allows(rule: &Value, asked: &Attributes) -> bool {
    if !has(&rule["verbs"], &[&asked.verb, "*"]) {
        return false;
    }
    if !asked.is_resource {
        return texts(&rule["nonResourceURLs"])
            .any(|url| url == asked.path || url.strip_suffix('*').is_some_and(|prefix| asked.path.starts_with(prefix)));
    }
    let any_of_subresource = format!("*/{}", asked.subresource);
    let combined = asked.combined_resource();
    let mut resources = vec!["*", combined.as_str()];
    if !asked.subresource.is_empty() {
        resources.push(&any_of_subresource);
    }
    let names = list(&rule["resourceNames"]);
    has(&rule["apiGroups"], &[&asked.group, "*"])
        && has(&rule["resources"], &resources)
        && (names.is_empty() || has(&rule["resourceNames"], &[&asked.name]))
}

fn has(values: &Value, wanted: &[&str]) -> bool {
    texts(values).any(|value| wanted.contains(&value))
}

fn texts(values: &Value) -> impl Iterator<Item = &str> {
    list(values).iter().filter_map(Value::as_str)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = r#"
kind: ClusterRole
metadata: {name: logs}
rules: [{apiGroups: [""], resources: [pods/log], verbs: [get]}]
---
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {kind: ClusterRole, name: logs}
subjects: [{kind: Group, name: sre}]
---
kind: RoleBinding
metadata: {name: ann-reads, namespace: shop}
roleRef: {kind: ClusterRole, name: logs}
subjects: [{kind: User, name: ann}, {kind: ServiceAccount, name: bot}]
---
kind: Role
metadata: {name: one-pod, namespace: bank}
rules:
  - {apiGroups: [""], resources: ["*/log"], resourceNames: [vault], verbs: ["*"]}
  - {apiGroups: ["*"], resources: [configmaps], verbs: [list]}
---
kind: RoleBinding
metadata: {name: ann-one-pod, namespace: bank}
roleRef: {kind: Role, name: one-pod}
subjects: [{kind: User, name: ann}, {kind: ServiceAccount, name: bot, namespace: shop}]
---
kind: ClusterRole
metadata: {name: paths}
rules: [{nonResourceURLs: [/version, /apis/*], verbs: [get]}]
---
kind: ClusterRoleBinding
metadata: {name: paths}
roleRef: {kind: ClusterRole, name: paths}
subjects: [{kind: User, name: ann}]
---
kind: RoleBinding
metadata: {name: dangling, namespace: shop}
roleRef: {kind: Role, name: gone}
subjects: [{kind: User, name: eve}]
"#;

    fn store() -> Store {
        let mut store = Store::default();
        for mut object in crate::objects::documents(OBJECTS).expect("objects") {
            object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
            store.apply(object).expect("applied");
        }
        store
    }

    fn may(user: &str, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = Attributes {
            verb: verb.to_owned(),
            is_resource: true,
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        let groups = if user == "sam" { vec!["sre".to_owned()] } else { Vec::new() };
        let user = User { name: user.to_owned(), groups, ..User::default() };
        allows(&store(), &user.authenticated(), &asked).is_some()
    }

    #[test]
    fn bindings_allow_what_their_roles_say_where_they_are() {
        let bot = "system:serviceaccount:shop:bot";
        for (user, verb, resource, namespace, name, expected) in [
            ("sam", "get", "pods/log", "", "", true),
            ("sam", "get", "pods/log", "shop", "p", true),
            ("sam", "get", "pods", "shop", "p", false),
            ("sam", "list", "pods/log", "shop", "", false),
            ("ann", "get", "pods/log", "shop", "p", true),
            ("ann", "get", "pods/log", "", "", false),
            ("ann", "get", "pods/log", "bank", "", false),
            ("ann", "get", "pods/log", "bank", "vault", true),
            ("ann", "get", "pods/log", "bank", "till", false),
            ("ann", "list", "configmaps", "bank", "", true),
            (bot, "get", "pods/log", "shop", "p", true),
            (bot, "get", "pods/log", "bank", "vault", true),
            ("eve", "get", "pods/log", "shop", "p", false),
        ] {
            assert_eq!(may(user, verb, resource, namespace, name), expected, "{user} {verb} {resource} {namespace} {name}");
        }
    }

    #[test]
    fn paths_are_allowed_whole_or_by_their_beginning() {
        let store = store();
        let may = |user: &str, path: &str| {
            let asked = Attributes { verb: "get".to_owned(), path: path.to_owned(), ..Attributes::default() };
            allows(&store, &User { name: user.to_owned(), ..User::default() }, &asked).is_some()
        };
        assert!(may("ann", "/version") && may("ann", "/apis/x"));
        assert!(!may("ann", "/version/x") && !may("ann", "/metrics") && !may("eve", "/version"));
    }

    #[test]
    fn a_refusal_names_who_what_and_where() {
        let user = User { name: "ann".to_owned(), ..User::default() };
        let path = "/apis/logs.tailwater.io/v1/namespaces/a/loki/api/v1/labels";
        let asked = Attributes::parse(&axum::http::Method::GET, path, &crate::request::Parameters::default());
        let told = refusal(&user, &asked);
        assert!(
            told.ends_with(r#"User "ann" cannot get resource "loki/v1" in API group "logs.tailwater.io" in the namespace "a""#),
            "{told}"
        );
    }
}
