//! The chart's rights are enough, and each that is taken away is missed.

use api::lease::NODE_LEASES;
use cluster_tests::helm::{Helm, start_pod_of};
use cluster_tests::proxy::Proxy;
use cluster_tests::{Cluster, agent_rule, wait, worker};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use crate::verbs::{client_of, node_changes};
use crate::{DEPLOYMENT, NAMESPACE, RELEASE};

/// Rights that are not missed here, though they are used.
const UNSEEN: [(&str, &str); 9] = [
    // Only on API servers that stream no lists, before 1.34.
    ("nodes", "list"),
    ("nodereadinessrules", "list"),
    ("readinesspolicies", "list"),
    ("pods", "list"),
    ("csinodes", "list"),
    ("resourceslices", "list"),
    ("leases of nodes", "list"),
    // Only by a host that waits; without them a lease that is given back is seen later.
    ("leases", "list"),
    ("leases", "watch"),
];

/// The role as it is, and a way to change it.
struct Role<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    namespace: &'static str,
}

impl Role<'_> {
    fn rules(&self) -> Vec<PolicyRule> {
        let get = [
            "get",
            self.name,
            "--namespace",
            self.namespace,
            "--output=json",
        ];
        let text = self.cluster.plane.kubectl_ok(&get).unwrap();
        let role: Value = serde_json::from_str(&text).unwrap();
        serde_json::from_value(role["rules"].clone()).unwrap()
    }

    fn set(&self, rules: &[PolicyRule]) {
        let patch = json!({ "rules": rules }).to_string();
        let arguments = [
            "patch",
            self.name,
            "--namespace",
            self.namespace,
            "--type=merge",
            "--patch",
            &patch,
        ];
        self.cluster.plane.kubectl_ok(&arguments).unwrap();
    }

    /// The authorizer sees roles by a watch.
    async fn until(&self, verb: &str, resource: &str, allowed: bool) {
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-{CHART}");
        let (resource, more) = match resource.split_once('/') {
            Some((resource, sub)) => (resource, format!("--subresource={sub}")),
            None => (resource, "--quiet".to_owned()),
        };
        let group = match resource {
            "nodes" | "pods" => resource.to_owned(),
            "leases" => "leases.coordination.k8s.io/ba65f13e.readiness.node.x-k8s.io".to_owned(),
            "events" => "events.events.k8s.io".to_owned(),
            "daemonsets" => "daemonsets.apps".to_owned(),
            "csinodes" => "csinodes.storage.k8s.io".to_owned(),
            "resourceslices" => "resourceslices.resource.k8s.io".to_owned(),
            other => format!("{other}.readiness.node.x-k8s.io"),
        };
        let ask = [
            "auth",
            "can-i",
            verb,
            &group,
            &account,
            "--namespace",
            self.namespace,
            &more,
        ];
        wait::until_true("the authorizer knows the role", || async {
            Ok(self.cluster.plane.kubectl(&ask)?.status.success() == allowed)
        })
        .await
        .unwrap();
    }
}

/// Helm installed its definition.
const POLICIES: &str = "
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: own}
spec: {module: {builtin: {name: default}}}
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: pods-ready}
spec:
  module: {builtin: {name: pods-ready}}
  allow: ['node-readiness:policy/node', 'node-readiness:policy/rule', 'node-readiness:policy/bootstrap', 'node-readiness:policy/pods']
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: heartbeat}
spec:
  module: {builtin: {name: heartbeat}}
  allow: ['node-readiness:policy/node', 'node-readiness:policy/rule', 'node-readiness:policy/bootstrap', 'node-readiness:policy/lease']
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: csi-ready}
spec:
  module: {builtin: {name: csi-ready}}
  allow: ['node-readiness:policy/node', 'node-readiness:policy/rule', 'node-readiness:policy/bootstrap', 'node-readiness:policy/csi']
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: devices-ready}
spec:
  module: {builtin: {name: devices-ready}}
  allow: ['node-readiness:policy/node', 'node-readiness:policy/rule', 'node-readiness:policy/bootstrap', 'node-readiness:policy/devices']
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: ReadinessPolicy
metadata: {name: daemon-sets-ready}
spec:
  module: {builtin: {name: daemon-sets-ready}}
  allow: ['node-readiness:policy/node', 'node-readiness:policy/rule', 'node-readiness:policy/bootstrap', 'node-readiness:policy/daemonsets']
";

const CHART: &str = "node-readiness-controller";

#[tokio::test]
async fn compat_045_046_the_charts_rights_are_enough_and_each_is_missed() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let install = [
        "install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--set=policyFacts.pods=true,policyFacts.leases=true,policyFacts.csiNodes=true,policyFacts.resourceSlices=true,policyFacts.daemonSets=true",
        "--timeout=60s",
    ];
    helm.run(&cluster, &install).await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.apply(POLICIES).unwrap();
    let host = start_pod_of(&cluster, NAMESPACE, DEPLOYMENT, &[]).await;
    let mut host = host.unwrap();
    for objects in [
        "the pods",
        "the leases",
        "the CSI drivers",
        "the devices",
        "the DaemonSets",
    ] {
        let watched = format!("a policy asks about {objects}");
        host.until_logged(&watched).await.unwrap();
    }
    cluster.until_held("node-1").await;
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    cluster.until_event("node-1", "TaintRemoved").await.unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    cluster.delete_rule("agent").await.unwrap();
    let log = host.log().unwrap();
    let refused = log.lines().filter(|line| line.contains("forbidden"));
    let refused: Vec<_> = refused.collect();
    assert!(refused.is_empty(), "{refused:#?}");
    host.terminate().await.unwrap();
    cluster.agent_reports("node-1", "False").await;

    let mut missed = 0;
    for (name, namespace) in [
        (
            "clusterrole/nrc-node-readiness-controller-manager-role",
            NAMESPACE,
        ),
        (
            "role/nrc-node-readiness-controller-leader-election-role",
            NAMESPACE,
        ),
        (
            "role/nrc-node-readiness-controller-node-leases-role",
            NODE_LEASES,
        ),
    ] {
        let role = Role {
            cluster: &cluster,
            name,
            namespace,
        };
        let all = role.rules();
        for (index, rule) in all.iter().enumerate() {
            let resource = rule.resources.clone().unwrap().remove(0);
            for verb in &rule.verbs {
                let known_as = match namespace {
                    NODE_LEASES => "leases of nodes",
                    _ => &resource,
                };
                if UNSEEN.contains(&(known_as, verb)) {
                    continue;
                }
                let mut reduced = all.clone();
                reduced[index].verbs.retain(|other| other != verb);
                // A rule without verbs is refused.
                reduced.retain(|rule| !rule.verbs.is_empty());
                role.set(&reduced);
                role.until(verb, &resource, false).await;
                is_missed(&cluster, verb, &resource).await;
                role.set(&all);
                role.until(verb, &resource, true).await;
                missed += 1;
            }
        }
    }
    assert_eq!(missed, 18);
}

/// A host that begins anew says that it may not.
async fn is_missed(cluster: &Cluster, verb: &str, resource: &str) {
    // Whoever held it was killed.
    let lease = [
        "delete",
        "lease",
        "--all",
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
    ];
    cluster.plane.kubectl_ok(&lease).unwrap();
    // A new one has no status yet.
    let policy = ["delete", "nrp", "--all"];
    cluster.plane.kubectl_ok(&policy).unwrap();
    cluster.apply(POLICIES).unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let account = format!("{RELEASE}-{CHART}");
    // A node is read again where a patch was refused because it had changed.
    let client = client_of(cluster, NAMESPACE, &account).await;
    let proxy = Proxy::start(client, node_changes(cluster)).await.unwrap();
    let namespace = format!("--leader-election-namespace={NAMESPACE}");
    let arguments = ["--leader-elect", &namespace, "--zap-encoder=console"];
    let host = proxy.spawn_host(cluster, &arguments).unwrap();
    let said = format!("cannot {verb} resource \"{resource}\"");
    let what = format!("the host says: {said}");
    let logged = wait::until_true(&what, || {
        let log = host.log();
        let said = said.clone();
        async move { Ok(log?.replace('\\', "").contains(&said)) }
    });
    let logged = logged.await;
    let log = host.log().unwrap();
    assert!(logged.is_ok(), "{logged:?}\n{log}");
    host.kill().await.unwrap();
    // By force: nobody is there who would remove the finalizer.
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]).to_string();
    let patch = ["patch", "nrr", "agent", "--type=json", "--patch", &free];
    let _ = cluster.plane.kubectl(&patch).unwrap();
    cluster.delete_rule("agent").await.unwrap();
    let free = json!([{ "op": "remove", "path": "/spec/taints" }]).to_string();
    let patch = ["patch", "node", "node-1", "--type=json", "--patch", &free];
    let _ = cluster.plane.kubectl(&patch).unwrap();
}
