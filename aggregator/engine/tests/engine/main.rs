//! The engine from outside, over small worlds of entries.
//!
//! One program for all of it: each test program contains DataFusion, which is most of what it takes to build one.

mod access;
mod answers;
mod damage;
mod hostile;
mod memory;
mod metrics;
mod plans;
mod portions;
mod queries;
mod reference;
mod replaced;
mod results;
mod stored;
mod volume;
mod world;
