//! Each verb of the roles of the Jobs and of the metrics is needed: without it a run fails. The roles are read
//! from what the chart renders.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::helm::{Helm, kubeconfig_of};
use cluster_tests::proxy::{Fault, Hook, Proxy};
use cluster_tests::{Cluster, Host, host_program, wait};
use futures::FutureExt;
use kube::api::{Patch, PatchParams};
use kube::{Client, Config};
use serde_json::{Value, json};

/// Name and namespace of the release that is rendered; each run has another one in its place.
const NAME: &str = "variant";
const KINDS: [&str; 6] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Deployment",
];

/// A verb that is missing in a run.
struct Missing {
    role: String,
    rule: usize,
    verb: String,
    /// As the API server names it in a refusal.
    resource: String,
}

/// What the chart renders.
struct Chart {
    objects: Vec<Value>,
}

impl Chart {
    fn render(helm: &Helm) -> Self {
        let chart = Helm::chart().display().to_string();
        let set = "--set=metrics.enabled=true,metrics.secure=true,metrics.certSecretName=";
        let template = ["template", NAME, &chart, "--namespace", NAME, set];
        let text = helm.ask(&template).unwrap();
        let objects = serde_saphyr::from_multiple(&text).unwrap();
        Self { objects }
    }

    /// Each verb of the roles with this in their names.
    fn verbs(&self, part: &str) -> Vec<Missing> {
        let mut all = Vec::new();
        for role in &self.objects {
            let name = role["metadata"]["name"].as_str().unwrap();
            if !role["kind"].as_str().unwrap().ends_with("Role") || !name.contains(part) {
                continue;
            }
            for (rule, of) in role["rules"].as_array().unwrap().iter().enumerate() {
                let resources = of["resources"].as_array();
                let resources = resources.or(of["nonResourceURLs"].as_array()).unwrap();
                assert!(!resources.is_empty(), "{of}");
                for (verb, resource) in of["verbs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|verb| resources.iter().map(move |resource| (verb, resource)))
                {
                    all.push(Missing {
                        role: name.to_owned(),
                        rule,
                        verb: verb.as_str().unwrap().to_owned(),
                        resource: resource.as_str().unwrap().to_owned(),
                    });
                }
            }
        }
        all
    }

    /// Those objects of which a run has need, as of another release, without a verb.
    fn release(
        &self,
        release: &str,
        needs: fn(&str) -> bool,
        missing: Option<&Missing>,
    ) -> Vec<Value> {
        let mut objects: Vec<Value> = self.objects.clone();
        objects.retain(|object| {
            KINDS.contains(&object["kind"].as_str().unwrap())
                && needs(object["metadata"]["name"].as_str().unwrap())
        });
        if let Some(missing) = missing {
            let of = |object: &&mut Value| {
                object["metadata"]["name"] == missing.role.as_str() && object.get("rules").is_some()
            };
            let role = objects.iter_mut().find(of).unwrap();
            take(&mut role["rules"], missing);
        }
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } });
        objects.insert(0, namespace);
        let text = Value::from(objects).to_string().replace(NAME, release);
        serde_json::from_str(&text).unwrap()
    }

    /// What the pod of a Job starts.
    fn arguments(&self, job: &str, release: &str) -> Vec<String> {
        let is_it = |object: &&Value| {
            object["kind"] == "Job" && object["metadata"]["name"].as_str().unwrap().ends_with(job)
        };
        let job = self.objects.iter().find(is_it).unwrap();
        let arguments = &job["spec"]["template"]["spec"]["containers"][0]["args"];
        let text = arguments.to_string().replace(NAME, release);
        serde_json::from_str(&text).unwrap()
    }
}

/// Of a rule with several resources only one loses the verb.
fn take(rules: &mut Value, missing: &Missing) {
    let rules = rules.as_array_mut().unwrap();
    let whole = rules[missing.rule].clone();
    let resources = if whole.get("resources").is_some() {
        "resources"
    } else {
        "nonResourceURLs"
    };
    let split = whole[resources].as_array().unwrap().iter().map(|resource| {
        let mut rule = whole.clone();
        rule[resources] = json!([resource]);
        if *resource == missing.resource.as_str() {
            let verbs = rule["verbs"].as_array_mut().unwrap();
            verbs.retain(|verb| *verb != missing.verb.as_str());
        }
        rule
    });
    // A rule without verbs is refused.
    let split: Vec<Value> = split
        .filter(|rule| !rule["verbs"].as_array().unwrap().is_empty())
        .collect();
    rules.splice(missing.rule..=missing.rule, split);
}

fn applied(cluster: &Cluster, objects: Vec<Value>) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    cluster.apply(&list.to_string()).unwrap();
}

/// Runs a Job of a release with the rights that are in the cluster; did it succeed, and what did it say?
async fn run(cluster: &Cluster, chart: &Chart, job: &str, release: &str) -> (bool, String) {
    let account = format!("{release}-node-readiness-controller-{job}");
    let kubeconfig = kubeconfig_of(cluster, release, &account).unwrap();
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &Default::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let proxy = Proxy::start(client, node_changes(cluster)).await.unwrap();
    let mut command = Command::new(host_program().unwrap());
    command.args(chart.arguments(job, release));
    command.env("KUBECONFIG", proxy.kubeconfig(cluster).unwrap());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Somebody else taints a node before the first patch of it arrives: it is refused, and the node is read again.
fn node_changes(cluster: &Cluster) -> Arc<Hook> {
    let nodes = cluster.nodes();
    let before = Arc::new(AtomicBool::new(true));
    Arc::new(move |method, path| {
        let (nodes, before) = (nodes.clone(), Arc::clone(&before));
        async move {
            if method == "PATCH"
                && path.starts_with("/api/v1/nodes/")
                && before.swap(false, Ordering::SeqCst)
            {
                let mut node = nodes.get("node-1").await.unwrap();
                let taints = node.spec.as_mut().unwrap().taints.as_mut().unwrap();
                taints.push(
                    serde_json::from_value(json!({ "key": "other", "effect": "NoSchedule" }))
                        .unwrap(),
                );
                let change = Patch::Merge(json!({ "spec": { "taints": taints } }));
                nodes
                    .patch("node-1", &PatchParams::default(), &change)
                    .await
                    .unwrap();
            }
            Fault::Pass
        }
        .boxed()
    })
}

/// A rule of a release with its finalizer, and a node that is held for one that is gone.
async fn something_to_clean_up(cluster: &Cluster, release: &str) {
    let taint = "readiness.k8s.io/gone";
    let record = json!([{ "key": taint, "effect": "NoSchedule", "ruleUID": "gone", "rule": "gone",
                          "since": "2026-01-01T00:00:00Z", "reason": "ConditionsNotMet" }]);
    let labels =
        json!({ "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": release });
    let rule = json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": { "name": release, "labels": labels, "finalizers": [api::rule::FINALIZER] },
        "spec": { "conditions": [{ "type": "a", "requiredStatus": "True" }], "enforcementMode": "continuous",
                  "taint": { "key": "readiness.k8s.io/x", "effect": "NoSchedule" }, "nodeSelector": {} },
    });
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "node-1", "annotations": { "readiness.node.x-k8s.io/taint-owners": record.to_string() } },
        "spec": { "taints": [{ "key": taint, "effect": "NoSchedule" }] },
    });
    let delete = ["delete", "node", "node-1", "--ignore-not-found"];
    cluster.plane.kubectl_ok(&delete).unwrap();
    applied(cluster, vec![rule, node]);
}

/// What a failed run leaves, which the next one would stumble over.
fn forget(cluster: &Cluster, release: &str) {
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]).to_string();
    let patch = ["patch", "nrr", release, "--type=json", "--patch", &free];
    // Gone where the run came that far.
    let _ = cluster.plane.kubectl(&patch).unwrap();
    let delete = ["delete", "nrr", release, "--ignore-not-found"];
    cluster.plane.kubectl_ok(&delete).unwrap();
}

/// The authorizer sees roles and bindings by four watches: these come after those that were there before.
async fn until_authorized(cluster: &Cluster) {
    let group = "rbac.authorization.k8s.io";
    let mut objects = Vec::new();
    for (kind, namespace) in [("ClusterRole", None), ("Role", Some("default"))] {
        let metadata = json!({ "name": "last", "namespace": namespace });
        let version = format!("{group}/v1");
        objects.push(json!({
            "apiVersion": version, "kind": kind, "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": [format!("of-{kind}")], "verbs": ["get"] }],
        }));
        objects.push(json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": { "apiGroup": group, "kind": kind, "name": "last" },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": "last" }],
        }));
    }
    applied(cluster, objects);
    for resource in ["of-ClusterRole", "of-Role"] {
        let ask = [
            "auth",
            "can-i",
            "get",
            resource,
            "--as=last",
            "--namespace=default",
        ];
        wait::until_true("the authorizer knows the roles", || async {
            Ok(cluster.plane.kubectl(&ask)?.status.success())
        })
        .await
        .unwrap();
    }
}

/// Puts the rights of a release without a verb there, for each verb, and those of one that has all.
async fn releases(
    cluster: &Cluster,
    chart: &Chart,
    part: &str,
    needs: fn(&str) -> bool,
) -> Vec<(String, Missing)> {
    let mut objects = chart.release("all", needs, None);
    let mut releases = Vec::new();
    for (number, missing) in chart.verbs(part).into_iter().enumerate() {
        let release = format!("without-{number}");
        objects.extend(chart.release(&release, needs, Some(&missing)));
        releases.push((release, missing));
    }
    applied(cluster, objects);
    until_authorized(cluster).await;
    releases
}

fn is_missed(missing: &Missing, (succeeded, said): (bool, String)) {
    let Missing { verb, resource, .. } = missing;
    // A part of a resource has its own name in a refusal.
    let refused = format!("cannot {verb} resource \"{resource}\"");
    assert!(!succeeded, "{verb} {resource} is not missed: {said}");
    assert!(said.contains(&refused), "{refused}: {said}");
}

#[tokio::test]
async fn compat_046_each_verb_of_the_job_that_upgrades_definitions_is_needed() {
    let cluster = Cluster::start().await.unwrap();
    let chart = Chart::render(&Helm::new(&cluster).unwrap());
    let job = "crd-upgrade";
    let releases = releases(&cluster, &chart, job, |name| name.contains("crd-upgrade")).await;
    assert!(releases.len() >= 3);
    let (succeeded, said) = run(&cluster, &chart, job, "all").await;
    assert!(succeeded, "{said}");
    for (release, missing) in &releases {
        // One is there, and the other is created.
        let delete = [
            "delete",
            "crd",
            "readinesspolicies.readiness.node.x-k8s.io",
            "--ignore-not-found",
        ];
        cluster.plane.kubectl_ok(&delete).unwrap();
        is_missed(missing, run(&cluster, &chart, job, release).await);
    }
    let (succeeded, said) = run(&cluster, &chart, job, "all").await;
    assert!(succeeded, "{said}");
}

#[tokio::test]
async fn compat_046_each_verb_of_the_job_that_cleans_up_is_needed() {
    let cluster = Cluster::start().await.unwrap();
    let chart = Chart::render(&Helm::new(&cluster).unwrap());
    let job = "cleanup";
    let needs = |name: &str| name.contains("cleanup") || name.ends_with("-manager");
    let releases = releases(&cluster, &chart, job, needs).await;
    assert!(releases.len() >= 12);
    let (slow, others): (Vec<_>, Vec<_>) = releases
        .iter()
        .partition(|(_, missing)| missing.resource == "leases");
    for (release, missing) in others {
        something_to_clean_up(&cluster, release).await;
        is_missed(missing, run(&cluster, &chart, job, release).await);
        forget(&cluster, release);
    }
    // They wait for a lease that they cannot take, and change nothing meanwhile.
    let (cluster, chart) = (&cluster, &chart);
    let runs = slow.iter().map(|(release, missing)| async move {
        if missing.verb != "create" {
            applied(cluster, vec![json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": "ba65f13e.readiness.node.x-k8s.io", "namespace": release },
            })]);
        }
        is_missed(missing, run(cluster, chart, job, release).await);
    });
    futures::future::join_all(runs).await;

    something_to_clean_up(cluster, "all").await;
    let (succeeded, said) = run(cluster, chart, job, "all").await;
    assert!(succeeded, "{said}");
    let sum = "1 taints removed from 1 nodes, 1 rules deleted, 1 finalizers removed\n";
    assert!(said.ends_with(sum), "{said}");
    // What came while it ran stays.
    let taints = cluster.nodes().get("node-1").await.unwrap();
    let taints = taints.spec.unwrap().taints.unwrap();
    let is_there = |key: &str| taints.iter().any(|taint| taint.key == key);
    assert!(
        is_there("other") && !is_there("readiness.k8s.io/gone"),
        "{taints:?}"
    );
}

/// The status of an answer to `GET /metrics` with a token of a ServiceAccount; 0: there was none.
async fn scraped(kubeconfig: &Path, address: &str) -> u16 {
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &Default::default()).await;
    let mut config = config.unwrap();
    config.cluster_url = format!("https://{address}").parse().unwrap();
    // Self-signed.
    (config.root_cert, config.accept_invalid_certs) = (None, true);
    let client = Client::try_from(config).unwrap();
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    match client.request_text(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
    }
}

#[tokio::test]
async fn compat_046_each_verb_of_who_serves_and_who_reads_metrics_is_needed() {
    let cluster = Cluster::start().await.unwrap();
    let chart = Chart::render(&Helm::new(&cluster).unwrap());
    let needs = |name: &str| !name.contains("cleanup") && !name.contains("crd-upgrade");
    let releases = releases(&cluster, &chart, "-metrics-", needs).await;
    assert!(releases.len() >= 3);
    let all = std::iter::once(("all", None));
    let without = releases
        .iter()
        .map(|(release, missing)| (release.as_str(), Some(missing)));
    for (release, missing) in all.chain(without) {
        let name = format!("{release}-node-readiness-controller");
        let reader = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "scraper", "namespace": release },
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{release}-scraper") },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                         "name": format!("{name}-metrics-reader") },
            "subjects": [{ "kind": "ServiceAccount", "name": "scraper", "namespace": release }],
        });
        applied(&cluster, vec![reader, binding]);
        let kubeconfig = kubeconfig_of(&cluster, release, &name).unwrap();
        let flags = [
            "--metrics-bind-address=127.0.0.1:0",
            "--metrics-secure=true",
        ];
        let host = Host::start(&kubeconfig, &cluster.new_log(), &flags)
            .await
            .unwrap();
        let address = host.served_at("metrics are served").unwrap();
        let scraper = kubeconfig_of(&cluster, release, "scraper").unwrap();
        if let Some(Missing {
            verb,
            resource,
            role,
            ..
        }) = missing
        {
            // One that has the verb too late would be let in.
            until_bound(&cluster, release, role.ends_with("-reader")).await;
            assert_ne!(
                scraped(&scraper, &address).await,
                200,
                "{verb} {resource} is not missed"
            );
            let refused = format!("cannot {verb} resource \\\"{resource}\\\"");
            let log = host.log().unwrap();
            assert!(
                role.ends_with("-reader") || log.contains(&refused),
                "{refused}: {log}"
            );
        } else {
            until_bound(&cluster, release, false).await;
            assert_eq!(
                scraped(&scraper, &address).await,
                200,
                "{}",
                host.log().unwrap()
            );
        }
        host.terminate().await.unwrap();
    }
}

/// The authorizer has seen what a scraper may.
async fn until_bound(cluster: &Cluster, release: &str, without: bool) {
    if without {
        return until_authorized(cluster).await;
    }
    let account = format!("--as=system:serviceaccount:{release}:scraper");
    let ask = ["auth", "can-i", "get", "/metrics", &account];
    wait::until_true("the scraper may read metrics", || async {
        Ok(cluster.plane.kubectl(&ask)?.status.success())
    })
    .await
    .unwrap();
}
