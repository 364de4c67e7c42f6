//! The default policy as a component: the same as natively, and small.

use std::sync::Arc;

use default_policy::Default as Native;
use guest_sdk::fake::Fake;
use guest_sdk::{Policy as _, Subject as NativeSubject};
use planner::facts::{Condition, Node};
use planner::question::Completion;
use planner::rule::{Enforcement, Matching, Requirement, Rule, Status};
use planner::verdict::{Decision, Subject};

use crate::{PATIENT, answers, bare, condition, now, rule};

#[test]
fn it_was_compiled_when_the_host_was_built() {
    let policy = PATIENT.default_policy().unwrap();
    assert!(policy.is_precompiled());
    assert_eq!(policy.name(), "default");
    assert_eq!(policy.interface(), "node-readiness:policy/decide@0.1.0");
    assert_eq!(policy.contract(), engine::CONTRACT);
    let schema: serde_json::Value = serde_json::from_str(policy.parameters()).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn it_is_small_and_imports_nothing_but_questions() {
    let path = guest_builder::path("default-policy").unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.len() <= 32 << 10, "{} bytes", bytes.len());
    // The same component as the one inside, compiled here.
    let policy = PATIENT.load(&bytes).unwrap();
    let built_in = PATIENT.default_policy().unwrap();
    assert_eq!(policy.digest(), built_in.digest());
    assert!(!policy.is_precompiled());
    let imports = |interface: &str, functions: &[&str]| engine::Import {
        interface: format!("node-readiness:policy/{interface}@0.1.0"),
        functions: functions.iter().map(|&name| name.into()).collect(),
    };
    let mut found = built_in.imports().to_vec();
    for import in &mut found {
        import.functions.sort();
    }
    found.sort_by(|a, b| a.interface.cmp(&b.interface));
    assert_eq!(
        found,
        [
            imports("bootstrap", &["completed", "reported-this-boot"]),
            imports(
                "node",
                &["condition-is", "has-condition", "heartbeat-within"]
            ),
            imports(
                "rule",
                &["match-policy", "mode", "parameters", "requirements"]
            ),
        ]
    );
}

#[test]
fn a_rule_without_conditions_opens_no_gate() {
    let policy = PATIENT.default_policy().unwrap();
    let mut rule = rule("empty");
    rule.requirements.clear();
    let failure = policy.evaluate(&Arc::new(rule), bare()).result.unwrap_err();
    assert_eq!(failure.kind, "PolicyError");
    assert_eq!(failure.message, "the rule has no conditions");
}

#[test]
fn what_is_wrong_with_parameters_is_told_with_its_place() {
    let policy = PATIENT.default_policy().unwrap();
    let mut rule = rule("any");
    for good in [
        "",
        "{}",
        r#"{"maxHeartbeatAge":"10m","minReadyTime":"30s"}"#,
    ] {
        rule.parameters = good.into();
        assert_eq!(policy.check(&Arc::new(rule.clone())), Ok(vec![]), "{good}");
    }
    rule.parameters = r#"{"a":1,"minReadyTime":"soon"}"#.into();
    let problems = policy.check(&Arc::new(rule)).unwrap();
    let paths: Vec<_> = problems.iter().map(|problem| &problem.path).collect();
    assert_eq!(paths, ["/a", "/minReadyTime"]);
}

/// Every rule with these two requirements, on every node: the component decides and asks as the
/// same code does natively with the SDK's fakes, so a policy's unit tests tell the truth.
#[test]
fn it_decides_as_its_unit_tests_see_it() {
    let policy = PATIENT.default_policy().unwrap();
    let fallbacks = [None, Some(Status::True), Some(Status::Unknown)];
    let shown = [
        None,
        Some("True"),
        Some("False"),
        Some("Unknown"),
        Some("Odd"),
    ];
    let completions = [
        Completion::None,
        Completion::ThisBoot,
        Completion::EarlierBoot,
    ];
    let mut compared = 0;
    for matching in Matching::ALL {
        for enforcement in Enforcement::ALL {
            for completion in completions {
                for required in Status::ALL {
                    for fallback in fallbacks {
                        for a in shown {
                            for b in shown {
                                let mut rule = rule("any");
                                rule.matching = *matching;
                                rule.enforcement = *enforcement;
                                rule.requirements = vec![
                                    requirement("A", *required, fallback),
                                    requirement("B", Status::True, None),
                                ];
                                let shown = [("A", a), ("B", b)];
                                let shown =
                                    shown.iter().filter_map(|(name, s)| Some((*name, (*s)?)));
                                let shown: Vec<_> = shown.collect();
                                let fake = fake(&rule, &shown, completion);
                                let node = Node {
                                    conditions: shown
                                        .iter()
                                        .map(|(n, s)| condition(n, s))
                                        .collect(),
                                    ..Node::default()
                                };
                                let rule = Arc::new(rule);
                                let verdict = policy.evaluate(&rule, answers(node, completion));
                                let native = Native::evaluate(&fake.facts()).unwrap();
                                assert_same(&verdict.result.unwrap(), &native);
                                assert_eq!(verdict.reads.len(), fake.asked().len());
                                compared += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(compared, 2 * 2 * 3 * 3 * 3 * 5 * 5);
}

/// The same with each set of parameters, and what they look at.
#[test]
fn with_parameters_it_decides_as_its_unit_tests_see_it() {
    let policy = PATIENT.default_policy().unwrap();
    let parameters = [
        r#"{"maxHeartbeatAge":"5m"}"#,
        r#"{"minReadyTime":"30s"}"#,
        r#"{"rearmOnReboot":true}"#,
        r#"{"maxHeartbeatAge":"5m","minReadyTime":"30s","rearmOnReboot":true}"#,
    ];
    let mut compared = 0;
    for parameters in parameters {
        for enforcement in Enforcement::ALL {
            for completion in [Completion::None, Completion::EarlierBoot] {
                for required in Status::ALL {
                    for heartbeat in [None, Some(1), Some(301), Some(999)] {
                        for lasting in [1, 31] {
                            let mut rule = rule("any");
                            rule.parameters = parameters.into();
                            rule.enforcement = *enforcement;
                            rule.requirements = vec![requirement("A", *required, None)];
                            let span = std::time::Duration::from_secs;
                            let fake = fake(&rule, &[], completion).parameters(parameters);
                            let fake = fake.condition_for("A", native(Status::True), span(lasting));
                            // The node was seen in a new boot 500 s ago.
                            let fake = match heartbeat {
                                Some(age) if age < 500 => fake.heartbeat("A", span(age)),
                                Some(age) => fake.heartbeat_before_reboot("A", span(age)),
                                None => fake,
                            };
                            let shown = Condition {
                                changed: Some(now() - span(lasting)),
                                heartbeat: heartbeat.map(|age| now() - span(age)),
                                ..condition("A", "True")
                            };
                            let node = Node {
                                conditions: vec![shown],
                                ..Node::default()
                            };
                            let mut answers = answers(node, completion);
                            answers.rebooted = Some(now() - span(500));
                            let verdict = policy.evaluate(&Arc::new(rule), answers);
                            let decision = verdict.result.unwrap();
                            assert_same(&decision, &Native::evaluate(&fake.facts()).unwrap());
                            assert_eq!(verdict.reads.len(), fake.asked().len());
                            compared += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(compared, 4 * 2 * 2 * 3 * 4 * 2);
}

fn requirement(condition: &str, required: Status, fallback: Option<Status>) -> Requirement {
    Requirement {
        condition: condition.into(),
        required,
        fallback,
    }
}

fn native(status: Status) -> guest_sdk::Status {
    match status {
        Status::True => guest_sdk::Status::True,
        Status::False => guest_sdk::Status::False,
        Status::Unknown => guest_sdk::Status::Unknown,
    }
}

fn fake(rule: &Rule, shown: &[(&str, &str)], completion: Completion) -> Fake {
    let mut fake = Fake::new().completed(match completion {
        Completion::None => guest_sdk::Completion::None,
        Completion::ThisBoot => guest_sdk::Completion::ThisBoot,
        Completion::EarlierBoot => guest_sdk::Completion::EarlierBoot,
    });
    if rule.matching == Matching::AnyOf {
        fake = fake.any_of();
    }
    if rule.enforcement == Enforcement::BootstrapOnly {
        fake = fake.bootstrap_only();
    }
    for Requirement {
        condition,
        required,
        fallback,
    } in &rule.requirements
    {
        fake = match fallback {
            Some(fallback) => fake.requires_or(condition, native(*required), native(*fallback)),
            None => fake.requires(condition, native(*required)),
        };
    }
    for (name, status) in shown {
        fake = match Status::parse(status) {
            Some(status) => fake.condition(name, native(status)),
            None => fake.odd_condition(name),
        };
    }
    fake
}

fn assert_same(decision: &Decision, native: &guest_sdk::Decision) {
    assert_eq!(
        format!("{:?}", decision.taint),
        format!("{:?}", native.taint)
    );
    assert_eq!(decision.complete_bootstrap, native.complete_bootstrap);
    assert_eq!(decision.per_boot, native.per_boot);
    assert_eq!(decision.reason, native.reason);
    assert_eq!(decision.message, native.message);
    assert_eq!(decision.findings.len(), native.findings.len());
    for (finding, native) in decision.findings.iter().zip(&native.findings) {
        assert_eq!(finding.met, native.met);
        match (&finding.subject, &native.subject) {
            (Subject::Requirement(a), NativeSubject::Requirement(b)) => assert_eq!(a, b),
            (a, b) => panic!("{a:?} {b:?}"),
        }
    }
}
