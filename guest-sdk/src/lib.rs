//! Write a readiness policy in plain Rust.
//!
//! A policy decides for one node and one `NodeReadinessRule`: shall the rule's taint be on the
//! node? It is a pure function of the [`Facts`] that it asks for: it has no clock, no files, no
//! network. The host runs it in a sandbox, with a fresh memory each time, and records each question
//! with its answer; `wit/policy.wit` is the contract between the two. Here is a whole policy:
//!
//! ```
//! use core::time::Duration;
//! use guest_sdk::{Decision, Description, Facts, Finding, Policy};
//!
//! /// Holds a node back until each of the rule's conditions was good for half a minute.
//! struct Steady;
//!
//! impl Policy for Steady {
//!     fn describe() -> Description {
//!         Description::new("steady", "1.0.0")
//!     }
//!
//!     fn evaluate(facts: &Facts) -> Result<Decision, String> {
//!         let mut findings = Vec::new();
//!         for (index, wanted) in facts.rule.requirements().iter().enumerate() {
//!             let time = Duration::from_secs(30);
//!             let met = facts.node.condition_is(&wanted.condition, wanted.required, time);
//!             findings.push(Finding::requirement(index, met));
//!             if !met {
//!                 return Ok(Decision::present("NotSteady").findings(findings));
//!             }
//!         }
//!         Ok(Decision::absent("Steady").findings(findings))
//!     }
//! }
//!
//! guest_sdk::export!(Steady);
//!
//! // Its unit test, in a `#[test]` function, needs no WebAssembly:
//! use guest_sdk::{Status, fake::Fake};
//! let node = Fake::new()
//!     .requires("Ready", Status::True)
//!     .condition_for("Ready", Status::True, Duration::from_secs(29));
//! assert_eq!(Steady::evaluate(&node.facts()).unwrap().reason, "NotSteady");
//! ```
//!
//! # From nothing to `policy.wasm`
//!
//! `cargo new --lib steady`, the code above in `src/lib.rs`, and in `Cargo.toml`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]   # a Wasm module; and natively, for `cargo test`
//!
//! [dependencies]
//! guest-sdk = { path = "…/guest-sdk" }
//!
//! [profile.release]
//! lto = true
//! codegen-units = 1
//! strip = true
//! ```
//!
//! Rust gives a module a stack of 1 MiB, which the host would have to clear after each evaluation.
//! 64 KiB are enough; in `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! rustflags = ["-Clink-arg=-zstack-size=65536"]
//! ```
//!
//! Then:
//!
//! ```sh
//! rustup target add wasm32-unknown-unknown    # not a WASI target: the host offers no WASI
//! cargo install wasm-tools
//! cargo build --target wasm32-unknown-unknown --release
//! wasm-tools component new target/wasm32-unknown-unknown/release/steady.wasm -o policy.wasm
//! host eval --rule rule.yaml --node node.yaml --policy policy.wasm
//! ```
//!
//! # What to know
//!
//! - Ask the narrowest question first, and stop when the decision is made. What was asked stands
//!   beside the verdict in `host eval -o json`, and the fewer answers there are, the fewer runs there
//!   are to try.
//! - A function that is never called does not become an import of the component. What is imported
//!   is what an operator has to grant; what is about the node and its rule is granted unless somebody says
//!   otherwise, and [`Pods`], [`Lease`], [`Csi`], [`Devices`] and [`DaemonSets`] are not.
//! - A panic is a trap: the evaluation fails, and the node stays as it is. Return `Err` with a sentence where a policy cannot decide.
//! - Memory is never freed during an evaluation, only after it.
//! - `format!` and `panic!` with arguments bring Rust's formatting into the module: some 10 kB.

extern crate self as guest_sdk;

mod conditions;
mod csi;
mod daemon_sets;
mod devices;
mod duration;
mod facts;
mod json;
mod lease;
pub mod names;
mod pods;
mod problems;
mod types;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[path = "guest.rs"]
pub mod __guest;
#[cfg(target_arch = "wasm32")]
mod arena;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;

#[cfg(target_arch = "wasm32")]
use __guest as source;
#[cfg(not(target_arch = "wasm32"))]
use fake as source;

pub use csi::Csi;
pub use daemon_sets::{DaemonSetSelection, DaemonSets};
pub use devices::Devices;
pub use duration::milliseconds;
pub use facts::{Bootstrap, Facts, Node, Rule, Time};
pub use json::Json;
pub use lease::Lease;
pub use pods::{PodPhase, PodSelection, Pods};
pub use problems::Problems;
pub use types::{
    Completion, Decision, Description, Domain, Effect, Enforcement, Finding, Matching, Problem,
    Requirement, Status, Subject, TaintAction,
};

/// A readiness policy. Export it with [`export!`].
pub trait Policy {
    /// Who it is. Constant: there is nothing to ask here.
    fn describe() -> Description;

    /// What is wrong with this rule, above all with its parameters; empty: nothing. Called before
    /// the rule is evaluated for the first time; where something is wrong it changes no node.
    fn check(_rule: &Rule) -> Vec<Problem> {
        Vec::new()
    }

    /// The decision about one node and one rule.
    ///
    /// # Errors
    ///
    /// A sentence, at most 1024 bytes, where the policy cannot decide. What happens then is the
    /// operator's choice; unless told otherwise the host changes nothing.
    fn evaluate(facts: &Facts) -> Result<Decision, String>;
}

/// Makes a type that implements [`Policy`] the policy of this module. Once per crate; natively it
/// does nothing.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::__guest::Guest for Exported {
                fn describe() -> $crate::__guest::types::Description {
                    $crate::__guest::describe::<$policy>()
                }

                fn check() -> ::std::vec::Vec<$crate::__guest::types::Problem> {
                    $crate::__guest::check::<$policy>()
                }

                fn evaluate()
                -> ::std::result::Result<$crate::__guest::types::Decision, ::std::string::String>
                {
                    $crate::__guest::evaluate::<$policy>()
                }
            }

    $crate::__guest::export_policy!(Exported with_types_in $crate::__guest::bindings);
        };
    };
}
