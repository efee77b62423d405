//! The objects, each change with the next version, and the changes that watches can still be told.
//!
//! ```text
//! versions   1 … forgotten … newest
//!                   └─ history ─┘      a watch from before `forgotten` is told 410
//! ```
//! Invariants: a version belongs to one change; what is in `objects` is the outcome of all changes. Objects of a deleted namespace are deleted with it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::resource::{NAMESPACES, Resource};
use crate::status::Failure;

/// Changes that are kept; older ones are forgotten, as a server compacts its history.
const HISTORY: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group: &'static str,
    plural: &'static str,
    /// Empty for what has no namespace.
    namespace: String,
    name: String,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) before: Option<Arc<Value>>,
    /// `None`: deleted at this version.
    pub(crate) after: Option<Arc<Value>>,
}

#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    newest: u64,
    forgotten: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), history: VecDeque::new(), newest: 1, forgotten: 0 }
    }
}

impl Store {
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&key(resource, namespace, name))
    }

    /// Every object of a kind, of one namespace or of all.
    pub(crate) fn all(&self, resource: &'static Resource, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        let from = key(resource, namespace.unwrap_or_default(), "");
        self.objects
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.group == resource.group && key.plural == resource.plural && namespace.is_none_or(|namespace| key.namespace == namespace)
            })
            .map(|(_, object)| object)
    }

    /// Changes after a version; an error if some of them are forgotten.
    pub(crate) fn changes_after(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Failure> {
        if version < self.forgotten {
            return Err(Failure::expired(&version.to_string(), self.forgotten));
        }
        let from = self.history.partition_point(|change| change.version <= version);
        Ok(self.history.range(from..))
    }

    /// Forgets all changes until now.
    pub(crate) fn forget(&mut self) {
        // A version that nobody was told: also those who know the newest have to list again.
        self.newest += 1;
        self.forgotten = self.newest;
        self.history.clear();
    }

    pub(crate) fn create(&mut self, object: Value) -> Result<Arc<Value>, Failure> {
        let (resource, namespace, name) = identity(&object)?;
        if resource.is_namespaced && self.get(NAMESPACES, "", &namespace).is_none() {
            return Err(Failure::not_found(NAMESPACES, &namespace));
        }
        if self.get(resource, &namespace, &name).is_some() {
            return Err(Failure::already_exists(resource, &name));
        }
        Ok(self.put(resource, &namespace, &name, object))
    }

    /// Refused if the object names a version that is no longer its newest.
    pub(crate) fn update(&mut self, object: Value) -> Result<Arc<Value>, Failure> {
        let (resource, namespace, name) = identity(&object)?;
        let Some(present) = self.get(resource, &namespace, &name) else {
            return Err(Failure::not_found(resource, &name));
        };
        let relies_on = &object["metadata"]["resourceVersion"];
        if relies_on.as_str().is_some_and(|version| !version.is_empty()) && *relies_on != present["metadata"]["resourceVersion"] {
            return Err(Failure::conflict(resource, &name));
        }
        Ok(self.put(resource, &namespace, &name, object))
    }

    /// Creates or replaces, and makes the namespace if it is missing. For tests, not a request of the API.
    pub(crate) fn apply(&mut self, object: Value) -> Result<Arc<Value>, Failure> {
        let (resource, namespace, name) = identity(&object)?;
        if resource.is_namespaced && self.get(NAMESPACES, "", &namespace).is_none() {
            self.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
        }
        Ok(self.put(resource, &namespace, &name, object))
    }

    pub(crate) fn delete(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Value>, Failure> {
        let key = key(resource, namespace, name);
        let Some(before) = self.objects.remove(&key) else {
            return Err(Failure::not_found(resource, name));
        };
        if resource == NAMESPACES {
            self.delete_all_of(name);
        }
        self.changed(resource, namespace, Some(before.clone()), None);
        Ok(before)
    }

    fn delete_all_of(&mut self, namespace: &str) {
        let within: Vec<_> =
            self.objects.iter().filter(|(key, _)| key.namespace == namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in within {
            if let Some(resource) = Resource::of_object(&object) {
                self.objects.remove(&key);
                self.changed(resource, namespace, Some(object), None);
            }
        }
    }

    fn put(&mut self, resource: &'static Resource, namespace: &str, name: &str, mut object: Value) -> Arc<Value> {
        let before = self.get(resource, namespace, name).cloned();
        let version = self.newest + 1;
        let metadata = &mut object["metadata"];
        if resource.is_namespaced {
            metadata["namespace"] = json!(namespace);
        }
        for (field, value) in [("uid", json!(format!("00000000-0000-4000-8000-{version:012x}"))), ("creationTimestamp", json!(now()))] {
            let present = before.as_ref().map(|before| before["metadata"][field].clone());
            if metadata[field].is_null() {
                metadata[field] = present.unwrap_or(value);
            }
        }
        metadata["resourceVersion"] = json!(version.to_string());
        if resource == NAMESPACES && object["status"].is_null() {
            object["status"] = json!({"phase": "Active"});
        }
        let object = Arc::new(object);
        self.objects.insert(key(resource, namespace, name), object.clone());
        self.changed(resource, namespace, before, Some(object.clone()));
        object
    }

    fn changed(&mut self, resource: &'static Resource, namespace: &str, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.newest += 1;
        self.history.push_back(Change { version: self.newest, resource, namespace: namespace.to_owned(), before, after });
        while self.history.len() > HISTORY {
            self.forgotten = self.history.pop_front().map_or(self.newest, |change| change.version);
        }
    }
}

fn key(resource: &'static Resource, namespace: &str, name: &str) -> Key {
    Key { group: resource.group, plural: resource.plural, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Kind, namespace and name of an object. The namespace is `default` where none is given.
fn identity(object: &Value) -> Result<(&'static Resource, String, String), Failure> {
    let Some(resource) = Resource::of_object(object) else {
        let named = format!("{} {}", object["apiVersion"], object["kind"]);
        return Err(Failure::bad_request(format!("no kind {named} is served")));
    };
    let metadata = &object["metadata"];
    let Some(name) = metadata["name"].as_str().filter(|name| !name.is_empty()) else {
        return Err(Failure::invalid(format!("{} has no metadata.name", resource.kind)));
    };
    let namespace = metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    Ok((resource, if resource.is_namespaced { namespace.to_owned() } else { String::new() }, name.to_owned()))
}

/// The present second.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{CONFIG_MAPS, PODS};

    fn pod(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}})
    }

    #[test]
    fn a_write_that_relies_on_an_older_version_is_refused() {
        let mut store = Store::default();
        assert_eq!(store.create(pod("a")).map_err(|failure| failure.status.as_u16()).err(), Some(404), "no namespace");
        let first = store.apply(pod("a")).expect("applied");
        assert_eq!(store.create(pod("a")).map_err(|failure| failure.status.as_u16()).err(), Some(409));
        let mut newer = (*first).clone();
        newer["spec"] = json!({"nodeName": "b"});
        let second = store.update(newer.clone()).expect("updated");
        assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
        assert_eq!(store.update(newer.clone()).map_err(|failure| failure.status.as_u16()).err(), Some(409));
        newer["metadata"]["resourceVersion"] = Value::Null;
        assert!(store.update(newer).is_ok(), "relies on nothing");
    }

    #[test]
    fn a_namespace_takes_its_objects_with_it_and_comes_back_as_another() {
        let mut store = Store::default();
        store.apply(pod("a")).expect("applied");
        store.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})).expect("applied");
        let uid = store.get(NAMESPACES, "", "shop").expect("made")["metadata"]["uid"].clone();
        store.delete(NAMESPACES, "", "shop").expect("deleted");
        assert_eq!(store.all(PODS, None).count(), 0);
        assert_eq!(store.all(CONFIG_MAPS, None).count(), 1, "of another namespace");
        store.apply(pod("a")).expect("applied");
        assert_ne!(store.get(NAMESPACES, "", "shop").expect("made")["metadata"]["uid"], uid);
    }

    #[test]
    fn changes_are_told_until_they_are_forgotten() {
        let mut store = Store::default();
        store.apply(pod("a")).expect("applied");
        let seen = store.newest();
        store.apply(pod("b")).expect("applied");
        store.delete(PODS, "shop", "a").expect("deleted");
        let changes: Vec<_> =
            store.changes_after(seen).expect("known").map(|change| (change.before.is_some(), change.after.is_some())).collect();
        assert_eq!(changes, [(false, true), (true, false)]);
        store.forget();
        assert!(store.changes_after(seen).is_err());
        assert_eq!(store.changes_after(store.newest()).expect("known").count(), 0);
    }
}
