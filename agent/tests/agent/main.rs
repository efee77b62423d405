//! The agent from outside: the library with its own reader, or the real program, before receivers that keep what they are sent.
//!
//! One program for all of it: each test program contains the whole agent, which is most of what it takes to build one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod archives;
mod chart;
mod clients;
mod corpus;
mod crash;
mod doctor;
mod events;
mod idle;
mod in_step;
mod joining;
mod journal;
mod kubernetes;
mod noticing;
mod observe;
mod options;
mod pod_metadata;
mod promtail;
mod redirects;
mod scrape;
mod selection;
mod short_lived;
mod stages;
mod start;
mod support;
mod surface;
mod tailing;
mod torture;
