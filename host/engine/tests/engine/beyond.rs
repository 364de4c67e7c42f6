//! Questions about what stands beside the node: asked only where they are granted, and recorded.

use std::sync::Arc;

use engine::{FailureKind, Grants, LoadError, PolicyLimits};
use planner::pods::{Kin, Phase, Pod, PodSelection, Ready};
use planner::question::{Answer, Completion, NodeAnswers, Question, Read};
use planner::related::{Kind, Related};

use crate::components::{Parts, component};
use crate::{ENGINE, now, rule};

const IMPORT: &str = r#"(import "node-readiness:policy/pods@0.1.0" "has-pod"
    (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;

/// A policy that asks whether there is any pod on the node, by a selection with so many labels.
fn asks(labels: usize) -> Vec<u8> {
    let pods = std::fs::read_to_string(guest_builder::workspace().join("wit/pods.wit")).unwrap();
    let (_, pods) = pods.split_once(";\n").unwrap();
    let pods = format!("{pods}\n/// A readiness policy.\nworld policy {{ import pods;");
    let zero = "(i32.const 0)";
    component(&Parts {
        contract: &[("/// A readiness policy.\nworld policy {", &pods)],
        imports: IMPORT,
        evaluate: &format!(
            "(drop (call $ask {} (i32.const 8192) (i32.const {labels})))",
            zero.repeat(8)
        ),
        ..Parts::default()
    })
}

fn granted(names: &[&str]) -> PolicyLimits {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    PolicyLimits {
        grants: Grants::of(&names).unwrap(),
        ..PolicyLimits::default()
    }
}

fn answers(pods: Option<Vec<Pod>>) -> Box<NodeAnswers> {
    Box::new(NodeAnswers {
        node: Arc::default(),
        related: Related {
            pods: pods.map(Into::into),
            ..Related::nothing()
        },
        taint: rule("any").taint,
        completion: Completion::None,
        rebooted: None,
        now: now(),
    })
}

#[test]
fn what_is_not_granted_is_not_loaded() {
    let bytes = asks(0);
    for limits in [
        PolicyLimits::default(),
        granted(&["node-readiness:policy/node"]),
    ] {
        let error = ENGINE.load_with(&bytes, &limits, None).unwrap_err();
        assert!(matches!(error, LoadError::NotGranted { .. }), "{error}");
        assert_eq!(
            (error.as_str(), error.to_string().as_str()),
            (
                "NotAllowed",
                "it asks node-readiness:policy/pods, which it is not granted"
            )
        );
    }
    // Nor is what everybody has by default, where somebody says otherwise.
    let only_pods = granted(&["node-readiness:policy/pods"]);
    let error = ENGINE
        .load_with(engine::DEFAULT_POLICY, &only_pods, None)
        .unwrap_err();
    assert!(
        error.to_string().contains("node-readiness:policy/node and"),
        "{error}"
    );
}

#[test]
fn what_is_asked_is_answered_and_recorded() {
    let limits = granted(&["node-readiness:policy/pods"]);
    let policy = ENGINE.load_with(&asks(0), &limits, None).unwrap();
    assert_eq!(policy.imports()[0].functions, ["has-pod"]);
    assert_eq!(policy.asks(), [Kind::Pods].into());
    assert!(ENGINE.default_policy().unwrap().asks().is_empty());
    let pod = Pod {
        id: [0, 1],
        kin: Arc::new(Kin::default()),
        phase: Phase::Running,
        ready: Ready::No,
    };
    for (pods, is_there) in [(vec![], false), (vec![pod], true)] {
        let verdict = policy.evaluate(&Arc::new(rule("any")), answers(Some(pods)));
        assert_eq!(verdict.result.unwrap().reason, "Fine");
        let read = Read {
            question: Question::HasPod {
                pods: Box::new(PodSelection::default()),
            },
            answer: Answer::Bool(is_there),
            until: None,
        };
        assert_eq!(read.question.about(), Some(Kind::Pods));
        assert_eq!(verdict.reads, [read]);
    }
    // What is not known is not absent.
    let failure = policy.evaluate(&Arc::new(rule("any")), answers(None));
    let failure = failure.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::HostError.as_str());
    let many = ENGINE.load_with(&asks(33), &limits, None).unwrap();
    let failure = many.evaluate(&Arc::new(rule("any")), answers(Some(vec![])));
    let failure = failure.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooManyQuestions.as_str());
}

/// Whether the pods of DaemonSets run is seen by their pods: both have to be there before it decides.
#[test]
fn whoever_asks_about_daemon_sets_needs_their_pods_and_no_grant_for_them() {
    let mut built_in = engine::BUILT_IN.iter();
    let (_, bytes) = built_in
        .find(|(name, _)| *name == "daemon-sets-ready")
        .unwrap();
    let own = ["node", "rule", "bootstrap", "daemonsets"];
    let own = own.map(|name| format!("node-readiness:policy/{name}"));
    let limits = granted(&own.each_ref().map(String::as_str));
    let policy = ENGINE.load_with(bytes, &limits, None).unwrap();
    assert_eq!(policy.asks(), [Kind::Pods, Kind::DaemonSets].into());
}

/// Every kind of facts is an interface that can be granted.
#[test]
fn each_kind_can_be_granted() {
    for kind in Kind::ALL {
        granted(&[&format!("node-readiness:policy/{}", kind.interface())]);
    }
}
