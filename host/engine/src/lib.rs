//! Runs policies: loads a component, and asks it about a node in a sandbox with limits.
//!
//! The only crate that knows WebAssembly. A policy is given the functions of `wit/policy.wit` and
//! nothing else, one deadline, one memory of limited size; whatever it does, it yields a
//! [`Verdict`](planner::verdict::Verdict). Answers come from a
//! [`Answers`](planner::question::Answers): the engine does not know what a node is.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = engine::Engine::new(&engine::Options::default())?;
//! let policy = engine.default_policy()?;
//! assert_eq!(policy.name(), "default");
//! # Ok(())
//! # }
//! ```

mod clock;
mod config;
mod contract;
mod failure;
mod load;
mod output;
mod policy;
mod sandbox;
mod slots;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{InstanceAllocationStrategy, PoolingAllocationConfig};

pub use failure::FailureKind;
pub use load::LoadError;
pub use policy::Policy;

use clock::Clock;
use policy::Candidate;
use sandbox::Sandbox;
use slots::Slots;

/// Version of the contract that this host speaks.
pub const CONTRACT: &str = contract::VERSION;

/// The policy of rules that name none, as a component.
pub const DEFAULT_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.wasm"));

/// What stays mapped of a policy's memory between two evaluations, in bytes: all that a Rust or C
/// policy uses. Giving it back costs more than clearing it.
const RESIDENT: usize = 256 << 10;

/// Limits of every call of every policy of an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that one call may take. Default: 100 ms, ten thousand times what a policy
    /// takes: a processor quota can stop the whole process for most of that.
    pub deadline: Duration,
    /// The most memory that a policy may have, in bytes. Default: 8 MiB. Above 16 MiB the default
    /// policy is compiled at the start instead of loaded.
    pub memory: usize,
    /// How many calls can run at the same time; further ones wait for their turn. Default: 64.
    /// Each reserves address space of 16 MiB, or of `memory` where that is more.
    pub slots: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(100),
            memory: 8 << 20,
            slots: 64,
        }
    }
}

/// Loads policies. Cheap to clone, `Send` and `Sync`.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

/// What all policies of an engine share.
struct Shared {
    engine: wasmtime::Engine,
    linker: Linker<Sandbox>,
    options: Options,
    slots: Arc<Slots>,
    clock: Clock,
    /// The deadline, in ticks of the clock.
    ticks: u64,
    pooled: bool,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// This processor or operating system is not supported.
    #[error("policies cannot run on this machine: {0}")]
    Unsupported(String),
    /// The thread that watches the deadline could not be started.
    #[error("cannot start the thread that watches the deadline of policies: {0}")]
    Clock(#[source] io::Error),
}

/// Something wrong with a rule, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into the parameters; empty for the whole.
    pub path: String,
    /// Sentence for the author of the rule.
    pub message: String,
}

/// The values of a label or annotation that make a difference to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Key of the label or annotation.
    pub key: String,
    /// The values; absence counts as well.
    pub values: Vec<String>,
}

/// An interface that a policy imports: a permission that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Such as `node-readiness:policy/node@0.1.0`.
    pub interface: String,
    /// Those of its functions that the policy can call, such as `condition-is`.
    pub functions: Vec<String>,
}

/// What a policy says of itself.
struct Description {
    name: String,
    version: String,
    parameters: String,
    domains: Vec<Domain>,
}

impl Engine {
    /// An engine with these limits. Policies get their memory from a pool that is reserved here,
    /// where there is address space for it; where not, each call maps its own, and takes some ten
    /// microseconds more.
    ///
    /// # Errors
    ///
    /// Where this machine cannot run policies at all.
    pub fn new(options: &Options) -> Result<Self, EngineError> {
        let unsupported = |error: wasmtime::Error| EngineError::Unsupported(format!("{error:#}"));
        let mut config = config::config(options.memory as u64);
        config.allocation_strategy(pool(options));
        let (engine, pooled) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, true),
            Err(_) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                let engine = wasmtime::Engine::new(&config).map_err(unsupported)?;
                (engine, false)
            }
        };
        let mut linker = Linker::new(&engine);
        sandbox::link(&mut linker).map_err(unsupported)?;
        let slots = Arc::new(Slots::new(options.slots.max(1) as usize));
        let clock = Clock::start(engine.weak(), Arc::clone(&slots), options.deadline)
            .map_err(EngineError::Clock)?;
        Ok(Self(Arc::new(Shared {
            ticks: clock.ticks(options.deadline),
            engine,
            linker,
            options: options.clone(),
            slots,
            clock,
            pooled,
        })))
    }

    /// Is memory taken from a pool? If not, there was no address space for it.
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// The policy of rules that name none. It was compiled when this program was built.
    ///
    /// # Errors
    ///
    /// Only where this program was built wrongly.
    pub fn default_policy(&self) -> Result<Policy, LoadError> {
        let native = include_bytes!(concat!(env!("OUT_DIR"), "/default.cwasm"));
        let digest = env!("DEFAULT_POLICY_DIGEST").to_owned();
        #[expect(unsafe_code, reason = "native code from our own build script")]
        // SAFETY: these bytes are what `Engine::precompile_component` gave.
        let native = unsafe { Component::deserialize(&self.0.engine, native) };
        match native {
            Ok(component) => self.admit(&component, digest, true),
            // Another configuration, such as a larger memory.
            Err(_) => self.admit(
                &load::compile(&self.0.engine, DEFAULT_POLICY)?,
                digest,
                false,
            ),
        }
    }

    /// Compiles a component, and checks that it keeps the contract.
    ///
    /// # Errors
    ///
    /// Where it cannot serve as a policy.
    pub fn load(&self, bytes: &[u8]) -> Result<Policy, LoadError> {
        load::is_component(bytes)?;
        let digest = Sha256::digest(bytes);
        let digest = format!("sha256:{}", Hex(&digest));
        self.admit(&load::compile(&self.0.engine, bytes)?, digest, false)
    }

    fn admit(
        &self,
        component: &Component,
        digest: String,
        built_in: bool,
    ) -> Result<Policy, LoadError> {
        let imports = load::imports(component)?;
        load::size(component, self.0.options.memory)?;
        let exports = load::exports(component)?;
        let instance = self.0.linker.instantiate_pre(component);
        let instance = instance.map_err(|error| LoadError::WrongSignature(format!("{error:#}")))?;
        let host = Arc::clone(&self.0);
        let candidate = Candidate {
            host,
            instance,
            exports,
        };
        candidate.try_out(digest, imports, built_in)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.0.options)
            .field("pooled", &self.0.pooled)
            .finish_non_exhaustive()
    }
}

fn pool(options: &Options) -> InstanceAllocationStrategy {
    let slots = options.slots.max(1);
    let memory = (options.memory as u64).min(config::MOST) as usize;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(sandbox::INSTANCES))
        .max_core_instances_per_component(sandbox::INSTANCES)
        .total_memories(slots)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .max_memory_size(memory)
        .linear_memory_keep_resident(RESIDENT)
        .total_tables(slots.saturating_mul(sandbox::TABLES))
        .max_tables_per_component(sandbox::TABLES)
        .max_tables_per_module(sandbox::TABLES)
        .table_elements(sandbox::TABLE)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(slots);
    InstanceAllocationStrategy::Pooling(pool)
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
