//! The contract: its generated types, and how they become the planner's.

use planner::daemon_sets::DaemonSetSelection;
use planner::pods::{Controller, Label, Phase, PodSelection};
use planner::question::Completion;
use planner::rule::{Effect, Enforcement, Matching, Requirement, Status};
use planner::verdict::TaintAction;

pub(crate) use generated::exports::node_readiness::policy::decide;
pub(crate) use generated::node_readiness::policy::{
    bootstrap, csi, daemonsets, devices, lease, node, pods, rule, time, types,
};

pub(crate) use surface::{INTERFACES, VERSION};

/// Package of the contract, without its version.
pub(crate) const PACKAGE: &str = "node-readiness:policy";

/// Interface of the contract that a policy exports.
pub(crate) const DECIDE: &str = "decide";

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "policy-with-facts",
        imports: { default: trappable },
    });
}

/// Version and imports, as the build script read them from the text of the contract.
mod surface {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

/// Two enums with the same variants.
macro_rules! same {
    ($from:ty => $to:ty { $($variant:ident),* }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value { $(<$from>::$variant => Self::$variant),* }
            }
        }
    };
}

same!(Status => types::Status { True, False, Unknown });
same!(types::Status => Status { True, False, Unknown });
same!(types::Effect => Effect { NoSchedule, PreferNoSchedule, NoExecute });
same!(Matching => types::Matching { AllOf, AnyOf });
same!(Enforcement => types::Enforcement { BootstrapOnly, Continuous });
same!(Completion => types::Completion { None, ThisBoot, EarlierBoot });
same!(pods::Phase => Phase { Pending, Running, Succeeded, Failed, Unknown });
same!(types::TaintAction => TaintAction { Present, Absent, Keep });

impl From<&Requirement> for types::Requirement {
    fn from(requirement: &Requirement) -> Self {
        Self {
            condition: requirement.condition.clone(),
            required: requirement.required.into(),
            fallback: requirement.fallback.map(Into::into),
        }
    }
}

impl From<pods::Selection> for PodSelection {
    fn from(selection: pods::Selection) -> Self {
        let controller = selection.controller;
        let label = |label: pods::Label| Label {
            key: label.key,
            value: label.value,
        };
        Self {
            namespace: selection.namespace,
            controller: controller.map(|pods::Controller { kind, name }| Controller { kind, name }),
            labels: selection.labels.into_iter().map(label).collect(),
        }
    }
}

impl From<daemonsets::Selection> for DaemonSetSelection {
    fn from(selection: daemonsets::Selection) -> Self {
        let label = |label: daemonsets::Label| Label {
            key: label.key,
            value: label.value,
        };
        Self {
            namespace: selection.namespace,
            labels: selection.labels.into_iter().map(label).collect(),
        }
    }
}
