//! The requests that Loki's clients make, through the gateway to an aggregator, and what each client reads of the answers.
//!
//! Sequences, headers and parameters are those that the clients send; what is checked is what they would stumble over. One file a client.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

mod drilldown;
mod exports;
mod fluent_bit;
mod grafana;
mod logcli;
mod opentelemetry;
mod promtail;
mod session;
mod slow_tail;
mod vector;
