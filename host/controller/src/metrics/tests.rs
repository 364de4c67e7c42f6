mod policy;

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use api::NodeReadinessRule;
use kube::runtime::reflector;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::{Client, Config};
use planner::Timestamp;
use planner::facts::{Condition, Node, Observed, Taint};
use planner::plan::{Action, State};
use planner::rule::{Effect, Status, TaintId, TaintPrefixes};
use planner::verdict::Failure;
use serde_json::json;

use super::*;
use crate::client::RequestError;
use crate::decide::{Decided, Rules, decide};
use crate::events::Events;
use crate::options::Limits;
use crate::orphans::Absent;
use crate::policies::{Live, Policies};
use crate::shared::Shared;

const DOCUMENT: &str = include_str!("../../../../docs/metrics-and-logs.md");
const TAINT: &str = "readiness.k8s.io/agent";

/// A host without a cluster.
struct Idle {
    shared: Shared,
    rules: Writer<NodeReadinessRule>,
}

impl Idle {
    fn new() -> Self {
        let client = Client::try_from(Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let engine = engine::Engine::new(&engine::Options::default()).unwrap();
        let metrics = Arc::new(Metrics::new(true).unwrap());
        let (events, _) = Events::new(client.clone(), Duration::MAX, Arc::clone(&metrics));
        let (nodes, _) = reflector::store();
        let (objects, rules) = reflector::store();
        let policies = Arc::new(Live::new(Policies::new(engine.default_policy().unwrap())));
        let shared = Shared::new(
            client,
            policies,
            events,
            Limits::default(),
            nodes,
            objects,
            metrics,
        );
        Self { shared, rules }
    }

    fn apply(&mut self, rule: NodeReadinessRule) {
        self.rules.apply_watcher_event(&Event::Apply(rule));
        self.shared.refresh_rules();
    }

    fn delete(&mut self, rule: NodeReadinessRule) {
        self.rules.apply_watcher_event(&Event::Delete(rule));
        self.shared.refresh_rules();
    }

    /// What the rules want of a node is done, or fails.
    fn work(&self, node: &Arc<Node>, error: Option<&str>) {
        let (rules, now) = (self.shared.rules(), Timestamp::now());
        let absent = Absent::default();
        let decided = decide(node, self.shared.deciding(&rules, &absent), None, now);
        if error.is_none() {
            self.carried_out(node, &decided);
        }
        let error = |_: &TaintId| error.map(str::to_owned);
        self.shared.note(node, &rules, &decided, error, now);
    }

    fn carried_out(&self, node: &Node, decided: &Decided<'_>) {
        let (prefixes, due) = (TaintPrefixes::default(), Duration::from_millis(3));
        let metrics = &self.shared.metrics;
        metrics.changed(node, decided, &prefixes, Some(due));
    }

    /// Another host leads.
    fn follow(&self) {
        self.shared.end_term();
    }

    fn page(&self) -> Page {
        Page::parse(&self.shared.scrape().unwrap())
    }
}

fn rule(name: &str, uid: &str, mode: &str) -> NodeReadinessRule {
    serde_json::from_value(json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": {
            "name": name, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": [api::rule::FINALIZER],
        },
        "spec": {
            "conditions": [{ "type": "AgentReady", "requiredStatus": "True" }],
            "taint": { "key": format!("{TAINT}-{name}"), "effect": "NoSchedule" },
            "enforcementMode": mode,
            "nodeSelector": {},
        },
    }))
    .unwrap()
}

/// A node created `created` seconds, whose agent changed `changed` seconds after the rules.
fn node(name: &str, created: i64, agent: Status, changed: i64, tainted_by: &[&str]) -> Arc<Node> {
    let at = |seconds: i64| {
        let rules: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        Some(rules + jiff::SignedDuration::from_secs(seconds))
    };
    let taint = |rule: &&str| Taint {
        key: format!("{TAINT}-{rule}"),
        effect: Some(Effect::NoSchedule),
        value: String::new(),
    };
    Arc::new(Node {
        name: name.to_owned(),
        uid: name.to_owned(),
        created: at(created),
        taints: tainted_by.iter().map(taint).collect(),
        conditions: vec![Condition {
            name: "AgentReady".to_owned(),
            status: Observed::Known(agent),
            reason: String::new(),
            changed: at(changed),
            heartbeat: None,
        }],
        ..Node::default()
    })
}

/// The same, held by rule `all` for as long as there has been one.
fn owned(node: &Node) -> Node {
    let mut node = node.clone();
    let record = json!([{ "key": format!("{TAINT}-all"), "effect": "NoSchedule", "ruleUID": "uid-2",
                          "rule": "all", "since": "2026-01-01T00:00:00Z", "reason": "ConditionsNotMet" }]);
    let key = planner::ownership::ANNOTATION;
    node.annotations.set(key, Some(&record.to_string()));
    node
}

/// What is printed: types by family, values by series.
#[derive(Debug)]
struct Page {
    types: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self {
            types: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let twice = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name} is there twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let twice = page
                    .values
                    .insert(series.to_owned(), value.parse().unwrap());
                assert_eq!(twice, None, "{series} is there twice");
            }
        }
        page
    }

    fn value(&self, series: &str) -> f64 {
        *self
            .values
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.values))
    }

    /// The series with this label.
    fn with(&self, label: &str) -> Vec<&String> {
        self.values
            .keys()
            .filter(|series| series.contains(label))
            .collect()
    }

    /// The names of a family's labels, without `le`.
    fn labels(&self, family: &str) -> BTreeSet<&str> {
        let labels = |series: &'_ String| -> Option<&str> {
            let series: &str = self.values.get_key_value(series)?.0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let suffix = name.strip_prefix(family)?;
            matches!(suffix, "" | "_bucket" | "_count" | "_sum").then_some(labels)
        };
        self.values
            .keys()
            .filter_map(labels)
            .flat_map(|labels| {
                labels
                    .split("\",")
                    .filter_map(|label| label.split_once('='))
            })
            .map(|(name, _)| name)
            .filter(|name| *name != "le")
            .collect()
    }

    /// The upper bounds of a histogram.
    fn bounds(&self, series: &str) -> BTreeSet<String> {
        let bound = |known: &String| {
            let rest = known.strip_prefix(series)?;
            Some(rest.split_once("le=\"")?.1.split_once('"')?.0.to_owned())
        };
        self.values.keys().filter_map(bound).collect()
    }
}

/// A host in which everything happened once.
async fn eventful() -> Idle {
    let mut idle = Idle::new();
    idle.apply(rule("boot", "uid-1", "bootstrap-only"));
    idle.apply(rule("all", "uid-2", "continuous"));
    let mut dry = rule("dry", "uid-3", "continuous");
    dry.spec.dry_run = Some(true);
    idle.apply(dry);
    let mut tight = rule("tight", "uid-5", "continuous");
    tight.spec.budget = serde_json::from_value(json!({ "maxHeld": 0 })).unwrap();
    idle.apply(tight);
    idle.work(&node("held", 5, Status::False, 60, &[]), None);
    idle.work(&node("ready", 5, Status::True, 60, &["boot"]), None);
    idle.work(&node("older", -5, Status::True, 60, &["boot"]), None);
    idle.work(
        &node("failed", 5, Status::True, 60, &["boot"]),
        Some("refused"),
    );
    let metrics = &idle.shared.metrics;
    metrics.set_leader("lease", true);
    metrics.keep_policy("steady");
    metrics.set_policy("steady", false, true);
    metrics.replanned();
    metrics.wrote(Write::NodeTaints, &Ok(()));
    metrics.wrote::<()>(
        Write::RuleStatus,
        &Err(RequestError::Conflict(String::new())),
    );
    metrics.dropped(Write::Event);
    // What a policy does that cannot decide, and what only the queue and a record on the node know.
    let rules = idle.shared.rules();
    let held = node("held", 5, Status::False, 60, &[]);
    let absent = Absent::default();
    let only = Rules {
        active: &rules.active[..1],
        ..idle.shared.deciding(&rules, &absent)
    };
    assert_eq!(only.active[0].rule.name, "all");
    let mut decided = decide(&held, only, None, Timestamp::now());
    let failure = Failure {
        kind: "Trapped",
        message: "it panicked".to_owned(),
    };
    let verdict = decided.verdicts[0].as_mut().unwrap();
    verdict.result = Err(failure.clone());
    let outcome = &mut decided.plan.outcomes[0];
    (outcome.state, outcome.action) = (State::Failed(failure), Action::None);
    let carried = owned(&held);
    metrics.note(&held, &decided, |_| None);
    let outcome = &mut decided.plan.outcomes[0];
    (outcome.state, outcome.action) = (State::Decides, Action::RemoveTaint);
    idle.carried_out(&carried, &decided);
    metrics
        .count_requests("api:443".to_owned())
        .count("200", "GET");
    drop(decided);
    idle
}

#[tokio::test]
async fn compat_041_the_documented_metrics_are_those_that_are_printed() {
    let idle = eventful().await;
    idle.shared.metrics.serves_webhook(Arc::default());
    let page = idle.page();
    let mut documented = BTreeMap::new();
    let tables = DOCUMENT.split("\n## Logs").next();
    for line in tables
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels: BTreeSet<&str> = cells[3]
            .split(',')
            .map(|label| label.trim().trim_matches('`'))
            .filter(|label| !label.is_empty())
            .collect();
        let name = cells[1].trim_matches('`');
        documented.insert(name.to_owned(), (cells[2].to_owned(), labels));
    }
    let printed: BTreeMap<String, (String, BTreeSet<&str>)> = page
        .types
        .iter()
        .map(|(name, kind)| (name.clone(), (kind.clone(), page.labels(name))))
        .collect();
    assert_eq!(printed, documented);
}

#[tokio::test]
async fn compat_041_a_sequence_of_work_has_these_values() {
    let page = eventful().await.page();
    for (series, value) in [
        (r#"node_readiness_rules_total"#, 4.0),
        (r#"node_readiness_rules_frozen"#, 0.0),
        (
            r#"node_readiness_rule_nodes_over_budget{rule="tight"}"#,
            1.0,
        ),
        (
            r#"node_readiness_rule_nodes_held_too_long{rule="boot"}"#,
            0.0,
        ),
        (
            r#"node_readiness_rules{dry_run="false",enforcement_mode="bootstrap-only"}"#,
            1.0,
        ),
        (
            r#"node_readiness_rules{dry_run="true",enforcement_mode="continuous"}"#,
            1.0,
        ),
        (
            r#"node_readiness_taint_operations_total{operation="add",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_taint_operations_total{operation="remove",rule="boot"}"#,
            2.0,
        ),
        (
            r#"node_readiness_failures_total{reason="RemoveTaintError",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_failures_total{reason="AddTaintError",rule="boot"}"#,
            0.0,
        ),
        (
            r#"node_readiness_failures_total{reason="EvaluationError",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_bootstrap_completed_total{rule="boot"}"#,
            2.0,
        ),
        // The node that is older than the rule does not count. 5 → 60 s after the rule: 55 s.
        (
            r#"node_readiness_bootstrap_duration_seconds_count{rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_bootstrap_duration_seconds_sum{rule="boot"}"#,
            55.0,
        ),
        (
            r#"node_readiness_bootstrap_duration_seconds_bucket{rule="boot",le="30"}"#,
            0.0,
        ),
        (
            r#"node_readiness_bootstrap_duration_seconds_bucket{rule="boot",le="60"}"#,
            1.0,
        ),
        (
            r#"node_readiness_condition_failures_total{condition="AgentReady",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_reconciliation_latency_seconds_count{operation="add_taint",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_reconciliation_latency_seconds_count{operation="remove_taint",rule="boot"}"#,
            2.0,
        ),
        (
            r#"node_readiness_policy_errors_total{rule="all",type="Trapped"}"#,
            1.0,
        ),
        (
            r#"node_readiness_policy_evaluations_total{policy="default",result="Trapped"}"#,
            1.0,
        ),
        (r#"node_readiness_policy_ready{policy="steady"}"#, 0.0),
        (r#"node_readiness_policy_last_good{policy="steady"}"#, 1.0),
        (r#"node_readiness_policy_paused{policy="steady"}"#, 0.0),
        (
            r#"node_readiness_transition_latency_seconds_sum{operation="remove_taint",rule="all"}"#,
            0.003,
        ),
        (
            r#"node_readiness_hold_duration_seconds_count{rule="all"}"#,
            1.0,
        ),
        (
            r#"node_readiness_rule_nodes{rule="boot",state="held"}"#,
            2.0,
        ),
        (
            r#"node_readiness_rule_nodes{rule="boot",state="released"}"#,
            2.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="boot",state="bootstrapping"}"#,
            2.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="boot",state="not_ready"}"#,
            0.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="all",state="not_ready"}"#,
            1.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="all",state="ready"}"#,
            3.0,
        ),
        (
            r#"node_readiness_api_writes_total{kind="node_taints",result="success"}"#,
            1.0,
        ),
        (
            r#"node_readiness_api_writes_total{kind="rule_status",result="conflict"}"#,
            1.0,
        ),
        (
            r#"node_readiness_api_writes_total{kind="event",result="dropped"}"#,
            1.0,
        ),
        (r#"leader_election_master_status{name="lease"}"#, 1.0),
        (
            r#"rest_client_requests_total{code="200",host="api:443",method="GET"}"#,
            1.0,
        ),
    ] {
        let found = page.value(series);
        assert!(
            (found - value).abs() < 1e-9,
            "{series} is {found}, expected {value}"
        );
    }
    // A dry run holds nothing, and changes nothing.
    assert!(
        page.with(r#"rule="dry""#)
            .iter()
            .all(|series| !series.contains("rule_nodes"))
    );
    assert_eq!(
        page.value(r#"node_readiness_condition_failures_total{condition="AgentReady",rule="dry"}"#),
        0.0
    );
}

#[tokio::test]
async fn compat_041_buckets_are_those_of_the_go_controller() {
    let page = eventful().await.page();
    for (series, bounds) in [
        (
            r#"node_readiness_bootstrap_duration_seconds_bucket{rule="boot","#,
            "1 5 10 30 60 120 300 600 1200 +Inf",
        ),
        (
            r#"node_readiness_reconciliation_latency_seconds_bucket{operation="add_taint",rule="boot","#,
            "0.01 0.05 0.1 0.5 1 2 5 10 30 60 120 300 +Inf",
        ),
        (
            r#"node_readiness_evaluation_duration_seconds_bucket{rule="boot","#,
            "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf",
        ),
    ] {
        let expected: BTreeSet<String> = bounds.split(' ').map(str::to_owned).collect();
        assert_eq!(page.bounds(series), expected, "{series}");
    }
}

#[tokio::test]
async fn compat_042_the_series_of_a_deleted_rule_disappear_and_no_series_names_a_node() {
    let mut idle = eventful().await;
    let before = idle.page();
    assert!(!before.with(r#"rule="boot""#).is_empty());
    for node in ["held", "ready", "older", "failed"] {
        let label = format!("=\"{node}\"");
        let found = before.with(&label);
        // `held` and `ready` are states too.
        let states = found.iter().filter(|series| series.contains("state="));
        assert_eq!(states.count(), found.len(), "{found:?}");
    }
    let rules = idle.shared.rules();
    let seats = crate::decide::Seats::new(Vec::new);
    let deciding = Rules {
        seats: &seats,
        active: &rules.active,
        stalled: &rules.stalled,
        gone: &Default::default(),
        prefixes: &TaintPrefixes::default(),
        frozen: false,
        related: &(),
    };
    let late = node("held", 5, Status::False, 60, &[]);
    let decided = decide(&late, deciding, None, Timestamp::now());
    idle.delete(rule("boot", "uid-1", "bootstrap-only"));
    // A worker that began before may still be at it.
    idle.shared.metrics.note(&late, &decided, |_| None);
    idle.carried_out(&late, &decided);
    drop(decided);
    assert_eq!(idle.page().with(r#"rule="boot""#), Vec::<&String>::new());
    // Another one of that name begins anew.
    idle.apply(rule("boot", "uid-4", "bootstrap-only"));
    let completed = r#"node_readiness_bootstrap_completed_total{rule="boot"}"#;
    assert_eq!(idle.page().value(completed), 0.0);
}

#[tokio::test]
async fn a_node_that_is_held_for_too_long_is_counted() {
    let mut idle = Idle::new();
    idle.apply(rule("all", "uid-2", "continuous"));
    for (name, record) in [("new", false), ("long", true)] {
        let held = node(name, 5, Status::False, 60, &["all"]);
        let held = if record { Arc::new(owned(&held)) } else { held };
        idle.work(&held, None);
    }
    let page = idle.page();
    for (series, value) in [
        (r#"node_readiness_rule_nodes{rule="all",state="held"}"#, 2.0),
        (
            r#"node_readiness_rule_nodes_held_too_long{rule="all"}"#,
            1.0,
        ),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    idle.follow();
    let page = idle.page();
    let of_rule = page.with(r#"rule="all""#);
    let counts = |series: &&String| series.contains("rule_nodes");
    assert!(!of_rule.iter().any(counts), "one that does not lead counts");
}

#[tokio::test(start_paused = true)]
async fn a_queue_says_how_deep_and_how_old_it_is() {
    let idle = Idle::new();
    let queue = &idle.shared.nodes_due;
    queue.add("a".to_owned());
    tokio::time::advance(Duration::from_secs(2)).await;
    queue.add("b".to_owned());
    tokio::time::advance(Duration::from_secs(3)).await;
    let page = idle.page();
    assert_eq!(
        page.value(r#"node_readiness_queue_depth{queue="node"}"#),
        2.0
    );
    assert_eq!(
        page.value(r#"node_readiness_queue_age_seconds{queue="node"}"#),
        5.0
    );
    let taken = queue.take().await;
    queue.add(taken.clone());
    tokio::time::advance(Duration::from_secs(1)).await;
    queue.retry(taken.clone(), crate::queue::LAST_RETRY);
    let labels = r#"{controller="node",name="node"}"#;
    let page = idle.page();
    for (name, value) in [
        ("workqueue_depth", 1.0),
        ("workqueue_adds_total", 3.0),
        ("workqueue_retries_total", 1.0),
        ("workqueue_queue_duration_seconds_sum", 5.0),
        ("workqueue_unfinished_work_seconds", 1.0),
        ("workqueue_longest_running_processor_seconds", 1.0),
    ] {
        assert_eq!(page.value(&format!("{name}{labels}")), value, "{name}");
    }
    queue.done(&taken);
    let page = idle.page();
    assert_eq!(
        page.value(&format!("workqueue_work_duration_seconds_sum{labels}")),
        1.0
    );
    assert_eq!(page.value(&format!("workqueue_depth{labels}")), 2.0);

    // What time will bring is none of these: here one that is tried again, and one that was wanted for later.
    let due = r#"node_readiness_queue_due{queue="node"}"#;
    assert_eq!(page.value(due), 1.0);
    queue.add_after("c".to_owned(), Duration::from_secs(60));
    assert_eq!(idle.page().value(due), 2.0);
    tokio::time::advance(Duration::from_secs(60)).await;
    queue.take().await;
    let page = idle.page();
    assert_eq!(page.value(due), 0.0);
    assert_eq!(page.value(&format!("workqueue_depth{labels}")), 2.0);
}
