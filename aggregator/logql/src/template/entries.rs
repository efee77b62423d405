//! The entries of a map.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::value::Value;

/// Sorted by key, as Go prints and walks maps. As in Go, what is changed in one of its copies is changed in all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entries(Rc<RefCell<BTreeMap<Box<str>, Value<'static>>>>);

impl Entries {
    pub fn get(&self, key: &str) -> Option<Value<'static>> {
        self.0.borrow().get(key).cloned()
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.borrow().contains_key(key)
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Vec<(Box<str>, Value<'static>)> {
        self.0.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A map that holds itself is refused: nothing could print it.
    pub fn set(&self, key: &str, value: Value<'static>) -> Result<(), String> {
        if self.is_in(&value) {
            return Err("a map cannot hold itself".to_owned());
        }
        self.0.borrow_mut().insert(key.into(), value);
        Ok(())
    }

    pub fn remove(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }

    fn is_in(&self, value: &Value<'static>) -> bool {
        match value {
            Value::Map(other) => Rc::ptr_eq(&self.0, &other.0) || other.0.borrow().values().any(|value| self.is_in(value)),
            Value::List(items) => items.iter().any(|item| self.is_in(item)),
            _ => false,
        }
    }
}

impl FromIterator<(Box<str>, Value<'static>)> for Entries {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value<'static>)>>(entries: I) -> Self {
        entries.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl From<BTreeMap<Box<str>, Value<'static>>> for Entries {
    fn from(entries: BTreeMap<Box<str>, Value<'static>>) -> Self {
        Self(Rc::new(RefCell::new(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_changed_together_and_no_map_holds_itself() {
        let entries = Entries::default();
        let copy = entries.clone();
        copy.set("a", Value::int(1)).unwrap();
        assert_eq!((entries.get("a"), entries.len()), (Some(Value::int(1)), 1));
        let outer = Entries::from_iter([("inner".into(), Value::List([Value::Map(entries.clone())].into()))]);
        assert!(entries.set("self", Value::Map(copy.clone())).is_err());
        assert!(entries.set("outer", Value::Map(outer)).is_err());
        entries.remove("a");
        assert!(copy.is_empty() && !copy.has("a") && copy.all().is_empty());
    }
}
