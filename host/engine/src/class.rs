//! The two classes of policies, and what the policies of one share: a configured wasmtime, a pool of
//! memory, a clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::clock::Clock;
use crate::scan::Scan;
use crate::slots::Slots;
use crate::{EngineError, Limits, config};

/// What a policy is made of. The two differ so much that one pool cannot serve both: a small one takes
/// microseconds in a memory of 256 KiB, which is cleared in place; a large one touches megabytes of an
/// image that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Compiled to WebAssembly: Rust, C, AssemblyScript.
    Small,
    /// Brings its language's runtime: Go, JavaScript, Python.
    Large,
}

/// How much a component of a class may consist of.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Memories of a component. Tools that take WASI away leave a module with its own for each part.
    pub(crate) memories: u32,
    /// Tables of a component: even small ones have a few for their own plumbing.
    pub(crate) tables: u32,
    /// Elements of one table.
    pub(crate) elements: usize,
    /// Core instances of a component. Tools that link a language's runtime use dozens.
    pub(crate) instances: u32,
    /// What stays mapped of a memory between two evaluations, in bytes.
    resident: usize,
    /// Does the kernel tell (`PAGEMAP_SCAN`, Linux 6.7) which pages of it were written, so that only those are
    /// cleared, wherever they are? Without it all of what stays mapped is, from the start of the memory on.
    scan: Enabled,
    /// The size of a component beyond which it brings a runtime, in bytes: what it wants to begin with
    /// may be little.
    size: usize,
}

/// All that a Rust or C policy uses stays mapped: giving it back costs more than clearing it. Asking the kernel
/// costs more as well: half a microsecond of six.
const SMALL: Shape = Shape {
    memories: 1,
    tables: 4,
    elements: 10_000,
    instances: 32,
    resident: 256 << 10,
    scan: Enabled::No,
    size: 1 << 20,
};

/// A runtime writes a few hundred pages all over its memory, and to map each again takes longer than what is
/// done with it.
const LARGE: Shape = Shape {
    memories: 8,
    tables: 32,
    elements: 100_000,
    instances: 128,
    resident: 2 << 20,
    scan: Enabled::Auto,
    size: usize::MAX,
};

impl Class {
    /// The word for status and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    pub(crate) fn shape(self) -> &'static Shape {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }

    /// The smallest class that has what this component of so many bytes begins with.
    pub(crate) fn of(scan: &Scan, size: usize, small: &Limits) -> Self {
        let fits = scan.memories <= SMALL.memories
            && scan.memory <= small.memory as u64
            && scan.tables <= SMALL.tables
            && scan.elements <= SMALL.elements as u64
            && size <= SMALL.size;
        if fits { Self::Small } else { Self::Large }
    }

    /// The addresses to reserve for a memory.
    fn addresses(self, limits: &Limits) -> u64 {
        match self {
            Self::Small => limits.memory as u64,
            // All that a memory can have: then none of them has to be checked.
            Self::Large => config::MOST,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all policies of a class share.
pub(crate) struct Shared {
    pub(crate) class: Class,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) limits: Limits,
    pub(crate) slots: Arc<Slots>,
    pub(crate) clock: Clock,
    pub(crate) pooled: bool,
}

impl Shared {
    /// Reserves the memory, and starts the clock.
    pub(crate) fn new(class: Class, limits: &Limits) -> Result<Self, EngineError> {
        let unsupported = |error: wasmtime::Error| EngineError::Unsupported(format!("{error:#}"));
        let mut config = config::config(class.addresses(limits));
        config.allocation_strategy(pool(class.shape(), limits));
        let (engine, pooled) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, true),
            Err(_) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                let engine = wasmtime::Engine::new(&config).map_err(unsupported)?;
                (engine, false)
            }
        };
        let slots = Arc::new(Slots::new(limits.slots.max(1) as usize));
        let clock = Clock::start(engine.weak(), Arc::clone(&slots), limits.deadline)
            .map_err(EngineError::Clock)?;
        Ok(Self {
            class,
            engine,
            limits: limits.clone(),
            slots,
            clock,
            pooled,
        })
    }

    /// What native code depends on beside the version of wasmtime.
    pub(crate) fn addresses(&self) -> u64 {
        self.class.addresses(&self.limits)
    }

    /// What one call of a policy with these limits may take.
    pub(crate) fn allowance(&self, memory: Option<usize>, deadline: Option<Duration>) -> Allowance {
        let deadline = deadline.unwrap_or(self.limits.deadline);
        Allowance {
            memory: memory.unwrap_or(self.limits.memory),
            deadline,
            ticks: self.clock.ticks(deadline),
            shape: self.class.shape(),
        }
    }
}

/// What one call of a policy may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) memory: usize,
    pub(crate) deadline: Duration,
    /// The deadline, in ticks of the clock.
    pub(crate) ticks: u64,
    pub(crate) shape: &'static Shape,
}

fn pool(shape: &Shape, limits: &Limits) -> InstanceAllocationStrategy {
    let slots = limits.slots.max(1);
    let memory = (limits.memory as u64).min(config::MOST) as usize;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(shape.instances))
        .max_core_instances_per_component(shape.instances)
        .total_memories(slots.saturating_mul(shape.memories))
        .max_memories_per_component(shape.memories)
        .max_memories_per_module(shape.memories)
        .max_memory_size(memory)
        .linear_memory_keep_resident(shape.resident)
        .pagemap_scan(shape.scan)
        .total_tables(slots.saturating_mul(shape.tables))
        .max_tables_per_component(shape.tables)
        .max_tables_per_module(shape.tables)
        .table_elements(shape.elements)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(slots);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_goes_where_it_fits() {
        let small = Limits::small();
        let fits = Scan {
            memories: 1,
            memory: small.memory as u64,
            tables: 4,
            elements: 10_000,
            ..Scan::default()
        };
        assert_eq!(Class::of(&fits, 1 << 20, &small), Class::Small);
        for large in [
            Scan {
                memories: 2,
                ..fits.clone()
            },
            Scan {
                memory: fits.memory + 1,
                ..fits.clone()
            },
            Scan {
                tables: 5,
                ..fits.clone()
            },
            Scan {
                elements: 10_001,
                ..fits.clone()
            },
        ] {
            assert_eq!(Class::of(&large, 0, &small), Class::Large, "{large:?}");
        }
        assert_eq!(Class::of(&fits, (1 << 20) + 1, &small), Class::Large);
    }
}
