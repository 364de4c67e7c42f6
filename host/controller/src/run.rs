//! Starts the parts, and stops them.

use std::sync::Arc;
use std::time::Duration;

use api::node::Node;
use api::{NodeReadinessRule, ReadinessPolicy};
use engine::Engine;
use futures::{StreamExt, TryStreamExt};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::client::timely;
use crate::connect::{ConnectError, connect_apart, connect_with};
use crate::events::Events;
use crate::gate::Gate;
use crate::lease::{self, Election, NoNamespace};
use crate::limit::Limit;
use crate::metrics::{self, Metrics, MetricsError};
use crate::options::{LeaderElection, Options};
use crate::policies::{self, Keeper, Live, Policies};
use crate::rules::has_finalizer;
use crate::shared::Shared;
use crate::webhook::{self, WebhookError};
use crate::{health, memory, node, related, reporters, rule};
use serve::Server;

/// Everything is looked at again this often, whatever the watches say.
const RESYNC: Duration = Duration::from_secs(10 * 60);
/// How long requests that were under way may take when the loop is told to end.
const GRACE: Duration = Duration::from_secs(10);
/// Changes of rules that are taken together if they are there.
const MOST_AT_ONCE: usize = 1024;

/// Why the control loop ended, or never began.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The default policy does not load.
    #[error("the default policy cannot be loaded: {0}")]
    Policy(#[from] engine::LoadError),
    /// The webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The health address cannot be served.
    #[error(
        "health probes cannot be served at {address}: {error}; --health-probe-bind-address gives another, 0 none"
    )]
    Health {
        /// As given.
        address: std::net::SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A metric has a name that Prometheus refuses: a defect.
    #[error("the metrics cannot be made: {0}; please report this")]
    Names(#[from] prometheus::Error),
    /// It is not known where the lease is.
    #[error(transparent)]
    Namespace(#[from] NoNamespace),
    /// A part of the loop ended by itself: a defect.
    #[error("a part of the control loop ended: {0}; please report this")]
    Ended(String),
}

/// Watches, decides and applies until `shutdown` is ready; then finishes what is under way.
pub async fn run(
    options: Options,
    engine: Engine,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let Options {
        kubeconfig,
        health: health_address,
        metrics,
        node_state_metrics,
        node_workers,
        rule_workers,
        limits,
        webhook,
        leader_election,
        requests,
        compiler,
        trusted_root,
    } = options;
    let policies = Arc::new(Live::new(Policies::new(engine.default_policy()?)));
    let namespace = match leader_election {
        Some(LeaderElection { namespace }) => Some(lease::namespace(namespace)?),
        None => None,
    };
    let webhook = match webhook {
        Some(options) => Some(webhook::Bound::new(options).await?),
        None => None,
    };
    let metrics = match metrics {
        Some(options) => Some(metrics::Bound::new(options).await?),
        None => None,
    };
    let measured = Arc::new(Metrics::new(node_state_metrics)?);
    let client = connect_with(kubeconfig.as_deref(), Some(&measured)).await?;
    let client = match requests {
        Some(limit) => Limit::new(limit.per_second, limit.burst).guard(client),
        None => client,
    };
    let (nodes_synced, rules_synced) = (watch::Sender::new(false), watch::Sender::new(false));
    let policies_synced = watch::Sender::new(false);
    let synced = [
        nodes_synced.subscribe(),
        rules_synced.subscribe(),
        policies_synced.subscribe(),
    ];
    let rules_known = rules_synced.subscribe();
    // What only a leader may write goes by this one.
    let (mut election, gate, guarded) = match namespace {
        Some(namespace) => {
            // Before, it could not lead: it would hold a lease and do nothing.
            let ready = all(synced.clone());
            let apart = connect_apart(kubeconfig.as_deref(), &measured).await?;
            let (election, gate) = Election::start(apart, &namespace, ready);
            let guarded = gate.guard(client.clone());
            (Some(election), Some(gate), guarded)
        }
        None => (None, None, client.clone()),
    };
    let mut tasks = JoinSet::new();
    // Servers answer to the end.
    let end_servers = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    if let Some(address) = health_address {
        let failed = |error| RunError::Health { address, error };
        let server = Server::bind(address).await.map_err(failed)?;
        let address = server.address().map_err(failed)?;
        info!(%address, "health probes are served");
        servers.spawn(server.serve(health::answer, end_servers.subscribe()));
    }
    let (events, send_events) = Events::new(guarded.clone(), limits.timeout, Arc::clone(&measured));
    let send_events = tokio::spawn(send_events);
    let (nodes, node_writer) = reflector::store::<Node>();
    let (objects, object_writer) = reflector::store::<NodeReadinessRule>();
    let shared = Arc::new(Shared::new(
        guarded, policies, events, limits, nodes, objects, measured,
    ));
    if election.is_some() {
        shared.end_term(); // none began
    }
    if let Some(metrics) = metrics {
        servers.spawn(metrics.serve(Arc::clone(&shared), client.clone(), end_servers.subscribe()));
    }
    if let Some(webhook) = webhook {
        let known = webhook::Known {
            rules: shared.objects.clone(),
            policies: Arc::clone(&shared.policies),
            prefixes: shared.limits.prefixes.clone(),
            reporters: Arc::clone(&shared.reporters),
            events: shared.events.clone(),
        };
        shared.metrics.serves_webhook(webhook.certificate());
        servers.spawn(webhook.serve(client.clone(), known, end_servers.subscribe()));
    }
    let config = watch_config(&client).await;
    memory::let_go_of_the_start();
    tasks.spawn(watch_nodes(
        Arc::clone(&shared),
        node_writer,
        config.clone(),
        nodes_synced,
    ));
    tasks.spawn(watch_rules(
        Arc::clone(&shared),
        object_writer,
        config.clone(),
        rules_synced,
    ));
    let (policy_objects, policy_writer) = reflector::store::<ReadinessPolicy>();
    let first = Arc::new(policies::First::new(policies_synced));
    let keeper = Keeper::new(
        Arc::clone(&shared),
        policy_objects,
        engine,
        compiler,
        trusted_root,
        Arc::clone(&first),
    );
    tasks.spawn(related::watch(Arc::clone(&shared), config.clone()));
    let watched = policies::watch(Arc::clone(&shared), policy_writer, config, first);
    tasks.spawn(async move {
        let keep = async {
            // A module is compared by the rules that name it.
            all([rules_known]).await;
            keeper.work().await;
        };
        tokio::join!(watched, keep);
    });
    let workers = [node_workers, rule_workers];
    tasks.spawn(work(Arc::clone(&shared), gate, synced, workers));

    tokio::pin!(shutdown);
    let election_ended = async {
        match &mut election {
            Some(election) => election.ended().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = &mut shutdown => None,
        ended = tasks.join_next() => ended,
        Some(ended) = servers.join_next() => Some(ended),
        what = election_ended => return Err(RunError::Ended(what)),
    };
    match ended {
        None => {
            info!("shutting down");
            let finish = async {
                shared.nodes_due.close();
                shared.rules_due.close();
                shared.policies_due.close();
                tokio::join!(shared.nodes_due.idle(), shared.rules_due.idle());
                end_servers.send_replace(true);
                while servers.join_next().await.is_some() {}
                // The work of sending events ends when nobody is left who could hand one in.
                tasks.shutdown().await;
                drop(shared);
                send_events.await
            };
            if tokio::time::timeout(GRACE, finish).await.is_err() {
                // Nor is the lease released: a write of ours may still arrive.
                warn!("some requests were not finished in time");
            } else if let Some(election) = election {
                election.release().await;
            }
            Ok(())
        }
        Some(Err(error)) => Err(RunError::Ended(error.to_string())),
        Some(Ok(())) => Err(RunError::Ended("without an error".to_owned())),
    }
}

/// Nothing is decided before the rules and the nodes are known: a node without its rules would be
/// let go. Policies are tried once before, so that their rules are not Stalled after each start.
async fn work(
    shared: Arc<Shared>,
    gate: Option<Gate>,
    synced: [watch::Receiver<bool>; 3],
    [node_workers, rule_workers]: [usize; 2],
) {
    all(synced).await;
    info!(
        nodes = shared.nodes.len(),
        rules = shared.objects.len(),
        "caches are synced"
    );
    let statuses = Arc::new(rule::Statuses::default());
    let mut workers = JoinSet::new();
    for _ in 0..node_workers.max(1) {
        workers.spawn(node::work(Arc::clone(&shared)));
    }
    for _ in 0..rule_workers.max(1) {
        workers.spawn(rule::work(Arc::clone(&shared), Arc::clone(&statuses)));
    }
    match gate {
        Some(gate) => workers.spawn(terms(Arc::clone(&shared), statuses, gate)),
        None => {
            let shared = Arc::clone(&shared);
            workers.spawn(async move { reporters::watch(&shared).await })
        }
    };
    workers.spawn(resync(shared));
    workers.join_next().await;
}

/// Waits until all caches are synced.
async fn all<const N: usize>(synced: [watch::Receiver<bool>; N]) {
    for mut synced in synced {
        if synced.wait_for(|synced| *synced).await.is_err() {
            // Its watch ended, which ends the loop.
            std::future::pending::<()>().await;
        }
    }
}

/// Works while this host leads, and only then: what another one wrote meanwhile is found out anew.
async fn terms(shared: Arc<Shared>, statuses: Arc<rule::Statuses>, mut gate: Gate) {
    loop {
        shared.metrics.set_leader(lease::NAME, false);
        let term = gate.begins().await;
        // Nobody works with what was known in an earlier term.
        tokio::join!(shared.nodes_due.idle(), shared.rules_due.idle());
        info!("this host leads");
        shared.metrics.set_leader(lease::NAME, true);
        statuses.clear();
        shared.begin_term();
        tokio::select! {
            () = gate.over(term) => {}
            () = reporters::watch(&shared) => {}
        }
        shared.end_term();
        warn!("this host does not lead any more: it writes nothing, and goes on watching");
    }
}

async fn resync(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(RESYNC).await;
        shared.all_nodes_due();
    }
}

/// A streaming list keeps memory flat, where the server has it: since 1.34 without an opt-in.
async fn watch_config(client: &Client) -> watcher::Config {
    let minor = match timely(client.apiserver_version()).await {
        Ok(version) => version
            .minor
            .trim_end_matches('+')
            .parse::<u32>()
            .unwrap_or_default(),
        Err(_) => 0,
    };
    if minor >= 34 {
        watcher::Config::default().streaming_lists()
    } else {
        watcher::Config::default()
    }
}

async fn watch_nodes(
    shared: Arc<Shared>,
    writer: reflector::store::Writer<Node>,
    config: watcher::Config,
    synced: watch::Sender<bool>,
) {
    let events = watcher::watcher(Api::<Node>::all(shared.client.clone()), config);
    let events = reflector(writer, events).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(node) | Event::Delete(node))) => {
                shared.nodes_due.add(node.facts.name.clone())
            }
            Ok(Some(Event::InitDone)) => {
                // A node that went while nobody watched has no event of its own.
                shared.all_nodes_due();
                synced.send_replace(true);
            }
            Ok(Some(Event::Init | Event::InitApply(_))) => {}
            Ok(None) => return,
            Err(error) => warn!(
                error = crate::connect::chain(&error),
                "nodes cannot be watched; trying again"
            ),
        }
    }
}

async fn watch_rules(
    shared: Arc<Shared>,
    writer: reflector::store::Writer<NodeReadinessRule>,
    config: watcher::Config,
    synced: watch::Sender<bool>,
) {
    let events = watcher::watcher(Api::<NodeReadinessRule>::all(shared.client.clone()), config);
    // Whatever comes together is looked at once.
    let changes = reflector(writer, events).default_backoff();
    let mut changes = std::pin::pin!(changes.ready_chunks(MOST_AT_ONCE));
    while let Some(changes) = changes.next().await {
        shared.refresh_rules();
        for change in changes {
            let done = matches!(change, Ok(Event::InitDone));
            rule_changed(&shared, change);
            if done {
                synced.send_replace(true);
            }
        }
    }
}

fn rule_changed(shared: &Shared, change: watcher::Result<Event<NodeReadinessRule>>) {
    match change {
        Ok(Event::Apply(rule) | Event::Delete(rule)) => {
            shared.policy_of_rule_due(&rule);
            let name = rule.name_any();
            if has_finalizer(&rule) && rule.metadata.deletion_timestamp.is_none() {
                // What it says of its nodes is known when they were looked at.
                shared.status_due(&name);
            } else {
                shared.rules_due.add(name);
            }
        }
        Ok(Event::InitDone) => {
            for rule in shared.objects.state() {
                shared.rules_due.add(rule.name_any());
            }
        }
        Ok(Event::Init | Event::InitApply(_)) => {}
        // The API server ends every watch when the definition changes.
        Err(watcher::Error::WatchError(status)) if status.code == 410 => {
            debug!(error = status.message, "rules are listed again");
        }
        Err(error) => warn!(
            error = crate::connect::chain(&error),
            "rules cannot be watched; trying again (is the CRD there? `host crd` prints it)"
        ),
    }
}
