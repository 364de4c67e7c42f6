//! Several hosts, one lease. Times are those of the API server's audit log.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, and what helps it"
)]

#[path = "leader/away.rs"]
mod away;
#[path = "leader/records.rs"]
mod records;
#[path = "leader/rights.rs"]
mod rights;
#[path = "leader/slow.rs"]
mod slow;
#[path = "leader/takeover.rs"]
mod takeover;
#[path = "leader/terms.rs"]
mod terms;
#[path = "leader/world.rs"]
mod world;
