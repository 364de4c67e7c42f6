//! Tests of the program from outside: what it prints, what it says, how it exits.
//!
//! [`cases`] reads the stories that lie beside the default policy and compares what comes out of
//! them. [`cases::Eval`] runs them through `host eval`; a test with a cluster brings an
//! [`cases::Executor`] of its own.

pub mod cases;
pub mod languages;
pub mod program;
pub mod tools;
