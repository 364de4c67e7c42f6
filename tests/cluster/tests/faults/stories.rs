//! The stories.

use cluster_tests::AGENT;
use serde_json::{Value, json};

use crate::story::Do::{self, *};
use crate::story::{Step, Story};

const BOTH: &[(&str, &str)] = &[("agent", "Enforced"), ("other", "Enforced")];
const ENFORCED: &[(&str, &str)] = &[("agent", "Enforced")];
const NONE: &[(&str, &str)] = &[];

fn step(
    does: impl Into<Vec<Do>>,
    held: &'static [&'static str],
    rules: &'static [(&'static str, &'static str)],
) -> Step {
    Step {
        does: does.into(),
        held,
        rules,
    }
}

fn continuous(name: &'static str, more: Value) -> Do {
    Rule(name, "continuous", more)
}

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

/// With a taint of its own.
fn apart(name: &'static str) -> Do {
    let key = format!("readiness.k8s.io/{name}");
    continuous(name, spec(json!({ "taint": { "key": key } })))
}

fn freeze(why: Value) -> Value {
    json!({ "metadata": { "annotations": { "readiness.node.x-k8s.io/freeze-all": why } } })
}

fn label(name: &str, value: Value) -> Value {
    json!({ "metadata": { "labels": { name: value } } })
}

const WORKER: &str = "node-role.kubernetes.io/worker";

/// All of them, the short ones first.
pub fn all() -> Vec<Story> {
    vec![
        bootstrap(),
        continuous_rule(),
        together(),
        record_only(),
        break_glass(),
        suspended(),
        dry_run(),
        frozen(),
        stalled(),
        budget(),
        conflict(),
        replaces(),
        taken_over_from_the_go_controller(),
        reboot(),
        one_by_one(),
        alarm(),
    ]
}

/// A node is held until it is ready once; one that is ready is only recorded; the rule goes.
fn bootstrap() -> Story {
    Story::new(
        "bootstrap",
        vec![
            step(
                [
                    Node("early", false, Some("True")),
                    Node("late", false, None),
                    Rule("agent", "bootstrap-only", json!({})),
                ],
                &["late"],
                ENFORCED,
            ),
            step([Report("late", "True")], &[], ENFORCED),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Nodes are held and released as they change; one leaves the rule while it is held; the rule goes
/// while it holds.
pub fn continuous_rule() -> Story {
    Story::new(
        "continuous",
        vec![
            step(
                [
                    Node("one", false, None),
                    Node("two", false, None),
                    continuous("agent", json!({})),
                ],
                &["one", "two"],
                ENFORCED,
            ),
            step(
                [
                    Report("one", "True"),
                    ChangeNode("two", label(WORKER, json!(null))),
                ],
                &[],
                ENFORCED,
            ),
            step([Report("one", "False")], &["one"], ENFORCED),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Two rules change a node in one patch.
fn together() -> Story {
    Story::new(
        "two rules in one patch",
        vec![
            step(
                [
                    continuous("agent", json!({})),
                    apart("other"),
                    Node("one", false, Some("False")),
                ],
                &["one", "one/other"],
                BOTH,
            ),
            step([Report("one", "True")], &[], BOTH),
            step([Report("one", "False")], &["one", "one/other"], BOTH),
            step([DeleteRule("agent"), DeleteRule("other")], &[], NONE),
        ],
    )
}

/// The taint is there before the rule: it is only recorded. Somebody takes the record off, and then
/// the taint.
fn record_only() -> Story {
    let record = "readiness.node.x-k8s.io/taint-owners";
    let off = json!({ "metadata": { "annotations": { record: null } } });
    Story::new(
        "record only",
        vec![
            step(
                [Node("one", true, None), continuous("agent", json!({}))],
                &["one"],
                ENFORCED,
            ),
            step(
                [ChangeNode("one", off), Report("one", "False")],
                &["one"],
                ENFORCED,
            ),
            step(
                [ChangeNode("one", spec(json!({ "taints": null })))],
                &["one"],
                ENFORCED,
            ),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// A node is let go by hand, and then until a time that comes by itself.
fn break_glass() -> Story {
    let until = |time: &str| {
        let value = format!("$agent={time}");
        json!({ "metadata": { "annotations": { "readiness.node.x-k8s.io/break-glass": value } } })
    };
    Story::new(
        "break glass",
        vec![
            step(
                [
                    Node("one", false, None),
                    Node("two", false, None),
                    continuous("agent", json!({})),
                ],
                &["one", "two"],
                ENFORCED,
            ),
            step(
                [ChangeNode("one", until("2099-01-01T00:00:00Z"))],
                &["two"],
                ENFORCED,
            ),
            step([ChangeNode("one", until("<2>"))], &["one", "two"], ENFORCED),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// While the rule is suspended each node becomes the other way round.
fn suspended() -> Story {
    let suspend = |suspend: Value| spec(json!({ "suspend": suspend }));
    let rules = &[("agent", "Suspended")];
    Story::new(
        "suspend and resume",
        vec![
            step(
                [
                    Node("one", false, None),
                    Node("two", false, Some("True")),
                    continuous("agent", json!({})),
                ],
                &["one"],
                ENFORCED,
            ),
            step([ChangeRule("agent", suspend(json!(true)))], &["one"], rules),
            step(
                [Report("one", "True"), Report("two", "False")],
                &["one"],
                rules,
            ),
            step(
                [ChangeRule("agent", suspend(json!(null)))],
                &["two"],
                ENFORCED,
            ),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Only told first, then in force, then only told again; what it held goes with it.
fn dry_run() -> Story {
    let dry = |dry: bool| spec(json!({ "dryRun": dry }));
    let kept = &[("agent", "DryRunKeepsTaints")];
    Story::new(
        "dry run on and off",
        vec![
            step(
                [
                    Node("held", false, None),
                    Node("tainted", true, Some("True")),
                    continuous("agent", dry(true)),
                ],
                &["tainted"],
                &[("agent", "DryRun")],
            ),
            step([ChangeRule("agent", dry(false))], &["held"], ENFORCED),
            step([ChangeRule("agent", dry(true))], &["held"], kept),
            step(
                [Report("held", "True"), Report("tainted", "False")],
                &["held"],
                kept,
            ),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Every rule is frozen by hand, and thawed.
fn frozen() -> Story {
    let rules = &[("agent", "Frozen"), ("other", "Frozen")];
    Story::new(
        "freeze and thaw",
        vec![
            step(
                [
                    Node("one", false, None),
                    Node("two", false, Some("True")),
                    continuous("agent", json!({})),
                    apart("other"),
                ],
                &["one", "one/other"],
                BOTH,
            ),
            step(
                [ChangeRule("other", freeze(json!("something is wrong")))],
                &["one", "one/other"],
                rules,
            ),
            step(
                [Report("one", "True"), Report("two", "False")],
                &["one", "one/other"],
                rules,
            ),
            step(
                [ChangeRule("other", freeze(json!(null)))],
                &["two", "two/other"],
                BOTH,
            ),
            step([DeleteRule("agent"), DeleteRule("other")], &[], NONE),
        ],
    )
}

/// A rule becomes one that cannot be used, and is mended: meanwhile its taints stay.
fn stalled() -> Story {
    let age = |age: &str| {
        let policy = json!({ "name": "default", "parameters": { "maxHeartbeatAge": age } });
        spec(json!({ "policy": policy }))
    };
    let rules = &[("agent", "InvalidRule")];
    Story::new(
        "stalled and mended",
        vec![
            step(
                [
                    Node("one", false, None),
                    Node("two", false, Some("True")),
                    continuous("agent", age("1h")),
                ],
                &["one"],
                ENFORCED,
            ),
            step([ChangeRule("agent", age("soon"))], &["one"], rules),
            step(
                [Report("one", "True"), Report("two", "False")],
                &["one"],
                rules,
            ),
            step([ChangeRule("agent", age("30m"))], &["two"], ENFORCED),
            step([ChangeRule("agent", age("soon"))], &["two"], rules),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// The one place in the budget is taken, becomes free, and is taken by the next; then there are two.
fn budget() -> Story {
    let most =
        |most: usize| spec(json!({ "budget": { "maxHeld": most, "exemptYoungerThan": "0s" } }));
    let full = &[("agent", "BudgetExhausted")];
    Story::new(
        "budget",
        vec![
            step(
                [Node("one", false, None), continuous("agent", most(1))],
                &["one"],
                ENFORCED,
            ),
            step([Node("two", false, None)], &["one"], full),
            step([Report("one", "True")], &["two"], ENFORCED),
            step([Report("one", "False")], &["two"], full),
            step([ChangeRule("agent", most(2))], &["one", "two"], ENFORCED),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Two rules for one taint: the older decides, and when it goes the other takes over what both want.
fn conflict() -> Story {
    let other =
        |name: &str| spec(json!({ "conditions": [{ "type": name, "requiredStatus": "True" }] }));
    Story::new(
        "conflict and handover",
        vec![
            step(
                [
                    Node("both", false, None),
                    Node("older", false, None),
                    Node("none", false, Some("True")),
                    continuous("a", json!({})),
                ],
                &["both", "older"],
                &[("a", "Enforced")],
            ),
            step(
                [continuous("b", other("example.com/Other"))],
                &["both", "older"],
                &[("a", "Enforced"), ("b", "Conflict")],
            ),
            step(
                [DeleteRule("a")],
                &["both", "none", "older"],
                &[("b", "Enforced")],
            ),
            step(
                [NodeStatus(
                    "older",
                    json!({ "conditions": [
                        { "type": AGENT, "status": "False" },
                        { "type": "example.com/Other", "status": "True" },
                    ]}),
                )],
                &["both", "none"],
                &[("b", "Enforced")],
            ),
            step([DeleteRule("b")], &[], NONE),
        ],
    )
}

/// One rule takes the place of another, with its completions.
fn replaces() -> Story {
    let new = spec(json!({
        "replaces": "$old",
        "conditions": [{ "type": "example.com/New", "requiredStatus": "True" }],
    }));
    Story::new(
        "replaces",
        vec![
            step(
                [
                    Node("completed", false, Some("True")),
                    Node("waits", false, None),
                    Rule("old", "bootstrap-only", json!({})),
                ],
                &["waits"],
                &[("old", "Enforced")],
            ),
            step(
                [Rule("new", "bootstrap-only", new)],
                &["waits"],
                &[("new", "Enforced"), ("old", "Conflict")],
            ),
            step([DeleteRule("old")], &["waits"], &[("new", "Enforced")]),
            step([DeleteRule("new")], &[], NONE),
        ],
    )
}

/// The Go controller was there before: its finalizer, its status, a completion of the older form, a taint
/// on a node that it selected once, and a stranger's.
fn taken_over_from_the_go_controller() -> Story {
    let seen = |node: &str| {
        json!({
            "nodeName": node, "taintStatus": "Present", "lastEvaluationTime": "<5>",
            "conditionResults": [{ "type": AGENT, "currentStatus": "False", "requiredStatus": "True" }],
        })
    };
    let status = json!({
        "observedGeneration": 1, "appliedNodes": ["$held", "$out"],
        "nodeEvaluations": [seen("$held"), seen("$out")],
    });
    let completed = json!({ "metadata": { "annotations": { "readiness.k8s.io/bootstrap-completed-$agent": "true" } } });
    let rule = json!({ "metadata": { "finalizers": [api::rule::FINALIZER] } });
    let mut story = Story::new(
        "from the Go controller",
        vec![
            step([], &["held", "stranger"], ENFORCED),
            step([Report("held", "True")], &["stranger"], ENFORCED),
            step([DeleteRule("agent")], &["stranger"], NONE),
        ],
    );
    story.before = vec![
        Rule("agent", "bootstrap-only", rule),
        Node("stranger", true, None),
        ChangeNode("stranger", label(WORKER, json!(null))),
        Node("completed", false, None),
        ChangeNode("completed", completed),
        Node("held", true, None),
        Node("out", true, None),
        ChangeNode("out", label(WORKER, json!(null))),
        RuleStatus("agent", status),
    ];
    story
}

/// After a reboot the gate closes again, and opens by a condition that is of the new boot.
fn reboot() -> Story {
    let policy = json!({ "name": "default", "parameters": { "rearmOnReboot": true } });
    let boot = |boot: &str, ready: i64, agent: i64| {
        let condition = |name: &str, at: i64| {
            let at = format!("<{at}>");
            json!({ "type": name, "status": "True", "lastHeartbeatTime": at, "lastTransitionTime": at })
        };
        json!({
            "nodeInfo": { "bootID": boot },
            "conditions": [condition("Ready", ready), condition(AGENT, agent)],
        })
    };
    Story::new(
        "reboot",
        vec![
            step(
                [
                    Node("one", false, None),
                    Rule("agent", "bootstrap-only", spec(json!({ "policy": policy }))),
                ],
                &["one"],
                ENFORCED,
            ),
            step(
                [NodeStatus("one", boot("first", -1000, -990))],
                &[],
                ENFORCED,
            ),
            step(
                [NodeStatus("one", boot("second", -500, -600))],
                &["one"],
                ENFORCED,
            ),
            step(
                [NodeStatus("one", boot("second", -100, -400))],
                &[],
                ENFORCED,
            ),
            step([DeleteRule("agent")], &[], NONE),
        ],
    )
}

/// Somebody's admission is against one of two releases: the other one goes through, and this one as soon
/// as nobody is against it.
fn one_by_one() -> Story {
    let rules = &[("agent", "Enforced"), ("kept", "Enforced")];
    let mut story = Story::new(
        "one by one",
        vec![
            step(
                [
                    continuous("agent", json!({})),
                    apart("kept"),
                    Node("one", false, Some("False")),
                    ChangeNode("one", label("guarded", json!(""))),
                ],
                &["one", "one/kept"],
                rules,
            ),
            step(
                [Report("one", "True")],
                &["one/kept"],
                &[("agent", "Enforced"), ("kept", "NodesFailed")],
            ),
            step(
                [ChangeNode("one", label("guarded", json!(null)))],
                &[],
                rules,
            ),
            step([DeleteRule("agent"), DeleteRule("kept")], &[], NONE),
        ],
    );
    story.repeats = 2;
    story
}

const TEN: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];

/// All nodes regress at once: every rule is frozen by itself, and thawed by hand.
fn alarm() -> Story {
    let report = |status: &'static str| TEN.map(|name| Report(name, status));
    let mut first: Vec<Do> = TEN.map(|name| Node(name, false, Some("True"))).into();
    first.push(continuous("agent", json!({})));
    let rules = &[("agent", "Frozen")];
    let mut story = Story::new(
        "alarm",
        vec![
            step(first, &[], ENFORCED),
            step(report("False"), &TEN, rules),
            step(report("True"), &TEN, rules),
            step([ChangeRule("agent", freeze(json!(null)))], &[], ENFORCED),
            step([DeleteRule("agent")], &[], NONE),
        ],
    );
    story.flags = &["--freeze-when-regressed=50", "--freeze-window=1h"];
    // How many regressed is counted in memory: a host that comes meanwhile counts anew. From the moment
    // that it is written down, every host is frozen.
    story.killed = |write| write.step > 1 || (write.step == 1 && write.what.ends_with("/agent"));
    story
}
