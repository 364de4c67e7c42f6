//! A loaded policy, and how it is called.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use planner::question::{Answers, Read};
use planner::related::Kind;
use planner::rule::Rule;
use planner::verdict::{Failure, Verdict};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift};

use crate::class::{Allowance, Shared};
use crate::contract::{decide, types};
use crate::failure::{FailureKind, failure};
use crate::grants::{Grants, is_needed};
use crate::load::{Exports, name_of};
use crate::sandbox::{Call, Sandbox, TRANSFER};
use crate::{Class, Description, Domain, Import, LoadError, Origin, Problem, output};

/// A policy that was loaded. Cheap to clone, `Send` and `Sync`; keeps its engine alive.
///
/// Each call gets a fresh instance with a fresh memory: nothing that a policy stores outlives the
/// call, and nothing of one node is visible to the evaluation of another.
#[derive(Clone)]
pub struct Policy(Arc<Loaded>);

struct Loaded {
    host: Arc<Shared>,
    allowance: Allowance,
    instance: InstancePre<Sandbox>,
    exports: Exports,
    digest: String,
    imports: Vec<Import>,
    interface: String,
    description: Description,
    origin: Origin,
    memory: Option<u64>,
}

/// What can be called, before it is known whether it is a policy.
pub(crate) struct Candidate {
    pub(crate) host: Arc<Shared>,
    pub(crate) allowance: Allowance,
    pub(crate) instance: InstancePre<Sandbox>,
    pub(crate) exports: Exports,
    /// Bytes that its largest memory begins with.
    pub(crate) memory: Option<u64>,
}

impl Candidate {
    /// Calls it once: a wrong type shows here.
    pub(crate) fn try_out(
        self,
        digest: String,
        imports: Vec<Import>,
        interface: String,
        origin: Origin,
    ) -> Result<Policy, LoadError> {
        let Self {
            host,
            allowance,
            instance,
            exports,
            memory,
        } = self;
        let (described, _) = host.call(&instance, allowance, Call::Describe, |store, instance| {
            // All three, although one is called: the others would fail on the first node.
            let typed = typed::<(Vec<types::Problem>,)>(store, instance, &exports.check, "check")
                .and_then(|_| typed::<Evaluated>(store, instance, &exports.evaluate, "evaluate"))
                .and_then(|_| typed(store, instance, &exports.describe, "describe"));
            Ok(match typed {
                Ok(describe) => Ok(describe.call(store, ())?),
                Err(mismatch) => Err(mismatch),
            })
        });
        let described = described.map_err(LoadError::Trial)?;
        let (description,): (types::Description,) = described.map_err(LoadError::WrongSignature)?;
        let description =
            output::description(description).map_err(LoadError::InvalidDescription)?;
        Ok(Policy(Arc::new(Loaded {
            host,
            allowance,
            instance,
            exports,
            digest,
            imports,
            interface,
            description,
            origin,
            memory,
        })))
    }
}

type Evaluated = (Result<decide::Decision, String>,);

impl Policy {
    /// Is it the same one, loaded by the same call?
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// `sha256:…` of the component.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The name that it gives itself: a DNS label.
    pub fn name(&self) -> &str {
        &self.0.description.name
    }

    /// Its own version: semver.
    pub fn version(&self) -> &str {
        &self.0.description.version
    }

    /// JSON Schema of its parameters; empty if it takes none.
    pub fn parameters(&self) -> &str {
        &self.0.description.parameters
    }

    /// The kinds of objects beside the node that it can ask about.
    pub fn asks(&self) -> BTreeSet<Kind> {
        let imports = self.imports().iter();
        let names = imports.filter_map(|import| {
            let (_, name) = import.interface.split_once('/')?;
            name.split('@').next()
        });
        let of = |name| Kind::ALL.into_iter().find(|kind| kind.interface() == name);
        let kinds = names.filter_map(of);
        kinds.flat_map(Kind::needs).copied().collect()
    }

    /// The values of labels and annotations that make a difference to it.
    pub fn domains(&self) -> &[Domain] {
        &self.0.description.domains
    }

    /// What it can ask: the permissions that it needs.
    pub fn imports(&self) -> &[Import] {
        &self.0.imports
    }

    /// May it ask all that it can, where it is granted these interfaces?
    pub fn is_granted(&self, grants: Grants) -> bool {
        let mut names = self
            .0
            .imports
            .iter()
            .filter_map(|import| name_of(&import.interface));
        names.all(|name| !is_needed(name) || grants.has(name))
    }

    /// What it is made of.
    pub fn class(&self) -> Class {
        self.0.host.class
    }

    /// Bytes that its largest memory begins with, where that is known.
    pub fn memory(&self) -> Option<u64> {
        self.0.memory
    }

    /// The interface that it exports, such as `node-readiness:policy/decide@0.1.0`.
    pub fn interface(&self) -> &str {
        &self.0.interface
    }

    /// Version of the contract that it was built against.
    pub fn contract(&self) -> &str {
        let (_, version) = self.interface().split_once('@').unwrap_or_default();
        version
    }

    /// Does it run from code that was compiled when this program was built?
    pub fn is_precompiled(&self) -> bool {
        self.0.origin == Origin::BuiltIn
    }

    /// Where its native code came from.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// What is wrong with the parameters of this rule; empty: nothing. A policy that has no schema of
    /// parameters is not asked where there are some: it takes none.
    ///
    /// # Errors
    ///
    /// Where the policy fails; see [`FailureKind`](crate::FailureKind).
    pub fn check(&self, rule: &Arc<Rule>) -> Result<Vec<Problem>, Failure> {
        let given = rule.parameters.trim();
        if self.parameters().is_empty() && !matches!(given, "" | "{}") {
            let message =
                "the policy takes no parameters: its description has no schema of any; remove them";
            return Ok(vec![Problem {
                path: String::new(),
                message: message.to_owned(),
            }]);
        }
        let call = Call::Check(Arc::clone(rule));
        let (problems, _) = self.call::<(Vec<types::Problem>,)>(call, &self.0.exports.check);
        output::problems(problems?.0)
    }

    /// The policy's decision about the node behind these answers. What was read up to a failure is in the
    /// verdict as well.
    ///
    /// It blocks: a small policy some microseconds, a [`Large`](Class::Large) one up to milliseconds, and
    /// longer while others of its class take all slots. Asynchronous code asks a large one on another
    /// thread (`tokio::task::spawn_blocking`): the policy is cheap to clone, and all that goes in and
    /// comes out is `Send`.
    pub fn evaluate(&self, rule: &Arc<Rule>, answers: Box<dyn Answers>) -> Verdict {
        let call = Call::Evaluate(Arc::clone(rule), answers);
        let (answer, reads) = self.call::<Evaluated>(call, &self.0.exports.evaluate);
        Verdict {
            result: answer.and_then(|(answer,)| output::decision(answer, rule)),
            reads,
        }
    }

    fn call<R>(&self, call: Call, export: &ComponentExportIndex) -> (Result<R, Failure>, Vec<Read>)
    where
        R: ComponentNamedList + Lift,
    {
        let Loaded {
            host,
            allowance,
            instance,
            ..
        } = &*self.0;
        host.call(instance, *allowance, call, |store, instance| {
            let function = instance.get_typed_func::<(), R>(&mut *store, export)?;
            function.call(store, ())
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Calls something in a fresh instance.
    fn call<R>(
        &self,
        instance: &InstancePre<Sandbox>,
        allowance: Allowance,
        call: Call,
        then: impl FnOnce(&mut Store<Sandbox>, &Instance) -> wasmtime::Result<R>,
    ) -> (Result<R, Failure>, Vec<Read>) {
        // Outlives the store: a slot is free when its memory is.
        let _slot = self.slots.take();
        self.clock.wake();
        let mut store = Store::new(&self.engine, Sandbox::new(call, allowance));
        store.limiter(|sandbox| sandbox);
        store.set_epoch_deadline(allowance.ticks);
        store.set_hostcall_fuel(TRANSFER);
        let result = match instance.instantiate(&mut store) {
            Ok(instance) => then(&mut store, &instance)
                .map_err(|error| failure(&error, &allowance, FailureKind::WrongAbi)),
            Err(error) => Err(failure(&error, &allowance, FailureKind::HostError)),
        };
        (result, store.into_data().into_reads())
    }
}

fn typed<R>(
    store: &mut Store<Sandbox>,
    instance: &Instance,
    export: &ComponentExportIndex,
    name: &str,
) -> Result<wasmtime::component::TypedFunc<(), R>, String>
where
    R: ComponentNamedList + Lift,
{
    instance
        .get_typed_func::<(), R>(store, export)
        .map_err(|error| {
            let cause = error.root_cause();
            format!("`{name}` has another type: {cause}")
        })
}
