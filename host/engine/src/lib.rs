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

mod class;
mod clock;
mod compiler;
mod config;
mod contract;
mod failure;
mod grants;
mod load;
mod native;
mod output;
mod policy;
mod sandbox;
mod scan;
mod size;
mod slots;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};

pub use class::Class;
pub use compiler::{
    Cache, CacheError, Compiler, CompilerError, NO_MEMORY, NOT_COMPILED, Origin, Task, TaskError,
};
pub use failure::FailureKind;
pub use grants::{Grants, UnknownInterface};
pub use load::LoadError;
pub use output::{is_unseen, seen_json};
pub use policy::Policy;

use class::{Allowance, Shared};
use compiler::Compiled;
use native::Native;
use policy::Candidate;
use scan::Scan;
use size::Size;

/// Version of the contract that this host speaks.
pub const CONTRACT: &str = contract::VERSION;

/// The policy of rules that name none, as a component.
pub const DEFAULT_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.wasm"));

/// The policies that come with this program, by their names: components.
pub const BUILT_IN: &[(&str, &[u8])] = &[
    ("default", DEFAULT_POLICY),
    (
        "csi-ready",
        include_bytes!(concat!(env!("OUT_DIR"), "/csi-ready.wasm")),
    ),
    (
        "daemon-sets-ready",
        include_bytes!(concat!(env!("OUT_DIR"), "/daemon-sets-ready.wasm")),
    ),
    (
        "devices-ready",
        include_bytes!(concat!(env!("OUT_DIR"), "/devices-ready.wasm")),
    ),
    (
        "heartbeat",
        include_bytes!(concat!(env!("OUT_DIR"), "/heartbeat.wasm")),
    ),
    (
        "pods-ready",
        include_bytes!(concat!(env!("OUT_DIR"), "/pods-ready.wasm")),
    ),
];

/// Of those that come with this program the one of this name.
///
/// # Errors
///
/// There is none: a sentence that names those that there are.
pub fn built_in(name: &str) -> Result<&'static [u8], String> {
    let mut all = BUILT_IN.iter();
    match all.find(|(known, _)| *known == name) {
        Some((_, component)) => Ok(component),
        None => {
            let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "there is no {name:?}; this host has {}",
                names.join(", ")
            ))
        }
    }
}

/// Limits of every call of the policies of one class.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest that one call may take.
    pub deadline: Duration,
    /// The most memory that a policy may have, in bytes.
    pub memory: usize,
    /// How many calls can run at the same time; further ones wait for their turn.
    pub slots: u32,
}

impl Limits {
    /// 100 ms, ten thousand times what a policy takes: a processor quota can stop the whole process for
    /// most of that. 8 MiB; above 16 MiB the default policy is compiled at the start instead of loaded.
    /// 64 slots, each of which reserves address space of 16 MiB, or of `memory` where that is more.
    pub fn small() -> Self {
        Self {
            deadline: Duration::from_millis(100),
            memory: 8 << 20,
            slots: 64,
        }
    }

    /// 500 ms: the first call after another policy's maps megabytes again. 128 MiB. 2 slots, each of which
    /// reserves address space of 32 GiB, and may keep some of its memory.
    pub fn large() -> Self {
        Self {
            deadline: Duration::from_millis(500),
            memory: 128 << 20,
            slots: 2,
        }
    }
}

/// Limits of an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of policies that were compiled to WebAssembly.
    pub small: Limits,
    /// Of policies that bring their language's runtime. Nothing is reserved before the first one.
    pub large: Limits,
}

impl Options {
    /// For one call at a time: nothing is reserved for more.
    pub fn one_at_a_time() -> Self {
        let one = |limits| Limits { slots: 1, ..limits };
        Self {
            small: one(Limits::small()),
            large: one(Limits::large()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            small: Limits::small(),
            large: Limits::large(),
        }
    }
}

/// What an operator gives one policy, where that is other than what its class has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyLimits {
    /// The longest that one call may take. More than a small policy has makes it a large one.
    pub deadline: Option<Duration>,
    /// The most memory that it may have, in bytes. More than a small policy has makes it a large one;
    /// more than a large one has is refused.
    pub memory: Option<usize>,
    /// The interfaces that it may import.
    pub grants: Grants,
}

/// Loads policies. Cheap to clone, `Send` and `Sync`.
#[derive(Clone)]
pub struct Engine(Arc<Classes>);

struct Classes {
    options: Options,
    small: Arc<Shared>,
    large: OnceLock<Arc<Shared>>,
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
    /// An engine with these limits. Small policies get their memory from a pool that is reserved here,
    /// where there is address space for it; where not, each call maps its own, and takes some ten
    /// microseconds more.
    ///
    /// # Errors
    ///
    /// Where this machine cannot run policies at all.
    pub fn new(options: &Options) -> Result<Self, EngineError> {
        Ok(Self(Arc::new(Classes {
            options: options.clone(),
            small: Arc::new(Shared::new(Class::Small, &options.small)?),
            large: OnceLock::new(),
        })))
    }

    /// Is the memory of small policies taken from a pool? If not, there was no address space for it.
    pub fn is_pooled(&self) -> bool {
        self.0.small.pooled
    }

    /// The policy of rules that name none. It was compiled when this program was built.
    ///
    /// # Errors
    ///
    /// Only where this program was built wrongly.
    pub fn default_policy(&self) -> Result<Policy, LoadError> {
        let native = include_bytes!(concat!(env!("OUT_DIR"), "/default.cwasm"));
        let digest = env!("DEFAULT_POLICY_DIGEST").to_owned();
        let shared = &self.0.small;
        let allowance = shared.allowance(None, None);
        let (component, origin) = match Native::BuiltIn(native).load(&shared.engine) {
            Ok(component) => (component, Origin::BuiltIn),
            // Another configuration, such as a larger memory.
            Err(_) => (
                load::compile(&shared.engine, DEFAULT_POLICY)?,
                Origin::Compiled,
            ),
        };
        let grants = Grants::default();
        admit(shared, allowance, grants, &component, digest, origin)
    }

    /// Compiles a component in this process, and checks that it keeps the contract. For components of
    /// one's own, which may ask everything: [`load_with`](Self::load_with) is for those of others.
    ///
    /// # Errors
    ///
    /// Where it cannot serve as a policy.
    pub fn load(&self, bytes: &[u8]) -> Result<Policy, LoadError> {
        let all = PolicyLimits {
            grants: Grants::all(),
            ..PolicyLimits::default()
        };
        self.load_with(bytes, &all, None)
    }

    /// The same for a policy with limits of its own, compiled in another process, or taken from what that
    /// kept. Blocks for as long: milliseconds for a small policy, seconds for a large one.
    ///
    /// # Errors
    ///
    /// Where it cannot serve as a policy, and where the process fails.
    pub fn load_with(
        &self,
        bytes: &[u8],
        own: &PolicyLimits,
        compiler: Option<&Compiler>,
    ) -> Result<Policy, LoadError> {
        let scan = Scan::of(bytes)?;
        load::names(&scan)?;
        load::grants(&scan, own.grants)?;
        let shared = self.class(&scan, bytes.len(), own)?;
        let digest = Sha256::digest(bytes);
        let digest = format!("sha256:{}", Hex(&digest));
        let allowance = shared.allowance(own.memory, own.deadline);
        load::begins(scan.memory, &allowance)?;
        let (component, origin) = match compiler {
            Some(compiler) => compiled(compiler, bytes, &digest, &shared)?,
            None => (load::compile(&shared.engine, bytes)?, Origin::Compiled),
        };
        admit(&shared, allowance, own.grants, &component, digest, origin)
    }

    /// The class that has what a component needs, and what it is given.
    fn class(
        &self,
        scan: &Scan,
        size: usize,
        own: &PolicyLimits,
    ) -> Result<Arc<Shared>, LoadError> {
        let Classes {
            options,
            small,
            large,
        } = &*self.0;
        if let Some(memory) = own.memory
            && memory > options.large.memory
        {
            return Err(LoadError::TooLarge(format!(
                "it is given {} of memory, and this host has {} for one policy",
                Size::of(memory),
                Size::of(options.large.memory)
            )));
        }
        let is_given_more =
            own.memory > Some(options.small.memory) || own.deadline > Some(options.small.deadline);
        if !is_given_more && Class::of(scan, size, &options.small) == Class::Small {
            return Ok(Arc::clone(small));
        }
        if large.get().is_none() {
            // Two threads may both come here: then one of the two is used.
            let _ = large.set(Arc::new(Shared::new(Class::Large, &options.large)?));
        }
        Ok(Arc::clone(large.get().unwrap_or(small)))
    }
}

/// In another process.
fn compiled(
    compiler: &Compiler,
    bytes: &[u8],
    digest: &str,
    shared: &Shared,
) -> Result<(Component, Origin), LoadError> {
    let settings = compiler::settings(&shared.engine);
    let class = shared.class.as_str();
    let bound = [digest.as_bytes(), &settings, class.as_bytes()];
    match compiler.native(bytes, shared.addresses(), &bound)? {
        Compiled::Native(native, origin) => {
            let component = native.load(&shared.engine).map_err(load::refused)?;
            Ok((component, origin))
        }
        Compiled::Refused(message) => Err(LoadError::Compile(message)),
    }
}

fn admit(
    shared: &Arc<Shared>,
    allowance: Allowance,
    grants: Grants,
    component: &Component,
    digest: String,
    origin: Origin,
) -> Result<Policy, LoadError> {
    let imports = load::imports(component)?;
    load::size(component, &allowance)?;
    let exports = load::exports(component)?;
    let interface = load::interface_of(component)?;
    // Each has its own: what is not granted is not there.
    let mut linker = Linker::new(&shared.engine);
    let linked = sandbox::link(&mut linker, grants);
    let instance = linked.and_then(|()| linker.instantiate_pre(component));
    let instance = instance.map_err(|error| LoadError::WrongSignature(format!("{error:#}")))?;
    let candidate = Candidate {
        host: Arc::clone(shared),
        allowance,
        instance,
        exports,
        memory: load::begins_with(component),
    };
    candidate.try_out(digest, imports, interface, origin)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.0.options)
            .field("pooled", &self.is_pooled())
            .finish_non_exhaustive()
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
