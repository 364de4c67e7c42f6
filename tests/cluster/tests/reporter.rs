//! `node-readiness-reporter` against the real API server.

#[path = "reporter/conditions.rs"]
mod conditions;
