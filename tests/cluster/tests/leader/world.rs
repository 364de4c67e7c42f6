//! A cluster in which something always has to be written, and what must be true of its audit log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_tests::audit::{self, Request};
use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, wait, worker};
use control_plane::{Lifetime, Options, User};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The users whom two hosts are, so that the audit log tells them apart.
pub const USERS: [&str; 2] = ["host-a", "host-b"];
pub const LEASE: &str = "ba65f13e.readiness.node.x-k8s.io";
pub const NAMESPACE: &str = "kube-system";
/// A taint of somebody else, on every node.
const FOREIGN: &str = "example.com/foreign";

pub struct World {
    pub cluster: Arc<Cluster>,
}

impl World {
    /// Five workers with a foreign taint, and a rule that holds them until they are ready.
    pub async fn start() -> Self {
        let users = USERS.map(|name| User {
            name: name.to_owned(),
            groups: vec!["system:masters".to_owned()],
        });
        let options = Options {
            audit_policy: Some(audit::POLICY.to_owned()),
            users: users.to_vec(),
            ..Options::default()
        };
        Self::start_with(&options).await
    }

    pub async fn start_with(options: &Options) -> Self {
        let assets = control_plane::assets(&mut |_| {}).unwrap();
        let cluster = Cluster::start_with(&assets, options).await.unwrap();
        wait::until_true("the namespace is there", || async {
            let namespaces =
                Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client.clone());
            Ok(namespaces.get_opt(NAMESPACE).await?.is_some())
        })
        .await
        .unwrap();
        for number in 0..5 {
            let mut node = worker(&format!("node-{number}"), false);
            let foreign = (FOREIGN.to_owned(), String::new(), "NoSchedule".to_owned());
            node.taints.push(foreign);
            cluster.create_node(&node).await.unwrap();
        }
        cluster.apply(&agent_rule("agent", "continuous")).unwrap();
        Self {
            cluster: Arc::new(cluster),
        }
    }

    /// Starts a host that wants to lead, and waits until its caches are synced.
    pub async fn host(&self, user: &str) -> Host {
        let kubeconfig = self.cluster.plane.kubeconfig_for(user).unwrap();
        self.host_by(&kubeconfig, &[]).await
    }

    pub async fn host_by(&self, kubeconfig: &Path, arguments: &[&str]) -> Host {
        let log: PathBuf = self.cluster.new_log();
        let mut all = vec!["--leader-elect", "--leader-election-namespace", NAMESPACE];
        all.extend(arguments);
        let mut host = Host::spawn(kubeconfig, &log, Lifetime::OfThisProcess, &all).unwrap();
        host.until_logged("caches are synced").await.unwrap();
        host
    }

    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.cluster.client.clone(), NAMESPACE)
    }

    /// What these users sent so far.
    pub fn audit(&self) -> Vec<Request> {
        audit::read(&self.cluster.plane.audit_log(), &USERS).unwrap()
    }

    /// Waits until a user takes the lease after some time, and says when.
    pub async fn until_taken(&self, user: &str, after: Timestamp) -> Timestamp {
        self.until_sent(&format!("{user} takes the lease"), after, |request| {
            request.user == user && request.renews()
        })
        .await
    }

    /// Waits until a user writes to a node after some time, and says when.
    pub async fn until_written(&self, user: &str, after: Timestamp) -> Timestamp {
        self.until_sent(&format!("{user} writes"), after, |request| {
            request.user == user && request.resource == "nodes" && request.is_write()
        })
        .await
    }

    /// Waits until a user renewed the lease some times, and wrote after that.
    pub async fn until_steady(&self, user: &str) {
        let mut after = Timestamp::now();
        for _ in 0..3 {
            after = self.until_taken(user, after).await;
        }
        self.until_written(user, after).await;
    }

    pub async fn until_sent(
        &self,
        what: &str,
        after: Timestamp,
        is: impl Fn(&Request) -> bool,
    ) -> Timestamp {
        wait::until(what, || {
            let requests = self.audit();
            let found = requests
                .iter()
                .find(|request| request.received > after && is(request));
            let found = found.map(|request| request.received);
            async move { Ok(found.ok_or_else(|| "not yet".to_owned())) }
        })
        .await
        .unwrap()
    }

    /// Makes nodes ready and unready, one after the other, until it is told to stop.
    pub fn load(&self) -> Load {
        let (stop, stopped) = watch::channel(false);
        let cluster = Arc::clone(&self.cluster);
        let task = tokio::spawn(async move {
            for number in 0.. {
                if *stopped.borrow() {
                    return;
                }
                let node = format!("node-{}", number % 5);
                let ready = if number / 5 % 2 == 0 { "True" } else { "False" };
                let set = cluster.set_condition(&node, "example.com/AgentReady", ready);
                // A server that is away answers nobody, and is no failure of the load.
                let _ = tokio::time::timeout(Duration::from_secs(2), set).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        Load { stop, task }
    }

    /// At rest, every node is as its condition wants it, and the foreign taints are all there.
    pub async fn until_settled(&self) {
        let nodes = self.cluster.nodes();
        wait::until("every taint is as it should be", || async {
            let mut wrong = Vec::new();
            for node in nodes.list(&Default::default()).await? {
                let taints = node
                    .spec
                    .iter()
                    .flat_map(|spec| spec.taints.iter().flatten());
                let keys: Vec<&str> = taints.map(|taint| taint.key.as_str()).collect();
                let conditions = node.status.iter().flat_map(|status| &status.conditions);
                let ready = conditions.flatten().any(|condition| {
                    condition.type_ == "example.com/AgentReady" && condition.status == "True"
                });
                let held = keys.contains(&GUIDE_TAINT);
                assert!(keys.contains(&FOREIGN), "it was lost: {keys:?}");
                if held == ready {
                    wrong.push(format!("{:?} ready: {ready} {keys:?}", node.metadata.name));
                }
            }
            Ok(if wrong.is_empty() {
                Ok(())
            } else {
                Err(wrong.join(", "))
            })
        })
        .await
        .unwrap();
    }

    /// Each write was received by the server while its sender held the lease, and not later than its
    /// duration after the sender's last successful renewal was received.
    pub fn check(&self) {
        self.check_all(|_| true, SignedDuration::from_secs(15));
    }

    /// Each write that was carried out was so while nobody but its sender had taken the lease. A server that
    /// stands still has requests in its system's buffers; when it goes on it reads them, and mostly finds in
    /// time that their sender is gone. Nobody can have taken the lease meanwhile.
    pub fn check_carried_out(&self) {
        let carried_out = |request: &Request| (200..300).contains(&request.code);
        self.check_all(carried_out, SignedDuration::MAX);
    }

    fn check_all(&self, counts: impl Fn(&Request) -> bool, longest: SignedDuration) {
        let requests = self.audit();
        let mut holder: Option<&str> = None;
        let mut renewed: [Option<Timestamp>; 2] = [None; 2];
        let mut writes = [0; 2];
        for request in &requests {
            let who = USERS.iter().position(|user| *user == request.user).unwrap();
            if request.stores_lease() {
                holder = request.renews().then_some(request.user.as_str());
                if request.renews() {
                    renewed[who] = Some(request.received);
                }
            } else if request.is_write() && counts(request) {
                writes[who] += 1;
                let Some(sent) = renewed[who] else {
                    panic!("a write before the lease: {request:?}");
                };
                let age = request.received.duration_since(sent);
                assert!(age <= longest, "{age:?} old: {request:?}");
                assert_eq!(holder, Some(request.user.as_str()), "{request:?}");
            }
        }
        assert!(
            writes.iter().sum::<usize>() > 0,
            "nothing was written at all"
        );
    }
}

/// Runs until it is stopped.
pub struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}
