//! What was asked of this server, for tests that compare it with what may be asked.

use std::collections::VecDeque;

use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use crate::request::Attributes;

/// Requests that are remembered; older ones give way.
const REMEMBERED: usize = 100_000;

/// One request. `status` is missing until it is answered.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    pub user: String,
    pub verb: String,
    pub path: String,
    pub query: String,
    pub group: String,
    /// With its subresource; empty for a path that is no resource.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub accept: String,
    pub status: Option<u16>,
}

impl Record {
    pub(crate) fn new(user: &str, asked: &Attributes, query: &str, headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        Self {
            user: user.to_owned(),
            verb: asked.verb.clone(),
            path: asked.path.clone(),
            query: query.to_owned(),
            group: asked.group.clone(),
            resource: if asked.is_resource { asked.combined_resource() } else { String::new() },
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            accept: accept.to_owned(),
            status: None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Records {
    records: VecDeque<Record>,
    /// Number of the first that is remembered.
    first: u64,
}

impl Records {
    /// Takes note of a request; the number to answer it by.
    pub(crate) fn begin(&mut self, record: Record) -> u64 {
        self.records.push_back(record);
        while self.records.len() > REMEMBERED {
            self.records.pop_front();
            self.first += 1;
        }
        self.first + self.records.len() as u64 - 1
    }

    pub(crate) fn answered(&mut self, number: u64, status: StatusCode) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(record) = at.and_then(|at| self.records.get_mut(at)) {
            record.status = Some(status.as_u16());
        }
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.records.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.first += self.records.len() as u64;
        self.records.clear();
    }
}
