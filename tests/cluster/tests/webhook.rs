//! The API server asks a running host whether a rule may be stored. Contract lines 34 to 40.
//!
//! Clippy knows a test by `cfg(test)`.

#[cfg(test)]
#[path = "webhook/bad_input.rs"]
mod bad_input;
#[cfg(test)]
#[path = "webhook/files.rs"]
mod files;
#[cfg(test)]
#[path = "webhook/managed.rs"]
mod managed;
#[cfg(test)]
#[path = "webhook/rules.rs"]
mod rules;
