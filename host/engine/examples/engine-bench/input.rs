//! A rule with four conditions, and a node as large as they are: 5 kB, all of it satisfied.

use std::sync::Arc;

use planner::Timestamp;
use planner::facts::{Condition, Node, Observed, Taint};
use planner::question::{Completion, NodeAnswers};
use planner::rule::{
    DEFAULT_POLICY, Effect, Enforcement, Matching, Requirement, Rule, Status, TaintId,
};

pub(crate) fn rule() -> Rule {
    let requirement = |condition: &str, required| Requirement {
        condition: condition.into(),
        required,
        fallback: None,
    };
    Rule {
        name: "network-and-storage".into(),
        uid: "c2a4a9a5-6d11-4a33-9a0d-3a4b7a1c5f11".into(),
        created: None,
        terminating: false,
        dry_run: false,
        taint: taint(),
        taint_value: None,
        requirements: vec![
            requirement("readiness.example.com/network", Status::True),
            requirement("readiness.example.com/storage", Status::True),
            requirement("readiness.example.com/gpu-driver-broken", Status::False),
            requirement("Ready", Status::True),
        ],
        matching: Matching::AllOf,
        enforcement: Enforcement::Continuous,
        policy: DEFAULT_POLICY.into(),
        parameters: String::new(),
        suspended: false,
        replaces: None,
        budget: None,
    }
}

/// As slow as it gets: each condition is asked about three times.
pub(crate) fn rule_with_parameters() -> Rule {
    Rule {
        enforcement: Enforcement::BootstrapOnly,
        parameters: r#"{"maxHeartbeatAge":"15m","minReadyTime":"30s","rearmOnReboot":true}"#.into(),
        ..rule()
    }
}

/// Everything was reported a minute ago, in a new boot.
pub(crate) fn rebooted() -> NodeAnswers {
    let minute = std::time::Duration::from_secs(60);
    NodeAnswers {
        completion: Completion::EarlierBoot,
        rebooted: Some(Timestamp::UNIX_EPOCH - minute),
        now: Timestamp::UNIX_EPOCH + minute,
        ..facts()
    }
}

fn taint() -> TaintId {
    TaintId {
        key: "readiness.k8s.io/network-and-storage".into(),
        effect: Effect::NoSchedule,
    }
}

pub(crate) fn facts() -> NodeAnswers {
    NodeAnswers {
        node: Arc::new(node()),
        related: Default::default(),
        taint: taint(),
        completion: Completion::None,
        rebooted: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn node() -> Node {
    let condition = |name: &str, status: &str| Condition {
        name: name.into(),
        status: Observed::parse(status),
        reason: format!("{}Reason", name.replace(['.', '/', '-'], "")),
        changed: Some(Timestamp::UNIX_EPOCH),
        heartbeat: Some(Timestamp::UNIX_EPOCH),
    };
    let entries = |prefix: &str, count: usize, value: usize| {
        (0..count)
            .map(|index| (format!("{prefix}/key-{index}"), "v".repeat(value)))
            .collect()
    };
    Node {
        name: "worker-0042.eu-central-1.compute.internal".into(),
        uid: "5f0e6a4e-0d5c-4ab0-93a4-2f1f3c0de042".into(),
        labels: entries("topology.example.com", 24, 24),
        annotations: entries("agent.example.com", 12, 224),
        taints: vec![Taint {
            key: taint().key,
            effect: Some(Effect::NoSchedule),
            value: "pending".into(),
        }],
        conditions: vec![
            condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"),
            condition("PIDPressure", "False"),
            condition("NetworkUnavailable", "False"),
            condition("Ready", "True"),
            condition("readiness.example.com/network", "True"),
            condition("readiness.example.com/storage", "True"),
            condition("readiness.example.com/gpu-driver-broken", "False"),
        ],
        ..Node::default()
    }
}

/// Bytes of text in the node.
pub(crate) fn size() -> usize {
    let node = node();
    let map = node.labels.iter().chain(node.annotations.iter());
    let conditions = node.conditions.iter();
    node.name.len()
        + node.uid.len()
        + map.map(|(key, value)| key.len() + value.len()).sum::<usize>()
        // Status and two time stamps as the API writes them.
        + conditions.map(|it| it.name.len() + it.reason.len() + 45).sum::<usize>()
}
