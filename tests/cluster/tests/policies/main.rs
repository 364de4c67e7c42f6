//! `ReadinessPolicy` objects: where a module comes from, and what becomes of the rules that name it.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod changes;
mod failures;
mod page;
mod registry;
mod webhook;
mod world;
