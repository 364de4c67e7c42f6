//! What the program says with its exit status.

use std::process::ExitCode;

/// The exit status. The numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything is as expected.
    Success = 0,
    /// A test or an expectation failed.
    Unexpected = 1,
    /// The command line or an input is wrong, or something that is needed is not there.
    BadInput = 2,
    /// A policy gave no decision.
    PolicyFailed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        let all = [
            Exit::Success,
            Exit::Unexpected,
            Exit::BadInput,
            Exit::PolicyFailed,
        ];
        assert_eq!(all.map(|exit| exit as u8), [0, 1, 2, 3]);
    }
}
