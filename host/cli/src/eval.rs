//! `host eval`: what the host would do, without a host and without a cluster.

mod cluster;
mod policies;
mod report;
mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use api::daemon_set::rings;
use clap::builder::{OsStringValueParser, TypedValueParser};
use controller::decide::{ActiveRule, Rules, Seat, Seats, Seen, decide, field};
use controller::policies::Policies;
use controller::{clip, is_frozen};
use jiff::Timestamp;
use planner::ownership;
use planner::related::Kind;
use planner::rule::TaintPrefixes;

use crate::exit::Exit;
use crate::input::nodes::{Given, GivenNode};
use crate::input::rules::GivenRule;
use crate::input::{self, BadInput, STDIN};
use crate::{output, prefixes};

pub use policies::{BUILT_IN, load};
use policies::{NamedModule, tell_of_idle};
use report::Report;

/// How many names a note gives before it only counts.
const NAMES: usize = 5;

/// Evaluate rules on nodes and print what the host would do. Changes nothing.
///
/// The decision is made by the same code, the same policy and the same limits as in `host run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, after_help = "`host eval --help` has examples and the exit status.")]
pub struct Options {
    /// Rules: files, folders without their sub-folders, or `-` for standard input
    #[arg(long = "rule", value_name = "RULE", required = true, num_args = 1..)]
    rules: Vec<PathBuf>,

    /// Nodes: files, folders without their sub-folders, or `-` for standard input
    ///
    /// DaemonSets, pods, leases, CSINodes and ResourceSlices may be among them. Without it: those of the
    /// cluster that the kubeconfig's current context names. They are only read.
    #[arg(long = "node", value_name = "NODES", num_args = 1..)]
    nodes: Vec<PathBuf>,

    /// The policy of rules that name none, or with NAME= of those that name it; can be given several times
    ///
    /// Rules that name none, or `default`, have the built-in policy where no other is given for them. What
    /// stands before `=` and cannot be a policy's name is part of the path. `builtin:pods-ready` in the place
    /// of a file is the policy of this name that comes with this program.
    #[arg(long = "policy", value_name = "[NAME=]FILE.wasm",
          value_parser = OsStringValueParser::new().map(NamedModule::from))]
    policies: Vec<NamedModule>,

    /// Keep the policies' native code in this folder: a policy in Go, JavaScript or Python takes seconds to
    /// compile
    ///
    /// Nobody else may be able to write to what is made there. Anything that this program has not written
    /// is refused, and compiled again.
    #[arg(long, value_name = "FOLDER", requires = "policies")]
    policy_cache: Option<PathBuf>,

    /// The time that counts as now, such as 2026-07-01T12:00:00Z; without it the current time
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,

    #[command(flatten)]
    prefixes: prefixes::Options,

    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    output: Format,

    /// Kubeconfig for when there is no --node; without it $KUBECONFIG, the cluster that this runs
    /// in, ~/.kube/config
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs; a versioned shape
    Json,
    /// The same shape as YAML
    Yaml,
}

const HELP: &str = "\
Rules and nodes are YAML or JSON, as written by hand or as printed by `kubectl get -o yaml`: one or several \
documents, or a List. Of a folder the files that end in .yaml, .yml or .json are read, in the order of their names; \
sub-folders are not, as kubectl does not without --recursive. A file that is named itself may end in anything. Rules \
are checked as strictly as the API server checks them; so are the names, labels and conditions of nodes.

All given rules are put beside each node together. What a node carries for rules that were not given is left alone. \
A rule without a metadata.uid is recognised by its name where a node records completions or ownership. A node \
without a status shows none of its conditions.

DaemonSets among the nodes are looked at for a warning: it says where pods that report a condition (by the variable \
CONDITION_TYPE or CHECKS of a container, or the annotation readiness.node.x-k8s.io/reports) do not tolerate the taint \
of a rule that waits for it, or where those of several rules keep each other away. They, and pods, leases, CSINodes \
and ResourceSlices among the nodes, are those that a policy can ask about; but for DaemonSets they are read of a \
cluster only where one does.

The result is one entry for each rule and node that the rule selects, and for each node on which a rule that does \
not select it holds a taint of its own; sorted by node, then rule. The JSON has `apiVersion: \
eval.node-readiness/v1alpha1`, `kind: Evaluation`, `now`, `results` and `changes`.

An entry of `results`: node, rule, policy {name, version, digest}, action (AddTaint, RemoveTaint, CompleteBootstrap \
or None), completeBootstrap, dryRun, dryRunAction, taint {key, effect, value, before, after} (Present or Absent), \
reason, message, conditions [{type, currentStatus, requiredStatus, defaultStatus}], facts (what the policy asked and \
was answered), askAgainAt, and error {kind, message} where the policy gave no decision. An entry of `changes` is \
what one patch of a node would do: node, addTaints, removeTaints, annotations (null: removed). docs/eval-output.md \
in the repository of this program describes each field.

Examples:
  kubectl get nodes -o yaml | host eval --rule rule.yaml --node -
  host eval --rule rules/ --node nodes.json -o json |
    jq '.results[] | select(.action != \"None\")'
  host eval --rule rule.yaml --node node.yaml --policy policy.wasm \\
    --now 2026-07-01T12:00:00Z
  host eval --rule rules/ --node nodes.json \\
    --policy steady=steady.wasm --policy lease=lease.wasm
  kubectl get nodes,daemonsets -A -o yaml | host eval --rule rule.yaml --node -
  kubectl get nodes,pods -A -o yaml |
    host eval --rule rule.yaml --node - --policy pods-ready=builtin:pods-ready
  host eval --rule rule.yaml    # nodes and DaemonSets of the current cluster

Exit status:
  0  evaluated, whatever the outcome
  2  bad usage or input, or the cluster cannot be reached
  3  a policy failed on at least one node; the result is printed all the same";

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "it is not a time as in RFC 3339 (at the latest 9999-12-30T22:00:00Z), such as 2026-07-01T12:00:00Z".to_owned())
}

/// Evaluates, and prints the result.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        rules,
        nodes,
        policies: modules,
        policy_cache,
        now,
        prefixes,
        output: format,
        kubeconfig,
    } = options;
    let prefixes = prefixes.prefixes();
    if rules
        .iter()
        .chain(&nodes)
        .filter(|path| path.as_os_str() == STDIN)
        .count()
        > 1
    {
        return Err(BadInput::one(
            "standard input (`-`) can be read only once: give a file for the other",
        )
        .into());
    }
    let rules = input::rules::rules(&input::read(&rules)?, &prefixes)?;
    let given = match nodes.as_slice() {
        [] => None,
        nodes => Some(input::nodes::nodes(&input::read(nodes)?)?),
    };
    tell_of_idle(&modules, &rules);
    tell_of_all(&rules);
    let frozen = is_frozen(rules.iter().map(|given| &given.object));
    let policies = load(modules, policy_cache)?;
    let now = now.unwrap_or_else(Timestamp::now);
    let rules = match activate(&rules, &policies, &prefixes)? {
        Ok(rules) => rules,
        Err(failures) => {
            failures.iter().for_each(output::error);
            return Ok(Exit::PolicyFailed);
        }
    };
    let asked = rules.iter().flat_map(|active| active.policy.asks());
    let asked = asked.collect();
    let mut given = match given {
        Some(given) => {
            tell_of_missing(&rules, &given);
            given
        }
        None => cluster::objects(kubeconfig.as_deref(), &asked)?,
    };
    let related = given.related(&prefixes);
    let Given {
        mut nodes,
        daemon_sets,
        pods: _,
        leases: _,
        csi_nodes: _,
        resource_slices: _,
    } = given;
    let mut report = Report::new(now);
    // Where a budget has too little room, it is filled in this order.
    nodes.sort_by(|one, two| one.node.facts.name.cmp(&two.node.facts.name));
    let fleet: Vec<_> = (nodes.iter().map(|given| Arc::clone(&given.node.facts))).collect();
    let seats = Seats::new(move || fleet.clone());
    for given in &nodes {
        let facts = &given.node.facts;
        // What belongs to rules that were not given stays as it is.
        let others: BTreeSet<String> = ownership::read(facts, &prefixes)
            .into_iter()
            .filter(|record| !rules.iter().any(|active| record.is_of(&active.rule)))
            .map(|record| record.rule_uid)
            .collect();
        let deciding = Rules {
            active: &rules,
            stalled: &others,
            gone: &Default::default(),
            prefixes: &prefixes,
            frozen,
            seats: &seats,
            related: &related,
        };
        let decided = decide(facts, deciding, None, now);
        report.add(facts, &decided, &prefixes);
        decided.seats.into_iter().for_each(Seat::keep);
    }
    report.sort();
    tell(&report, &rules, &nodes);
    warn(&rules, &daemon_sets);
    output::result(&match format {
        Format::Table => table::table(&report),
        Format::Json => {
            serde_json::to_string_pretty(&report).context("the result is no JSON")? + "\n"
        }
        Format::Yaml => serde_saphyr::to_string(&report).context("the result is no YAML")?,
    })?;
    Ok(if report.has_failures() {
        Exit::PolicyFailed
    } else {
        Exit::Success
    })
}

/// What is told of the problems that a policy finds in one rule: a module of strangers may find 64 of 2 kB. So many, and so many
/// bytes of the field and of the text of each.
const MOST_PROBLEMS: usize = 16;
const MOST_FIELD: usize = 256;
const MOST_MESSAGE: usize = 512;

/// Rules that can be evaluated, or the policy's failures to check them.
pub type Checked = Result<Vec<ActiveRule>, Vec<String>>;

/// Rules as they are decided with.
pub fn activate(
    rules: &[GivenRule],
    policies: &Policies,
    prefixes: &TaintPrefixes,
) -> Result<Checked, BadInput> {
    let mut active = Vec::new();
    let mut problems = Vec::new();
    let mut failures = Vec::new();
    let frozen = is_frozen(rules.iter().map(|given| &given.object));
    for given in rules {
        let GivenRule { object, place, .. } = given;
        let mut rule = object
            .to_rule(prefixes)
            .map_err(|error| BadInput::one(format!("{place}: {error}")))?;
        let selector = object
            .selector()
            .map_err(|error| BadInput::one(format!("{place}: {error}")))?;
        rule.suspended |= frozen;
        let rule = Arc::new(rule);
        let policy = match policies.of(&rule) {
            Ok(policy) => policy,
            Err(missing) => {
                let (field, rule) = ("spec.policy.name", &rule.name);
                problems.push(format!(
                    "{}: rule '{rule}': {field}: {missing}; `host eval --policy {}=FILE.wasm` gives it",
                    given.place_of(field),
                    missing.name
                ));
                continue;
            }
        };
        // A module may call itself as another is called: the rule's word for it comes first.
        let calls_itself = match policy.name() {
            name if name == rule.policy => String::new(),
            name => format!(" ({name})"),
        };
        let about = format!("rule '{}', policy {}{calls_itself}", rule.name, rule.policy);
        match policy.check(&rule) {
            Ok(found) => {
                problems.extend(found.iter().take(MOST_PROBLEMS).map(|problem| {
                    let field = field(&problem.path);
                    let place = given.place_of(&field);
                    let (field, message) = (
                        clip(&field, MOST_FIELD),
                        clip(&problem.message, MOST_MESSAGE),
                    );
                    format!("{place}: {about}: {field}: {message}")
                }));
                if let Some(more @ 1..) = found.len().checked_sub(MOST_PROBLEMS) {
                    problems.push(format!(
                        "{place}: {about}: it found {more} further problems"
                    ));
                }
            }
            Err(failure) => failures.push(format!(
                "{place}: {about}: the policy failed when it checked the rule ({}): {}",
                failure.kind, failure.message
            )),
        }
        active.push(ActiveRule {
            rule,
            selector: Arc::new(selector),
            policy: policy.clone(),
            stalled: false,
            seen_present: Arc::new(Seen::of(object)),
            memo: Arc::default(),
            flaps: Arc::default(),
        });
    }
    if !problems.is_empty() {
        return Err(BadInput(problems));
    }
    Ok(if failures.is_empty() {
        Ok(active)
    } else {
        Err(failures)
    })
}

/// Rules that select every node, which the webhook lets nobody create.
fn tell_of_all(rules: &[GivenRule]) {
    for GivenRule { object, .. } in rules {
        if object.selects_all() {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            output::warning(format_args!(
                "rule '{name}': spec.nodeSelector is empty and selects every node, those of the control plane too; the webhook refuses it"
            ));
        }
    }
}

/// What is worth knowing beside the result.
fn tell(report: &Report, rules: &[ActiveRule], nodes: &[GivenNode]) {
    let bare = nodes.iter().filter(|given| !given.has_status);
    let bare: Vec<_> = bare.map(|given| given.node.facts.name.as_str()).collect();
    if !bare.is_empty() {
        let (verb, none) = if bare.len() == 1 {
            ("has", "its")
        } else {
            ("have", "their")
        };
        output::note(format_args!(
            "{} {verb} no status: all {none} conditions count as absent",
            names("node", &bare)
        ));
    }
    for rule in rules.iter().map(|active| &active.rule) {
        let is_given = |name| rules.iter().any(|active| active.rule.name == name);
        match rule.replaces.as_deref() {
            Some(name) if name == rule.name => output::warning(format_args!(
                "rule '{name}': spec.replaces names the rule itself, which means nothing; the webhook refuses it"
            )),
            Some(name) if !is_given(name) => output::note(format_args!(
                "rule '{}' replaces rule '{name}', which was not given: nothing is taken over from it here",
                rule.name
            )),
            _ => {}
        }
    }
    let idle = rules.iter().map(|active| active.rule.name.as_str());
    let idle: Vec<_> = idle.filter(|rule| !report.has_rule(rule)).collect();
    if !idle.is_empty() {
        let verb = if idle.len() == 1 { "selects" } else { "select" };
        output::note(format_args!(
            "{} {verb} none of the given nodes",
            names("rule", &idle)
        ));
    }
}

/// What policies ask about, and nobody gave.
fn tell_of_missing(rules: &[ActiveRule], given: &Given) {
    let mut told = BTreeSet::new();
    for active in rules {
        let policy = &active.rule.policy;
        for kind in active.policy.asks() {
            let is_missing = match kind {
                Kind::Pods => given.pods.is_empty(),
                Kind::Leases => given.leases.is_empty(),
                Kind::CsiNodes => given.csi_nodes.is_empty(),
                Kind::ResourceSlices => given.resource_slices.is_empty(),
                Kind::DaemonSets => given.daemon_sets.is_empty(),
            };
            if is_missing && told.insert((policy, kind)) {
                let objects = kind.objects();
                output::note(format_args!(
                    "policy {policy:?} asks about {objects}, and none was given: it is told that no node has any; \
                     `kubectl get nodes,{objects} -A -o yaml` prints both"
                ));
            }
        }
    }
}

/// Pods that report what a rule waits for, and that its taint keeps away, or that of a rule that waits in turn.
fn warn(rules: &[ActiveRule], daemon_sets: &[api::DaemonSet]) {
    let pairs: Vec<_> = rules
        .iter()
        .map(|active| (&*active.rule, &*active.selector))
        .collect();
    for ((rule, selector), rings) in pairs.iter().zip(rings(&pairs, daemon_sets)) {
        let name = &rule.name;
        for set in daemon_sets {
            if let Some(blocked) = set.blocked_by(rule, selector) {
                output::warning(format_args!("rule '{name}': {blocked}"));
            }
        }
        for ring in rings {
            output::warning(format_args!("rule '{name}': {ring}"));
        }
    }
}

/// `node a`, `nodes a, b`, `nodes a, b, c, d, e and 7 more`
fn names(what: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let shown = names.get(..NAMES).unwrap_or(names).join(", ");
    let more = names.len().saturating_sub(NAMES);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{what}{plural} {shown}{more}")
}
