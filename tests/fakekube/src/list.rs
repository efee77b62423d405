//! Lists, whole or page by page. All pages of a list are of the moment of its first one; a list whose moment is forgotten ends with 410.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::representation::Representation;
use crate::request::{Attributes, Parameters};
use crate::resource::Resource;
use crate::selector::Selector;
use crate::status::Failure;
use crate::store::Store;

/// Lists that are under way; the oldest give way.
const UNDER_WAY: usize = 100;

#[derive(Debug)]
struct Rest {
    version: u64,
    items: Vec<Arc<Value>>,
}

/// What is left of lists that were asked for page by page.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    next: u64,
    rests: BTreeMap<u64, Rest>,
}

impl Pages {
    pub(crate) fn forget(&mut self) {
        self.rests.clear();
    }

    /// The whole list, or its next page.
    pub(crate) fn list(
        &mut self,
        store: &Store,
        resource: &'static Resource,
        asked: &Attributes,
        parameters: &Parameters,
        shown: Representation,
    ) -> Result<Value, Failure> {
        let selector = Selector::parse(resource, parameters.get("labelSelector"), parameters.get("fieldSelector"))?;
        let rest = match parameters.get("continue") {
            Some(token) => self.taken_up(store, token)?,
            None => {
                check_version(store, parameters)?;
                let namespace = Some(asked.namespace.as_str()).filter(|namespace| !namespace.is_empty() && resource.is_namespaced);
                let items = store.all(resource, namespace).filter(|object| selector.matches(object)).cloned().collect();
                Rest { version: store.newest(), items }
            }
        };
        let limit = match parameters.get("limit").unwrap_or("0").parse::<usize>() {
            Ok(0) => usize::MAX,
            Ok(limit) => limit,
            Err(_) => return Err(Failure::bad_request("limit is no number")),
        };
        let mut metadata = json!({"resourceVersion": rest.version.to_string()});
        let after = rest.items.get(limit..).unwrap_or_default();
        if !after.is_empty() {
            metadata["continue"] = json!(self.put_aside(Rest { version: rest.version, items: after.to_vec() }));
            if selector.is_everything() {
                metadata["remainingItemCount"] = json!(after.len());
            }
        }
        let items = rest.items.iter().take(limit).map(|object| shown.object(resource, object)).collect();
        Ok(shown.list(resource, metadata, items))
    }

    fn put_aside(&mut self, rest: Rest) -> String {
        self.next += 1;
        self.rests.insert(self.next, rest);
        while self.rests.len() > UNDER_WAY {
            self.rests.pop_first();
        }
        format!("page-{}", self.next)
    }

    fn taken_up(&self, store: &Store, token: &str) -> Result<Rest, Failure> {
        let number = token.strip_prefix("page-").and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| Failure::bad_request(format!("continue key is not valid: {token}")))?;
        // A page may be asked for again, so it stays.
        let rest = self.rests.get(&number).ok_or_else(|| Failure::expired(token, store.forgotten()))?;
        Ok(Rest { version: rest.version, items: rest.items.clone() })
    }
}

/// What is served is always the newest: an exact older version is gone, a newer one is not there yet.
fn check_version(store: &Store, parameters: &Parameters) -> Result<(), Failure> {
    let Some(text) = parameters.get("resourceVersion") else { return Ok(()) };
    let asked: u64 = text.parse().map_err(|_| Failure::bad_request(format!("invalid resource version: {text}")))?;
    if asked > store.newest() {
        return Err(Failure::too_large_version(asked, store.newest()));
    }
    if parameters.get("resourceVersionMatch") == Some("Exact") && asked != store.newest() {
        return Err(Failure::expired(text, store.newest()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::PODS;

    fn store() -> Store {
        let mut store = Store::default();
        for number in 0..5 {
            let metadata = json!({"name": format!("p{number}"), "namespace": if number < 4 { "a" } else { "b" }});
            store.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})).expect("applied");
        }
        store
    }

    fn ask(pages: &mut Pages, store: &Store, namespace: &str, query: &str) -> Result<Value, Failure> {
        let asked = Attributes { namespace: namespace.to_owned(), ..Attributes::default() };
        pages.list(store, PODS, &asked, &Parameters::parse(query), Representation::Whole)
    }

    fn names(list: &Value) -> Vec<&str> {
        list["items"].as_array().expect("items").iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
    }

    #[test]
    fn pages_are_of_one_moment() {
        let (mut pages, mut store) = (Pages::default(), store());
        let first = ask(&mut pages, &store, "", "limit=2").expect("a page");
        assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["p0", "p1"], &json!(3)));
        store.delete(PODS, "a", "p3").expect("deleted");
        let second = ask(&mut pages, &store, "", &format!("limit=2&continue={}", first["metadata"]["continue"].as_str().expect("more")))
            .expect("a page");
        assert_eq!(names(&second), ["p2", "p3"]);
        assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        let last = ask(&mut pages, &store, "", &format!("limit=2&continue={}", second["metadata"]["continue"].as_str().expect("more")))
            .expect("a page");
        assert_eq!((names(&last), last["metadata"]["continue"].is_null()), (vec!["p4"], true));
        assert_eq!(names(&ask(&mut pages, &store, "a", "").expect("a list")), ["p0", "p1", "p2"]);
        pages.forget();
        let failed = ask(&mut pages, &store, "", "continue=page-1").expect_err("forgotten");
        assert_eq!(failed.status.as_u16(), 410);
    }

    #[test]
    fn versions_that_cannot_be_had_are_refused() {
        let (mut pages, store) = (Pages::default(), store());
        let mut status = |query: &str| ask(&mut pages, &store, "", query).map_or_else(|failure| failure.status.as_u16(), |_| 200);
        assert_eq!(status("resourceVersion=0"), 200);
        assert_eq!(status("resourceVersion=2&resourceVersionMatch=NotOlderThan"), 200);
        assert_eq!(status("resourceVersion=2&resourceVersionMatch=Exact"), 410);
        assert_eq!(status("resourceVersion=9999"), 504);
        assert_eq!(status("resourceVersion=x"), 400);
    }
}
