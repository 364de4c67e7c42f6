//! What becomes of rules: replaced, unusable, deleted, gone; and what their status says all the while.
#![expect(clippy::unwrap_used, reason = "tests, and what helps them")]

mod deleting;
mod refused;
mod replaces;
mod status;
mod watches;
