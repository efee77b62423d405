//! Who may read: from a request to the rights that its answer is kept within.
//!
//! ```text
//! guard.rs   one layer around every route: what the route's table asks for (routes.rs), before any handler runs
//!   who      X-Tailwater-Access (signature.rs), else a bearer token → TokenReview        identity.rs, control.rs
//!   what     parameters (question.rs) → SubjectAccessReview per namespace (authorizer.rs, review.rs), remembered (expiring.rs)
//!   → Rights (rights.rs), which handlers get as a part of `Caller` and without which there is no engine::Access
//! endpoint.rs   `/internal/authz`, which gateways ask        policy.rs   `X-Prom-Label-Policy`
//! ```
//! Invariants: a route that the table does not know is closed; no answer of the Kubernetes API is no permission; a client can sign nothing.
//! With `auth.mode: none` everybody may read everything, unless a signed header says less. Pushes are not decided about here.

pub mod allowed;
pub mod authorizer;
pub mod client;
pub mod control;
pub mod endpoint;
pub mod error;
pub mod expiring;
pub mod guard;
pub mod identity;
pub mod metrics;
pub mod policy;
pub mod question;
pub mod review;
pub mod rights;
pub mod routes;
pub mod signature;
#[cfg(test)]
pub(crate) mod tests;

pub use control::AccessControl;
pub use error::AccessRefused;
pub use rights::{Caller, Rights};
