//! `ReadinessPolicy` objects: where a module comes from, and what becomes of the rules that name it.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod changes;
mod corpus;
mod csi_nodes;
mod daemon_sets;
mod devices;
mod failures;
mod flaps;
mod hung;
mod kept;
mod keyless;
mod leases;
mod page;
mod pods;
mod registry;
mod rights;
mod stuck;
mod swapped;
mod webhook;
mod world;
