//! Answers of TokenReview, SubjectAccessReview and SelfSubjectAccessReview.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::identity::{User, Users};
use crate::rbac;
use crate::request::Attributes;
use crate::status::Failure;
use crate::store::Store;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AccessSpec {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<PathAttributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PathAttributes {
    path: String,
    verb: String,
}

/// The review with its status. `asker` is who asks: the subject of a review of oneself.
pub(crate) fn answer(kind: &str, store: &Store, users: &Users, asker: &User, mut review: Value) -> Result<Value, Failure> {
    let status = match kind {
        "TokenReview" => token_status(users, &review["spec"]),
        _ => {
            let spec: AccessSpec =
                serde_json::from_value(review["spec"].clone()).map_err(|error| Failure::bad_request(error.to_string()))?;
            let (subject, asked) = subject_and_question(spec)?;
            let subject = if kind == "SelfSubjectAccessReview" { asker } else { &subject };
            if subject.name.is_empty() && subject.groups.is_empty() {
                return Err(Failure::invalid("spec.user: Invalid value: \"\": at least one of user or group must be specified"));
            }
            match rbac::allows(store, subject, &asked) {
                Some(reason) => json!({"allowed": true, "reason": reason}),
                None => json!({"allowed": false}),
            }
        }
    };
    review["status"] = status;
    Ok(review)
}

fn token_status(users: &Users, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    let Some(user) = users.by_token(token) else {
        return json!({"user": {}, "error": "[invalid bearer token]"});
    };
    // Tokens here are for every audience.
    let mut status =
        json!({"authenticated": true, "user": {"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra}});
    if spec["audiences"].is_array() {
        status["audiences"] = spec["audiences"].clone();
    }
    status
}

fn subject_and_question(spec: AccessSpec) -> Result<(User, Attributes), Failure> {
    let user = User { name: spec.user, uid: spec.uid, groups: spec.groups, extra: spec.extra };
    let asked = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(asked), None) => Attributes {
            verb: asked.verb,
            is_resource: true,
            group: asked.group,
            version: asked.version,
            resource: asked.resource,
            subresource: asked.subresource,
            namespace: asked.namespace,
            name: asked.name,
            ..Attributes::default()
        },
        (None, Some(asked)) => Attributes { verb: asked.verb, path: asked.path, ..Attributes::default() },
        _ => return Err(Failure::invalid("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified")),
    };
    Ok((user, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kind: &str, spec: Value) -> Result<Value, Failure> {
        let mut store = Store::default();
        for object in crate::objects::documents(crate::BOOTSTRAP).expect("objects") {
            store.apply(object).expect("applied");
        }
        let users = Users::new(serde_yaml_ng::from_str("[{token: t, user: ann, uid: u, groups: [g], extra: {k: [v]}}]").expect("users"));
        let asker = User { name: "root".to_owned(), groups: vec!["system:masters".to_owned()], ..User::default() };
        answer(kind, &store, &users, &asker, json!({"spec": spec})).map(|mut review| review["status"].take())
    }

    #[test]
    fn tokens_are_reviewed() {
        let known = ask("TokenReview", json!({"token": "t", "audiences": ["a"]})).expect("a status");
        assert_eq!(known["user"], json!({"username": "ann", "uid": "u", "groups": ["g", "system:authenticated"], "extra": {"k": ["v"]}}));
        assert_eq!(known["audiences"], json!(["a"]));
        let unknown = ask("TokenReview", json!({"token": "x"})).expect("a status");
        assert!(unknown["authenticated"].is_null());
    }

    #[test]
    fn access_is_reviewed_for_the_subject_or_for_oneself() {
        let logs = json!({"verb": "get", "resource": "pods", "subresource": "log", "namespace": "n"});
        let allowed = |kind: &str, spec: Value| ask(kind, spec).map(|status| status["allowed"] == true).ok();
        assert_eq!(allowed("SubjectAccessReview", json!({"user": "ann", "resourceAttributes": logs})), Some(false));
        assert_eq!(allowed("SubjectAccessReview", json!({"groups": ["system:masters"], "resourceAttributes": logs})), Some(true));
        assert_eq!(allowed("SelfSubjectAccessReview", json!({"resourceAttributes": logs})), Some(true));
        let path = json!({"path": "/version", "verb": "get"});
        assert_eq!(
            allowed("SubjectAccessReview", json!({"user": "a", "groups": ["system:authenticated"], "nonResourceAttributes": path})),
            Some(true)
        );
        assert_eq!(allowed("SubjectAccessReview", json!({"resourceAttributes": logs})), None, "nobody");
        assert_eq!(allowed("SubjectAccessReview", json!({"user": "ann"})), None, "nothing");
    }
}
