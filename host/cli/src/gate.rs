//! `host gate`: the admission policy that holds a node from its first moment.

use std::path::PathBuf;

use api::birth::{FailurePolicy, Gate, Rules};
use controller::birth::{self, ApplyError};
use controller::decide::ActiveRule;
use controller::is_frozen;
use jiff::Timestamp;
use planner::rule::TaintPrefixes;

use crate::eval::{activate, load};
use crate::exit::Exit;
use crate::input::{self, BadInput};
use crate::{output, prefixes};

/// Print the admission policy that puts a rule's taint on a node in the request that creates it, or apply it
///
/// No controller is fast enough for that: the scheduler may bind a pod to a new node before it is tainted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, after_help = "`host gate --help` has examples and the exit status.")]
pub struct Options {
    /// Only for these rules: files, folders without their sub-folders, or `-` for standard input
    ///
    /// Without it: for every rule whose status says that it holds new nodes.
    #[arg(short = 'f', long = "rule", value_name = "RULE", num_args = 1..)]
    rules: Vec<PathBuf>,

    /// What becomes of a node about which the API server cannot decide
    #[arg(long, value_name = "POLICY", value_enum, ignore_case = true, default_value_t = Failure::Ignore)]
    failure_policy: Failure,

    #[command(flatten)]
    prefixes: prefixes::Options,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Yaml)]
    output: Format,

    /// Apply it to the cluster instead of printing it
    #[arg(long, conflicts_with = "output")]
    apply: bool,

    /// Take over fields that somebody else applied
    #[arg(long, requires = "apply")]
    force_conflicts: bool,

    /// Kubeconfig; without it $KUBECONFIG, the cluster that this runs in, ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "apply")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Failure {
    /// It is created without the taint, and the host adds it a moment later
    #[value(name = "Ignore")]
    Ignore,
    /// It cannot be created
    #[value(name = "Fail")]
    Fail,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Two documents
    Yaml,
    /// A List
    Json,
}

const HELP: &str = "\
It is one MutatingAdmissionPolicy and its binding, both named node-readiness-gate, of \
admissionregistration.k8s.io/v1: Kubernetes 1.36 or later. The API server reads the rules itself \
when a node is created; nothing is called, and nothing has to be changed when a rule changes. The \
taint goes on a node that the rule selects, with a record that the rule owns it. Not where the rule is \
suspended, a dry run or being deleted, and not where the node brings the taint or a completed \
bootstrap along.

Without RULE it is for every rule whose status has HoldsNewNodes=True. A running host writes that; it \
is False where a node without conditions would not be held, where spec.budget counts new nodes, and \
where every rule is frozen. With RULE the same is asked here, as in `host eval`, and the gate is for \
these rules by their names; the rules themselves must be in the cluster. For one without a gate a \
note says why.

--failure-policy=Fail means no node instead of one that is free for a moment: where the \
definition of rules is gone, no node at all can be created.

--apply takes the rights to create and patch mutatingadmissionpolicies and \
mutatingadmissionpolicybindings, and to get and list rules. `host cleanup` deletes both, and so \
does: kubectl delete mutatingadmissionpolicybinding,mutatingadmissionpolicy node-readiness-gate

Before Kubernetes 1.36 the kubelet has to do it: --register-with-taints.

Examples:
  host gate | kubectl apply -f -
  host gate --apply
  host gate -f rule.yaml --failure-policy=Fail | kubectl apply -f -
  kubectl get nodereadinessrules -o yaml | host gate -f - -o json

Exit status:
  0  printed, or applied
  1  none of the given rules would hold a new node; nothing is printed or applied
  2  bad usage or input, no cluster, or the API server is too old or against it
  3  a policy failed when it checked a rule; nothing is printed or applied";

/// In the words of kubectl.
const APPLIED: &str = "\
mutatingadmissionpolicy.admissionregistration.k8s.io/node-readiness-gate applied
mutatingadmissionpolicybinding.admissionregistration.k8s.io/node-readiness-gate applied
";

/// Prints the gate, or applies it.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        rules,
        failure_policy,
        prefixes,
        output: format,
        apply,
        force_conflicts,
        kubeconfig,
    } = options;
    let failure_policy = match failure_policy {
        Failure::Ignore => FailurePolicy::Ignore,
        Failure::Fail => FailurePolicy::Fail,
    };
    let prefixes = prefixes.prefixes();
    let (held, limits) = match &rules[..] {
        [] => (None, Vec::new()),
        paths => match held(paths, &prefixes)? {
            Ok(held) => (Some(held.rules), held.limits),
            Err(exit) => return Ok(exit),
        },
    };
    let tell_limits = || {
        limits
            .iter()
            .for_each(|limit| output::note(format_args!("{limit}")));
    };
    let names: Option<Vec<&str>> = (held.as_ref()).map(|held| {
        held.iter()
            .map(|active| active.rule.name.as_str())
            .collect()
    });
    let of = names.as_deref().map_or(Rules::Ready, Rules::Named);
    let gate = Gate::new(of, failure_policy);
    if apply {
        let applied = birth::apply(kubeconfig.as_deref(), &gate, force_conflicts);
        match crate::runtime()?.block_on(applied) {
            Err(error @ ApplyError::NotServed(_)) => {
                let taints = taints(held.as_deref().unwrap_or_default());
                let advice =
                    format!("{error}: let the kubelet do it, by --register-with-taints={taints}");
                return Err(BadInput::one(advice).into());
            }
            done => done?,
        }
        tell_limits();
        output::result(APPLIED)?;
        return Ok(Exit::Success);
    }
    tell_limits();
    output::result(&match format {
        Format::Yaml => gate.yaml()?,
        Format::Json => gate.json()?,
    })?;
    Ok(Exit::Success)
}

/// Rules that hold a new node.
struct Held {
    rules: Vec<ActiveRule>,
    /// Where their gate cannot.
    limits: Vec<String>,
}

/// Those of the given rules that hold a new node; or the exit status where there are none.
fn held(paths: &[PathBuf], prefixes: &TaintPrefixes) -> anyhow::Result<Result<Held, Exit>> {
    let rules = input::rules::rules(&input::read(paths)?, prefixes)?;
    let frozen = is_frozen(rules.iter().map(|given| &given.object));
    let active = match activate(&rules, &load(Vec::new(), None)?, prefixes)? {
        Ok(active) => active,
        Err(failures) => {
            failures.iter().for_each(output::error);
            return Ok(Err(Exit::PolicyFailed));
        }
    };
    let mut held = Held {
        rules: Vec::new(),
        limits: Vec::new(),
    };
    for (rule, given) in active.into_iter().zip(&rules) {
        // Files do not tell which of two rules is the older one.
        let new = birth::new_nodes(&rule, &[], prefixes, frozen, Timestamp::now());
        if new.held {
            if let Some(limit) = birth::what_kubelets_may_not(&given.object.spec.node_selector) {
                held.limits
                    .push(format!("rule '{}' has a gate, but {limit}", rule.rule.name));
            }
            held.rules.push(rule);
        } else {
            let (name, why) = (&rule.rule.name, new.message);
            output::note(format_args!(
                "rule '{name}' has no gate: {}: {why}",
                new.reason
            ));
        }
    }
    if held.rules.is_empty() {
        output::error("none of the given rules would hold a new node: there is nothing to print");
        return Ok(Err(Exit::Unexpected));
    }
    Ok(Ok(held))
}

/// As the kubelet's flag wants them.
fn taints(rules: &[ActiveRule]) -> String {
    let taint = |active: &ActiveRule| {
        let rule = &active.rule;
        let value = rule.taint_value.as_deref().unwrap_or_default();
        format!("{}={value}:{}", rule.taint.key, rule.taint.effect)
    };
    let taints: Vec<_> = rules.iter().map(taint).collect();
    match &taints[..] {
        [] => "KEY=VALUE:EFFECT".to_owned(),
        some => some.join(","),
    }
}
