//! Each limit of the sandbox, and the failure that tells it from the others.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, FailureKind, Limits, Policy};
use planner::Timestamp;
use planner::facts::{Node, Taint};
use planner::question::{Answer, Answers, Completion, Question};
use planner::rule::{Effect, Status};
use planner::verdict::{Decision, Subject, Verdict};

use crate::components::{Parts, component};
use crate::{ENGINE, answers, bare, condition, hostile, now, rule, small};

fn evaluate(name: &str) -> Verdict {
    hostile(&ENGINE).evaluate(&Arc::new(rule(name)), bare())
}

fn decision(name: &str) -> Decision {
    evaluate(name).result.unwrap()
}

/// What is left of a failure after checking its kind: the message. And one failure must not
/// disturb the next evaluation.
fn fails(name: &str, kind: FailureKind) -> String {
    let policy = hostile(&ENGINE);
    let failure = policy.evaluate(&Arc::new(rule(name)), bare()).result;
    let failure = failure.expect_err(name);
    assert_eq!(failure.kind, kind.as_str(), "{name}: {}", failure.message);
    let next = policy.evaluate(&Arc::new(rule("fine")), bare()).result;
    assert_eq!(next.unwrap().reason, "Fine", "after {name}");
    failure.message
}

#[test]
fn a_policy_that_takes_too_long_is_interrupted() {
    for name in ["loop", "loop-asking"] {
        let message = fails(name, FailureKind::DeadlineExceeded);
        assert_eq!(message, "it ran longer than 100ms");
    }
}

#[test]
fn a_policy_that_takes_too_much_memory_is_stopped() {
    for name in ["allocate", "allocate-at-once"] {
        let message = fails(name, FailureKind::MemoryExceeded);
        assert!(message.ends_with("; 8 MiB are allowed"), "{message}");
    }
}

#[test]
fn a_table_that_grows_too_large_is_stopped() {
    let bytes = component(&Parts {
        module: "(table 1 funcref)",
        evaluate: "(drop (table.grow (ref.null func) (i32.const 100000)))",
        ..Parts::default()
    });
    let policy = ENGINE.load(&bytes).unwrap();
    let failure = policy.evaluate(&Arc::new(rule("any")), bare()).result;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, "MemoryExceeded");
    assert_eq!(
        failure.message,
        "it wanted a table of 100001 elements; 10000 are allowed"
    );
}

#[test]
fn deep_recursion_ends_on_either_stack() {
    fails("recurse", FailureKind::StackOverflow);
    let message = fails("recurse-with-frames", FailureKind::Trapped);
    assert!(message.contains("outside its memory"), "{message}");
}

#[test]
fn a_panic_is_a_trap() {
    let message = fails("panic", FailureKind::Trapped);
    assert!(message.contains("panic"), "{message}");
}

#[test]
fn an_error_of_the_policy_is_its_own_sentence_on_one_line() {
    assert_eq!(fails("error", FailureKind::PolicyError), "no idea");
    let without = fails("error-empty", FailureKind::PolicyError);
    assert_eq!(without, "the policy gave no reason");
    fails("error-long", FailureKind::InvalidDecision);
}

#[test]
fn what_is_handed_over_is_limited() {
    for name in ["error-huge", "huge-message", "ask-huge"] {
        fails(name, FailureKind::OutputTooLarge);
    }
}

#[test]
fn questions_are_limited_in_number_and_size() {
    let message = fails("ask-many", FailureKind::TooManyQuestions);
    assert_eq!(message, "it asked more than 1024 different questions");
    assert_eq!(evaluate("ask-many").reads.len(), 1024);
    let message = fails("ask-long", FailureKind::TooManyQuestions);
    assert_eq!(message, "it asked more than 256 KiB of questions");
}

#[test]
fn a_decision_keeps_the_limits_of_the_contract() {
    for (name, part) in [
        ("long-message", "1025 bytes"),
        ("no-reason", r#""""#),
        ("lower-reason", r#""fine""#),
        ("spaced-reason", r#""Quite Fine""#),
        ("long-reason", "CamelCase"),
        ("complete-present", "Present"),
        ("complete-keep", "Keep"),
        ("many-findings", "65 findings"),
        ("no-such-requirement", "requirement 1, and the rule has 1"),
        ("long-subject", "257 bytes"),
    ] {
        let message = fails(name, FailureKind::InvalidDecision);
        assert!(message.contains(part), "{name}: {message}");
    }
    // And may go up to them.
    assert_eq!(decision("longest-message").message.len(), 1024);
    assert_eq!(decision("longest-reason").reason.len(), 64);
    assert_eq!(decision("most-findings").findings.len(), 64);
    let finding = decision("other-subject").findings.remove(0);
    assert_eq!(finding.subject, Subject::Other("pods app=driver".into()));
    assert!(!finding.met);
}

#[test]
fn no_text_of_a_policy_can_steer_a_terminal() {
    let decided = decision("control-characters");
    assert_eq!(decided.message, "one two [31m three  four   .");
    let finding = &decided.findings[0].subject;
    assert_eq!(finding, &Subject::Other("five  ".into()));
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    // A reason beyond the memory, a reason that is not UTF-8, a taint action that does not exist.
    for evaluate in [
        "(i32.store (i32.const 72) (i32.const 0x7fffffff))",
        "(i32.store8 (i32.const 160) (i32.const 0xff))",
        "(i32.store8 (i32.const 68) (i32.const 9))",
    ] {
        let bytes = component(&Parts {
            evaluate,
            ..Parts::default()
        });
        let policy = ENGINE.load(&bytes).unwrap();
        let failure = policy.evaluate(&Arc::new(rule("any")), bare()).result;
        let failure = failure.expect_err(evaluate);
        assert_eq!(failure.kind, "WrongAbi", "{evaluate}: {}", failure.message);
    }
}

#[test]
fn what_was_read_before_a_failure_is_kept() {
    let verdict = evaluate("read-then-panic");
    assert_eq!(verdict.result.unwrap_err().kind, "Trapped");
    let questions: Vec<_> = verdict.reads.iter().map(|read| &read.question).collect();
    let condition = "A".into();
    let key = "zone".into();
    assert_eq!(
        questions,
        [
            &Question::HasCondition { condition },
            &Question::Label { key }
        ]
    );
}

/// Says yes and no in turn, whatever is asked.
struct Fickle(bool);

impl Answers for Fickle {
    fn answer(&mut self, _: &Question) -> (Answer, Option<Timestamp>) {
        self.0 = !self.0;
        (Answer::Bool(self.0), Some(now()))
    }
}

#[test]
fn one_question_has_one_answer_and_one_record() {
    let policy = hostile(&ENGINE);
    let verdict = policy.evaluate(&Arc::new(rule("ask-twice")), Box::new(Fickle(false)));
    assert_eq!(verdict.result.as_ref().unwrap().message, "true false true");
    assert_eq!(verdict.reads.len(), 2);
    assert_eq!(verdict.ask_again_at(), Some(now()));
}

#[test]
fn an_answer_of_the_wrong_type_is_the_hosts_failure() {
    let policy = hostile(&ENGINE);
    let rule = Arc::new(rule("ask-everything"));
    let verdict = policy.evaluate(&rule, Box::new(Fickle(false)));
    assert_eq!(verdict.result.unwrap_err().kind, "HostError");
}

#[test]
fn a_fresh_instance_hides_what_another_stored() {
    let policy = hostile(&ENGINE);
    for _ in 0..100 {
        let verdict = policy.evaluate(&Arc::new(rule("count")), bare());
        assert_eq!(verdict.result.unwrap().message, "0");
    }
}

#[test]
fn every_function_of_the_contract_arrives() {
    let minutes = |minutes: u64| now() - Duration::from_secs(60 * minutes);
    let mut ready = condition("Ready", "True");
    ready.reason = "KubeletReady".into();
    ready.changed = Some(minutes(2));
    ready.heartbeat = Some(minutes(1));
    let node = Node {
        name: "worker".into(),
        labels: [("l", "1")].into(),
        annotations: [("a", "2")].into(),
        created: Some(minutes(3)),
        taints: vec![Taint {
            key: "k".into(),
            effect: Some(Effect::NoExecute),
            value: String::new(),
        }],
        unschedulable: true,
        conditions: vec![ready],
        extended: [("example.com/gpu".into(), 8)].into(),
        ..Node::default()
    };
    let mut rule = rule("ask-everything");
    rule.parameters = "{}".into();
    rule.requirements[0].fallback = Some(Status::False);
    let policy = hostile(&ENGINE);
    let verdict = policy.evaluate(&Arc::new(rule), answers(node, Completion::EarlierBoot));
    assert_eq!(
        verdict.result.unwrap().message,
        "true true true Some(True) Some(\"KubeletReady\") false true true true true Some(\"1\") \
         Some(\"2\") worker | ask-everything [Requirement { condition: \"Ready\", required: True, \
         fallback: Some(False) }] AllOf Continuous {} | EarlierBoot true false"
    );
    assert_eq!(verdict.reads.len(), 16);
}

#[test]
fn check_may_ask_about_the_rule_only() {
    let policy = hostile(&ENGINE);
    let check = |name: &str| policy.check(&Arc::new(rule(name)));
    assert_eq!(check("fine"), Ok(vec![]));
    let found = check("check-finds").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, "/zone");
    assert_eq!(found[0].message, "no such  [31mzone");
    for (name, kind) in [
        ("check-many", FailureKind::InvalidProblem),
        ("check-path", FailureKind::InvalidProblem),
        ("check-long", FailureKind::InvalidProblem),
        ("check-panics", FailureKind::Trapped),
        ("check-asks", FailureKind::QuestionNotAllowed),
    ] {
        let failure = check(name).expect_err(name);
        assert_eq!(failure.kind, kind.as_str(), "{name}: {}", failure.message);
    }
    let failure = check("check-asks").unwrap_err();
    assert_eq!(
        failure.message,
        "it asked `node.tainted` in `check`, where only `rule` may be asked"
    );
}

#[test]
fn a_policy_without_a_schema_takes_no_parameters() {
    let policy = ENGINE.load(&component(&Parts::default())).unwrap();
    assert_eq!(policy.parameters(), "");
    let check = |policy: &Policy, parameters: &str| {
        let mut rule = rule("fine");
        rule.parameters = parameters.into();
        policy.check(&Arc::new(rule)).unwrap()
    };
    for none in ["", "{}", " {} "] {
        assert_eq!(check(&policy, none), [], "{none}");
    }
    let found = check(&policy, r#"{"zone":"a"}"#);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, "");
    assert!(
        found[0].message.contains("takes no parameters"),
        "{found:?}"
    );
    assert_eq!(
        check(&hostile(&ENGINE), r#"{"zone":"a"}"#),
        [],
        "it has one"
    );
}

#[test]
fn limits_are_options() {
    let failure = |name: &str, deadline: Duration| {
        let options = small(|small| {
            *small = Limits {
                deadline,
                memory: 1 << 20,
                slots: 1,
            }
        });
        let policy = hostile(&Engine::new(&options).unwrap());
        let verdict = policy.evaluate(&Arc::new(rule(name)), bare());
        verdict.result.expect_err(name).message
    };
    let said = failure("loop", Duration::from_millis(5));
    assert_eq!(said, "it ran longer than 5ms");
    // Time enough, however busy the machine is.
    let said = failure("allocate", Duration::from_secs(60));
    assert!(said.ends_with("1 MiB are allowed"), "{said}");
}
