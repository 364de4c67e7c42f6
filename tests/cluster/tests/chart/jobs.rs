//! Each verb of the roles of the Jobs and of the metrics is needed: without it a run fails. The roles are read
//! from what the chart renders.

use std::path::Path;
use std::process::Command;

use cluster_tests::helm::{Helm, kubeconfig_of};
use cluster_tests::proxy::Proxy;
use cluster_tests::{Cluster, Host, host_program, wait};
use kube::{Client, Config};
use serde_json::json;

use crate::verbs::{
    Chart, Missing, applied, client_of, is_missed, node_changes, releases, until_authorized,
};

/// Metrics that only some may read.
const METRICS: &str = "metrics.enabled=true,metrics.secure=true,metrics.certSecretName=";

/// Runs a Job of a release with the rights that are in the cluster; did it succeed, and what did it say?
async fn run(cluster: &Cluster, chart: &Chart, job: &str, release: &str) -> (bool, String) {
    let account = format!("{release}-node-readiness-controller-{job}");
    let client = client_of(cluster, release, &account).await;
    let proxy = Proxy::start(client, node_changes(cluster)).await.unwrap();
    let mut command = Command::new(host_program().unwrap());
    command.args(chart.arguments(job, release));
    command.env("KUBECONFIG", proxy.kubeconfig(cluster).unwrap());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A rule of a release with its finalizer, one that stays, and a node that is held for one that is gone.
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
    let stays = stays(release);
    let mut other = rule.clone();
    other["metadata"] = json!({ "name": stays });
    applied(cluster, vec![rule, other, node]);
    let says = json!({ "status": { "observedGeneration": 1 } }).to_string();
    let patch = [
        "patch",
        "nrr",
        &stays,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &says,
    ];
    cluster.plane.kubectl_ok(&patch).unwrap();
}

/// Name of the rule that is no part of the release.
fn stays(release: &str) -> String {
    format!("{release}-stays")
}

/// What a failed run leaves, which the next one would stumble over.
fn forget(cluster: &Cluster, release: &str) {
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]).to_string();
    let patch = ["patch", "nrr", release, "--type=json", "--patch", &free];
    // Gone where the run came that far.
    let _ = cluster.plane.kubectl(&patch).unwrap();
    let delete = [
        "delete",
        "nrr",
        release,
        &stays(release),
        "--ignore-not-found",
    ];
    cluster.plane.kubectl_ok(&delete).unwrap();
}

#[tokio::test]
async fn compat_046_each_verb_of_the_job_that_upgrades_definitions_is_needed() {
    let cluster = Cluster::start().await.unwrap();
    let chart = Chart::render(&Helm::new(&cluster).unwrap(), "");
    let job = "crd-upgrade";
    let releases = releases(&cluster, &chart, chart.verbs(job), |name| {
        name.contains("crd-upgrade")
    })
    .await;
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
    let chart = Chart::render(&Helm::new(&cluster).unwrap(), "");
    let job = "cleanup";
    let needs = |name: &str| name.contains("cleanup") || name.ends_with("-manager");
    let releases = releases(&cluster, &chart, chart.verbs(job), needs).await;
    assert!(releases.len() >= 13);
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
    let chart = Chart::render(&Helm::new(&cluster).unwrap(), METRICS);
    let needs = |name: &str| !name.contains("cleanup") && !name.contains("crd-upgrade");
    let releases = releases(&cluster, &chart, chart.verbs("-metrics-"), needs).await;
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
