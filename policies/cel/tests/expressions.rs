//! What expressions say of a node, and what is refused.
#![expect(clippy::expect_used, reason = "a test")]

use core::time::Duration;

use cel_policy::Cel;
use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Decision, Effect, Policy, Status, TaintAction};

/// A rule with this expression.
fn with(fake: &Fake, expression: &str) -> Fake {
    let text = format!("{expression:?}");
    fake.clone()
        .parameters(&format!("{{\"expression\":{text}}}"))
}

fn decide(fake: &Fake, expression: &str) -> Result<Decision, String> {
    Cel::evaluate(&with(fake, expression).facts())
}

#[track_caller]
fn is(fake: &Fake, expression: &str, ready: bool) {
    let decision = decide(fake, expression).expect(expression);
    let wanted = if ready {
        TaintAction::Absent
    } else {
        TaintAction::Present
    };
    assert_eq!(decision.taint, wanted, "{expression}");
    assert_eq!(problems(expression), [""; 0], "{expression}");
}

fn problems(expression: &str) -> Vec<String> {
    told(&with(&Fake::new(), expression))
        .into_iter()
        .map(|(path, message)| {
            assert_eq!(path, "/expression");
            message
        })
        .collect()
}

fn told(fake: &Fake) -> Vec<(String, String)> {
    let problems = Cel::check(&fake.facts().rule);
    let told = problems.into_iter();
    told.map(|problem| (problem.path, problem.message))
        .collect()
}

fn node() -> Fake {
    Fake::new()
        .condition_for("Ready", Status::True, Duration::from_secs(60))
        .condition("example.com/Driver", Status::False)
        .odd_condition("Odd")
        .heartbeat("Ready", Duration::from_secs(10))
        .reason("example.com/Driver", "StillLoading")
        .label("zone", "eu-1")
        .label("worker", "")
        .annotation("owner", "platform")
        .taint("example.com/maintenance", Effect::NoExecute)
        .allocatable("nvidia.com/gpu", 8)
        .allocatable("example.com/nic", 0)
        .age(Duration::from_secs(600))
        .now(Duration::from_secs(1_782_907_200))
}

#[test]
fn every_question_of_the_contract_can_be_asked() {
    let node = node();
    for (expression, ready) in [
        ("hasCondition('Ready')", true),
        ("hasCondition('None')", false),
        ("conditionIs('Ready', 'True')", true),
        ("conditionIs('Ready', 'False')", false),
        ("conditionIs('Ready', 'True', '1m')", true),
        ("conditionIs('Ready', 'True', '61s')", false),
        ("heartbeatWithin('Ready', '10s')", true),
        ("heartbeatWithin('Ready', '9s')", false),
        ("condition('example.com/Driver') == 'False'", true),
        ("condition('Odd') == 'Unknown'", true),
        ("condition('None') == ''", true),
        (
            "conditionReason('example.com/Driver') == 'StillLoading'",
            true,
        ),
        ("conditionReason('Ready') == ''", true),
        ("hasLabel('worker')", true),
        ("hasLabel('gpu')", false),
        ("label('zone').startsWith('eu-')", true),
        ("label('gpu') in ['a', 'b']", false),
        ("hasAnnotation('owner')", true),
        ("hasAnnotation('zone')", false),
        ("annotation('owner') == 'platform'", true),
        ("hasTaint('example.com/maintenance', 'NoExecute')", true),
        ("hasTaint('example.com/maintenance', 'NoSchedule')", false),
        ("tainted()", false),
        ("unschedulable()", false),
        ("olderThan('10m')", true),
        ("olderThan('601s')", false),
        ("allocatableAtLeast('nvidia.com/gpu', '8')", true),
        ("allocatableAtLeast('nvidia.com/gpu', '9')", false),
        ("allocatableAtLeast('example.com/nic', '0')", true),
        ("allocatableAtLeast('example.com/none', '0')", false),
        ("name() == 'node'", true),
        ("completed()", false),
        ("reportedThisBoot('Ready')", true),
        ("reportedThisBoot('example.com/Driver')", false),
        ("reached('2026-07-01T12:00:00Z')", true),
        ("reached('2026-07-01T12:00:01Z')", false),
    ] {
        is(&node, expression, ready);
    }
    let marked = node.tainted().unschedulable();
    is(&marked, "tainted() && unschedulable()", true);
}

#[test]
fn the_rules_own_conditions_count_as_for_the_default_policy() {
    let both = node()
        .requires("Ready", Status::True)
        .requires("example.com/Driver", Status::True);
    is(&both, "requirementsMet()", false);
    is(&both.any_of(), "requirementsMet()", true);
    let absent = Fake::new().requires("Absent", Status::False);
    is(&absent, "requirementsMet()", false);
    let fallback = Fake::new().requires_or("Absent", Status::False, Status::False);
    is(&fallback, "requirementsMet()", true);
    let unknown = Fake::new().requires("Absent", Status::Unknown);
    is(&unknown, "requirementsMet()", true);
    is(&Fake::new(), "requirementsMet()", false);
}

#[test]
fn operators_macros_and_text_functions_are_those_of_cel() {
    let node = node();
    for (expression, ready) in [
        ("true", true),
        ("!true || 1 + 2 * 3 == 7", true),
        ("label('zone') == 'eu-1' ? hasLabel('worker') : false", true),
        ("['Ready', 'None'].all(c, hasCondition(c))", false),
        ("['Ready', 'None'].exists(c, hasCondition(c))", true),
        ("['a', 'b'].exists_one(c, c == 'b')", true),
        ("size(['zone', 'gpu'].filter(k, hasLabel(k))) == 1", true),
        ("['zone'].map(k, label(k)) == ['eu-1']", true),
        ("'zone' in {'zone': 1}", true),
        (
            "size(label('zone')) == 4 && label('zone').size() == 4",
            true,
        ),
        (
            "int('4') == 4 && string(4) == '4' && double('4') == 4.0",
            true,
        ),
        (
            "label('zone').endsWith('1') && label('zone').contains('u-')",
            true,
        ),
        // What fails on one side does not matter where the other one decides.
        ("int(label('gpu')) > 1 || true", true),
    ] {
        is(&node, expression, ready);
    }
}

/// The last question stands for all after it: they are not asked.
#[test]
fn no_more_is_asked_than_decides() {
    let fake = with(&node(), "hasCondition('None') && hasLabel('zone')");
    Cel::evaluate(&fake.facts()).expect("a decision");
    assert_eq!(fake.asked(), ["has-condition(None)"]);
}

#[test]
fn a_bootstrap_is_completed_once_and_not_taken_back() {
    let decide = |completed: Option<Completion>, expression: &str| {
        let fake = Fake::new().bootstrap_only();
        let fake = completed.map_or(fake.clone(), |completed| fake.completed(completed));
        let decision = decide(&fake, expression).expect("a decision");
        (decision.taint, decision.complete_bootstrap, decision.reason)
    };
    let told = |taint, completes, reason: &str| (taint, completes, reason.to_owned());
    let done = Some(Completion::ThisBoot);
    use TaintAction::{Absent, Keep, Present};
    assert_eq!(
        decide(None, "true"),
        told(Absent, true, "BootstrapCompleted")
    );
    assert_eq!(decide(done, "true"), told(Absent, false, "ExpressionTrue"));
    assert_eq!(
        decide(None, "false"),
        told(Present, false, "ExpressionFalse")
    );
    assert_eq!(
        decide(done, "false"),
        told(Keep, false, "BootstrapAlreadyCompleted")
    );
}

#[test]
fn the_message_is_for_a_node_that_is_held() {
    let said = |expression: &str| {
        let parameters = format!(r#"{{"expression":"{expression}","message":"ask \"us\"\n"}}"#);
        let fake = Fake::new().parameters(&parameters);
        Cel::evaluate(&fake.facts()).expect("a decision").message
    };
    assert_eq!(said("false"), "ask \"us\"\n");
    assert_eq!(said("true"), "");
}

#[test]
fn what_does_not_parse_or_is_not_known_is_refused_with_its_place() {
    for (expression, problem) in [
        ("", "line 1, column 1: "),
        ("conditionIs('Ready', 'True'", "line 1, column 28: "),
        ("true &&\n  (true ||)", "line 2, column 11: "),
        ("true & true", "line 1, column 6: "),
        (
            "true\n&& node.ready",
            "line 2, column 4: unknown variable 'node'; ",
        ),
        (
            "['a'].all(x, x == y)",
            "line 1, column 19: unknown variable 'y'; ",
        ),
        (
            "has(node.labels)",
            "line 1, column 5: unknown variable 'node'; ",
        ),
        (
            "'x' == 'x' && x == 'x'",
            "line 1, column 15: unknown variable 'x'; ",
        ),
        (
            "true && ready()",
            "line 1, column 9: unknown function 'ready'; ",
        ),
        (
            "label('a').matches('b')",
            "line 1, column 12: unknown method 'matches'; ",
        ),
        (
            "'Ready'.hasCondition()",
            "line 1, column 9: unknown method 'hasCondition'; ",
        ),
        ("Node{a: 1} == 1", "line 1, column 1: unknown type 'Node'"),
        (
            "hasCondition()",
            "line 1, column 1: 'hasCondition' takes 1 arguments, not 0",
        ),
        (
            "conditionIs('Ready')",
            "line 1, column 1: 'conditionIs' takes 2 or 3 arguments, not 1",
        ),
        (
            "size() == 1",
            "line 1, column 1: 'size' takes 1 argument, not 0",
        ),
        (
            "label('a').startsWith()",
            "line 1, column 12: 'startsWith' takes 1 arguments, not 0",
        ),
        (
            "conditionIs('Ready', 'true')",
            "line 1, column 1: 'true' is not a status: ",
        ),
        (
            "conditionIs('Ready', true)",
            "line 1, column 1: an argument of 'conditionIs' is a bool, and must be a string",
        ),
        (
            "!heartbeatWithin('Ready', '5 minutes')",
            "line 1, column 2: '5 minutes' is not a duration, ",
        ),
        (
            "hasTaint('a', 'NoRun')",
            "line 1, column 1: 'NoRun' is not an effect: ",
        ),
        (
            "reached('tomorrow')",
            "line 1, column 1: 'tomorrow' is not an instant",
        ),
        (
            "allocatableAtLeast('a/b', '+8')",
            "line 1, column 1: '+8' is not a whole number, such as '8'",
        ),
        (
            "allocatableAtLeast('a/b', '1.5')",
            "line 1, column 1: '1.5' is not a whole number, ",
        ),
        (
            "allocatableAtLeast('a/b', 8)",
            "line 1, column 1: an argument of 'allocatableAtLeast' is a int, and must be a string",
        ),
        (
            "condition('Ready')",
            "line 1, column 1: the expression gives a value of type string, and must give true or false",
        ),
        (
            "true ? 1 : 2",
            "line 1, column 1: the expression gives a value of type int, ",
        ),
    ] {
        let found = problems(expression);
        assert_eq!(found.len(), 1, "{expression}: {found:?}");
        let all = found.concat();
        assert!(all.starts_with(problem), "{expression}: {all}");
        assert!(all.len() < 300, "{expression}: {all}");
    }
    let two = problems("a == b");
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn what_only_a_node_shows_is_an_error_and_not_a_decision() {
    let node = node();
    for (expression, says) in [
        (
            "label('zone') + ''",
            "a value of type string, and must give true or false",
        ),
        ("int(label('zone')) > 1", "cannot be evaluated: "),
        (
            "1 / size(label('gpu')) > 0",
            "cannot be evaluated: Division by zero",
        ),
        (
            "conditionIs('Ready', label('zone'))",
            "'eu-1' is not a status: 'True', 'False' or 'Unknown'",
        ),
        ("['a'][3] == ''", "cannot be evaluated: "),
        ("label('zone') < 3", "cannot be evaluated: "),
    ] {
        assert_eq!(problems(expression), [""; 0], "{expression}");
        let error = decide(&node, expression).expect_err(expression);
        assert!(error.contains(says), "{expression}: {error}");
        assert!(error.len() <= 1024);
    }
}

#[test]
fn parameters_are_a_flat_object_of_two_strings() {
    let problems = |json: &str| told(&Fake::new().parameters(json));
    let needed = "needed: when is a node ready? Such as conditionIs('Ready', 'True', '30s')";
    let missing = [("/expression".to_owned(), needed.to_owned())];
    for json in ["", "{}", r#"{"message": "a"}"#] {
        assert_eq!(problems(json), missing, "{json}");
    }
    for json in ["[]", "1", "{", r#""expression""#] {
        let found = problems(json);
        assert_eq!(found[0].0, "", "{json}");
    }
    let found = problems(r#"{"expression": true, "message": 1, "a/b": 1}"#);
    let mut paths: Vec<_> = found.iter().map(|problem| problem.0.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/a~1b", "/expression", "/message"]);
    let long = |name: &str, length: usize| {
        let text = "'".to_owned() + &"a".repeat(length - 7) + "' == ''";
        let other = if name == "message" {
            r#""expression":"true","#
        } else {
            ""
        };
        told(&Fake::new().parameters(&format!(r#"{{{other}"{name}":"{}"}}"#, &text[..length])))
    };
    for (name, most) in [("expression", 2048), ("message", 512)] {
        assert!(
            !long(name, most)
                .iter()
                .any(|found| found.1.contains("longer than")),
            "{name}"
        );
        let found = long(name, most + 1);
        assert!(found[0].1.starts_with("longer than "), "{found:?}");
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    let chain = |levels: usize| format!("1{} > 0", " + 1".repeat(levels));
    assert_eq!(problems(&chain(21)), [""; 0]);
    for expression in [
        chain(24),
        chain(400),
        format!("{}true{}", "[".repeat(50), "]".repeat(50)),
        format!("{}true{}", "!(".repeat(300), ")".repeat(300)),
        format!("{}true", "true ? false : ".repeat(100)),
        format!("{}true", "-!".repeat(500)),
    ] {
        let found = problems(&expression);
        assert!(
            found
                .iter()
                .any(|problem| problem.starts_with("nested too deeply")),
            "{expression}: {found:?}"
        );
    }
    let wide = format!("{}true", "true && ".repeat(200));
    assert_eq!(problems(&wide), [""; 0]);
    is(&Fake::new(), &wide, true);
}
