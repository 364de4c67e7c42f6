//! The same stories with something going wrong at each write in turn: the host killed, the API server
//! busy, an answer lost, a watch cut, an old list after that. The cluster must end as it does when
//! nothing goes wrong.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod behind;
mod killed;
mod leader;
mod play;
mod scene;
mod stage;
mod stories;
mod story;
mod troubled;

/// A request that changes something.
fn is_write(method: &str) -> bool {
    matches!(method, "PATCH" | "POST" | "PUT" | "DELETE")
}
