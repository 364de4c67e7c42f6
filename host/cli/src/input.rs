//! Objects as users have them: files, folders, standard input; YAML or JSON; several documents;
//! lists as `kubectl get` prints them.

pub mod nodes;
pub mod rules;
mod source;
mod tree;
mod yaml;

pub use source::{STDIN, Source, read};

/// What is wrong with the input: sentences that say what, where and what to do. Not empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\nerror: "))]
pub struct BadInput(pub Vec<String>);

impl BadInput {
    /// One problem.
    pub fn one(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }
}
