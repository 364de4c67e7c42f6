//! `host run`: the control loop, with the flags of the Go controller.

pub mod go_flags;
mod log;
mod metrics;
mod requests;
mod safety;
mod webhook;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};
use controller::{LeaderElection, MetricsError, RunError, WebhookError};
use engine::{Cache, Compiler, Engine};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use self::go_flags::boolean;
use crate::compile_policy;
use crate::exit::Exit;
use crate::input::BadInput;
use crate::output;

/// Bytes of what is kept of policies; the volume in deploy/ has room for as much that is being written.
const POLICY_CACHE: u64 = 512 << 20;

/// Watch the cluster, and keep the taints of its nodes as the rules want them.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_long_help = HELP,
    after_help = "`host run --help` has examples and the exit status."
)]
pub struct Options {
    /// Kubeconfig; without it $KUBECONFIG, the cluster that this runs in, ~/.kube/config
    // An empty one is none, as it is for Go: a manifest may have a variable there.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    kubeconfig: Option<PathBuf>,

    /// Where /healthz and /readyz are served; 0: nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8081")]
    health_probe_bind_address: String,

    /// Nodes that are worked on at the same time
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = count)]
    node_concurrent_reconciles: NonZeroUsize,

    /// Rules whose finalizer or status is written at the same time; one rule has one writer, whatever this is
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = count)]
    rule_concurrent_reconciles: NonZeroUsize,

    /// Write only while this host holds the lease, so that several can run
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    leader_elect: bool,

    /// Namespace of the lease; without it that of the pod, and none outside of a cluster
    #[arg(long, value_name = "NAMESPACE", default_value = "")]
    leader_election_namespace: String,

    #[command(flatten)]
    requests: requests::Options,

    #[command(flatten)]
    safety: safety::Options,

    /// Folder where modules of ReadinessPolicies and what they were compiled to are kept, 512 MiB at most;
    /// without it nothing is
    ///
    /// After a restart the last good module of each policy decides at once from there, also while its
    /// registry is away. Nobody else may be able to write to what is made there: what this program has
    /// not written is refused, and brought again.
    #[arg(long, value_name = "FOLDER", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    policy_cache: Option<PathBuf>,

    /// Trust root of ReadinessPolicies that are signed without a key: what `cosign trusted-root create` writes;
    /// without it none of them is taken
    ///
    /// It is read again whenever a signature is verified, so that a mounted one can be exchanged.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    trusted_root: Option<PathBuf>,

    #[command(flatten)]
    metrics: metrics::Options,

    #[command(flatten)]
    webhook: webhook::Options,

    #[command(flatten)]
    log: log::Options,

    /// Accepted, and without effect: no profiles are served
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pprof_bind_address: String,
}

const HELP: &str = "\
Flags are those of the Go controller, with its names and defaults, in the syntax of Go: `-flag` is \
`--flag`, the value stands after `=` or a space, and a boolean stands alone or with `=false`. Where \
a flag is given twice, the last one counts.

Run one replica, or any number with --leader-elect. The lease is ba65f13e.readiness.node.x-k8s.io, \
which is that of the Go controller too: the two never write at the same time. One that does not lead \
watches and writes nothing; it takes over 15 s after the last sign of a leader that is gone, and at \
once from one that was ended by SIGTERM.

--kube-api-qps and --kube-api-burst mean what they mean to client-go: a negative number of \
requests in a second is no limit, and 0 is 5; a burst of 0 is 10. A negative burst is 10 as well, \
where the number is limited. Watches and the lease are not limited. A request without an answer \
within --kube-api-timeout is made again; give more where admission webhooks for nodes take longer.

The webhook's certificate is read from $TMPDIR (else /tmp)/k8s-webhook-server/serving-certs, files \
tls.crt and tls.key, and read again when they change. With --webhook-manage-certificates the host \
makes and renews one itself, for the names by which the ValidatingWebhookConfiguration calls it, and \
keeps the caBundle there in place. It then needs the rights to get, list, watch and patch that \
object, and to get, list, watch, create and update the Secret.

The log goes to stderr: text on a terminal, JSON lines otherwise. The variable RUST_LOG, where it is \
set, says what is logged instead of --zap-log-level, such as RUST_LOG=info,controller=debug.

Examples:
  host run --kubeconfig ~/.kube/config
  host run --node-concurrent-reconciles=10 --zap-log-level=debug
  host run --metrics-bind-address=:8443

Exit status:
  0  ended by SIGTERM or SIGINT, after what was under way
  1  a certificate is missing or cannot be used
  2  bad usage, no cluster, or an address that cannot be served";

/// Runs until SIGTERM or SIGINT.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        kubeconfig,
        health_probe_bind_address,
        node_concurrent_reconciles,
        rule_concurrent_reconciles,
        leader_elect,
        leader_election_namespace,
        requests,
        safety,
        policy_cache,
        trusted_root,
        metrics,
        webhook,
        log,
        pprof_bind_address,
    } = options;
    let options = controller::Options {
        kubeconfig: kubeconfig.filter(|path| !path.as_os_str().is_empty()),
        health: address("--health-probe-bind-address", &health_probe_bind_address)?,
        node_state_metrics: metrics.enable_node_state_metrics,
        metrics: metrics.check()?,
        node_workers: node_concurrent_reconciles.get(),
        rule_workers: rule_concurrent_reconciles.get(),
        limits: safety.limits(requests.kube_api_timeout),
        webhook: webhook.check()?,
        leader_election: leader_elect
            .then(|| leader_election(leader_election_namespace))
            .transpose()?,
        requests: requests.limit()?,
        compiler: Some(compiler(policy_cache)?),
        trusted_root: trusted_root.filter(|path| !path.as_os_str().is_empty()),
    };
    log.start()?;
    if !matches!(pprof_bind_address.as_str(), "" | "0") {
        warn!("--pprof-bind-address has no effect: this program serves no profiles");
    }
    let engine = Engine::new(&engine::Options::default())?;
    // One thread does it all: several wake each other more than they work, half a millisecond for each
    // taint, and the API server is never that fast.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM"),
                _ = interrupt.recv() => tracing::info!("SIGINT"),
            }
        };
        match controller::run(options, engine, shutdown).await {
            // As the Go controller has it.
            Err(
                error @ (RunError::Webhook(WebhookError::Certificate(_))
                | RunError::Metrics(MetricsError::Certificate(_))),
            ) => {
                output::error(error);
                Ok(Exit::Unexpected)
            }
            done => Ok(done.map(|()| Exit::Success)?),
        }
    });
    // A module that is being compiled does not hold up the end.
    runtime.shutdown_background();
    done
}

fn compiler(cache: Option<PathBuf>) -> Result<Compiler, BadInput> {
    let mut compiler = compile_policy::compiler();
    if let Some(folder) = cache.filter(|path| !path.as_os_str().is_empty()) {
        let cache = Cache::open(&folder)
            .map_err(|error| BadInput::one(format!("--policy-cache: {error}")))?;
        compiler.cache = Some(cache.with_at_most(POLICY_CACHE));
    }
    Ok(compiler)
}

fn leader_election(namespace: String) -> Result<LeaderElection, BadInput> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = namespace.as_str();
    let is_name = name.len() <= 63
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_name {
        return Err(BadInput::one(format!(
            "--leader-election-namespace={name}: this is no name of a namespace: at most 63 of a-z, \
             0-9 and -, with a letter or a digit at both ends"
        )));
    }
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    Ok(LeaderElection { namespace })
}

fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "give a whole number from 1".to_owned())
}

/// An address as Go writes it.
fn address(flag: &str, text: &str) -> Result<Option<SocketAddr>, BadInput> {
    serve::address(text).map_err(|why| BadInput::one(format!("{flag}={text}: {why}")))
}

#[cfg(test)]
mod tests;
