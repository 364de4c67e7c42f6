//! What the chart renders.

use std::path::PathBuf;

use cli_tests::program::workspace;
use cluster_tests::Cluster;
use cluster_tests::helm::{Helm, conforms};
use serde_json::Value;

use crate::{NAMESPACE, RELEASE, file, values};

/// As in a cluster with the Prometheus operator.
const MONITORING: &str = "--api-versions=monitoring.coreos.com/v1";

#[tokio::test]
async fn compat_046_every_kind_of_values_renders_what_the_api_server_knows() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let mut count = 0;
    for entry in std::fs::read_dir(file("values")).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        helm.ask(&["lint", "--strict", &chart, "--values", &path])
            .unwrap();
        let arguments = [
            "template",
            RELEASE,
            &chart,
            "--namespace",
            NAMESPACE,
            "--values",
            &path,
            MONITORING,
        ];
        let rendered = helm.ask(&arguments).unwrap();
        let manifests = cluster.plane.folder().join("rendered.yaml");
        std::fs::write(&manifests, &rendered).unwrap();
        let said = conforms(&cluster, &manifests)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(said.contains("Invalid: 0, Errors: 0"), "{path}: {said}");
        if path.ends_with("cert-manager.yaml") {
            for kind in ["Issuer", "Certificate", "PrometheusRule", "ServiceMonitor"] {
                assert!(
                    said.contains(&format!(": {kind} nrc-node-readiness-")),
                    "{kind}: {said}"
                );
            }
        }
        // A field that no API has is found.
        let wrong = rendered.replacen("priorityClassName:", "priorityClasName:", 1);
        assert_ne!(wrong, rendered);
        std::fs::write(&manifests, &wrong).unwrap();
        let error = conforms(&cluster, &manifests)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("priorityClasName"), "{path}: {error}");
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[tokio::test]
async fn values_that_cannot_work_are_refused_with_the_reason() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    for (set, reason) in [
        (
            "replicaCount=2,leaderElection.enabled=false",
            "only one host may write",
        ),
        (
            "webhook.manageCertificates=true,certManager.enabled=true",
            "leave one of them out",
        ),
        (
            "metrics.serviceMonitor.enabled=true",
            "nothing would be scraped",
        ),
        (
            "metrics.prometheusRule.enabled=true",
            "its alerts would tell of a host that nobody scrapes",
        ),
        (
            "policyFacts.daemonSets=true",
            "whether DaemonSets run on a node is seen by their pods",
        ),
        (
            "controller.extraArgs={--held-warning-after=1h,2h}",
            r#"controller.extraArgs: "2h" follows no flag: "#,
        ),
        (
            "controller.extraArgs={--held-warning-after,1h,2h}",
            r#"controller.extraArgs: "2h" follows no flag: "#,
        ),
        (
            "controller.extraArgs={--held-warning-after 1h}",
            r#"controller.extraArgs: "--held-warning-after 1h" is one argument with a space in it: "#,
        ),
    ] {
        let refused = helm.ask(&["template", RELEASE, &chart, "--set", set]);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(reason), "{set}: {error}");
    }
    let release = values("release");
    let rendered = ["template", RELEASE, &chart, "--values", &release];
    assert!(helm.ask(&rendered).is_ok());
    // Served nowhere: then there is no port to name.
    let nowhere = "metrics.enabled=true,metrics.bindAddress=0";
    assert!(!one(&helm, "deployment", nowhere, &[]).contains("name: metrics,"));
    assert!(one(&helm, "deployment", "metrics.enabled=true", &[]).contains("name: metrics,"));
}

/// A flag with its value as one item or as two, and with one dash as in Go: the host gets what was given, and
/// the Jobs, which are other commands of it, what all of them take.
#[tokio::test]
async fn further_flags_reach_the_host_as_they_are_and_the_jobs_as_they_take_them() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let given = [
        "--taint-key-prefix=a.example.com/",
        "--held-warning-after",
        "1h",
        "--taint-key-prefix",
        "b.example.com/",
        "-taint-key-prefix",
        "c.example.com/",
        "-taint-key-prefix=d.example.com/",
        "--zap-log-level=debug",
    ];
    let set = format!("controller.extraArgs={{{}}}", given.join(","));
    let host = arguments(&helm, "Deployment", "-manager", &set);
    assert!(host.ends_with(&given.map(str::to_owned)), "{host:?}");
    let flags = ["a", "b", "c", "d"].map(|one| format!("--taint-key-prefix={one}.example.com/"));
    for job in ["-crd-upgrade", "-cleanup"] {
        let without = arguments(&helm, "Job", job, "replicaCount=1");
        let with = [without, flags.to_vec()].concat();
        assert_eq!(arguments(&helm, "Job", job, &set), with);
    }
    // And a file that the chart mounts for one.
    let mounted = "policyCache.enabled=false,policyTrustedRoot.configMap=roots,policyTrustedRoot.key=ours.json";
    let host = arguments(&helm, "Deployment", "-manager", mounted);
    let root = "--trusted-root=/etc/node-readiness-host/trusted-root/ours.json";
    assert_eq!(host.last().map(String::as_str), Some(root));
    let pod = one(&helm, "deployment", mounted, &[]);
    for part in [
        "- {name: trusted-root, mountPath: /etc/node-readiness-host/trusted-root, readOnly: true}",
        "configMap: {name: roots, optional: true}",
    ] {
        assert!(pod.contains(part), "{part} is not in\n{pod}");
    }
    let without = one(&helm, "deployment", "replicaCount=1", &[]);
    assert!(!without.contains("trusted-root"), "{without}");
}

/// What a pod of the chart starts with these values.
fn arguments(helm: &Helm, kind: &str, name: &str, set: &str) -> Vec<String> {
    let chart = Helm::chart().display().to_string();
    let rendered = helm.ask(&["template", RELEASE, &chart, "--set", set]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered.unwrap()).unwrap();
    let is_it = |object: &&Value| {
        object["kind"] == kind && object["metadata"]["name"].as_str().unwrap().ends_with(name)
    };
    let object = objects.iter().find(is_it).unwrap();
    let arguments = &object["spec"]["template"]["spec"]["containers"][0]["args"];
    serde_json::from_value(arguments.clone()).unwrap()
}

/// One object of the chart with these values, after its comments.
fn one(helm: &Helm, template: &str, set: &str, more: &[&str]) -> String {
    let chart = Helm::chart().display().to_string();
    let only = format!("--show-only=templates/{template}.yaml");
    let namespace = format!("--namespace={NAMESPACE}");
    let arguments = ["template", RELEASE, &chart, &namespace, &only, "--set", set];
    let rendered = helm.ask(&[&arguments, more].concat()).unwrap();
    rendered.split_once("\nspec:\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_network_policy_opens_what_is_served_and_never_everything() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let ingress = |set: &str| {
        let set = format!("networkPolicy.enabled=true,{set}");
        let spec = one(&helm, "networkpolicy", &set, &[]);
        let (_, rest) = spec.split_once("ingress:").unwrap();
        let (ingress, _) = rest.split_once("egress:").unwrap();
        ingress.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ingress(""), "- ports: - port: 8081 protocol: TCP");
    assert_eq!(
        ingress("webhook.enabled=true,metrics.enabled=true"),
        "- ports: - port: 8081 protocol: TCP - port: 9443 protocol: TCP - port: 8443 protocol: TCP"
    );
    assert_eq!(ingress("healthProbeBindAddress=0"), "[]");
    assert_eq!(
        ingress("healthProbeBindAddress=0,networkPolicy.ingress[0].ports[0].port=9"),
        "- ports: - port: 9"
    );
}

#[tokio::test]
async fn compat_046_a_service_monitor_is_there_where_its_api_is_and_trusts_the_certificate() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let set = "--set=metrics.enabled=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,\
               crds.upgrade=false";
    // Without the API a release is installed all the same.
    let install = [
        "install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        set,
    ];
    let said = helm.run(&cluster, &install).await.unwrap();
    for kind in ["PrometheusRule", "ServiceMonitor"] {
        let none = format!("\nThere is no {kind}: this cluster does not have the API");
        assert!(said.contains(&none), "{said}");
    }
    let manifest = helm
        .ask(&["get", "manifest", RELEASE, "--namespace", NAMESPACE])
        .unwrap();
    assert!(!manifest.contains("monitoring.coreos.com"), "{manifest}");

    let monitor = |set: &str| {
        let set = format!("metrics.enabled=true,metrics.serviceMonitor.enabled=true,{set}");
        let spec = one(&helm, "servicemonitor", &set, &[MONITORING]);
        spec.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(monitor("").contains("- port: http interval: 30s scrapeTimeout: 10s"));
    let secure = "metrics.secure=true,certManager.enabled=true";
    let trusted = "scheme: https bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token tlsConfig: ca: \
                   secret: key: ca.crt name: metrics-server-cert serverName: \
                   nrc-node-readiness-controller-metrics-service.nrr-system.svc";
    assert!(monitor(secure).ends_with(trusted), "{}", monitor(secure));
    let own = format!("{secure},metrics.serviceMonitor.tlsConfig.insecureSkipVerify=true");
    assert!(
        monitor(&own).ends_with("tlsConfig: insecureSkipVerify: true"),
        "{}",
        monitor(&own)
    );
    assert!(!monitor("metrics.secure=true").contains("tlsConfig"));
}

/// With promtool's tests for these rules this is what tells that the chart's alerts fire when they should.
#[tokio::test]
async fn the_alerts_of_the_chart_are_the_rules_of_prometheus() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let set = "metrics.enabled=true,metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.team=nodes";
    let chart = Helm::chart().display().to_string();
    let only = "--show-only=templates/prometheusrule.yaml";
    let arguments = ["template", RELEASE, &chart, only, "--set", set, MONITORING];
    let rendered = parsed(&helm.ask(&arguments).unwrap());
    assert_eq!(rendered["metadata"]["labels"]["team"], "nodes");
    let rules = workspace().join("deploy/prometheus/rules.yaml");
    assert_eq!(
        rendered["spec"],
        parsed(&std::fs::read_to_string(rules).unwrap())
    );
}

fn parsed(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

#[test]
fn what_the_chart_has_a_copy_of_is_the_same_there() {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    for (chart, other) in [
        (
            "crds/nodereadinessrules.yaml",
            "crds/nodereadinessrules.yaml",
        ),
        ("crds/readinesspolicies.yaml", "crds/readinesspolicies.yaml"),
        ("files/alerts.yaml", "deploy/prometheus/rules.yaml"),
    ] {
        assert_eq!(
            read(Helm::chart().join(chart)),
            read(workspace().join(other)),
            "`cargo xtask codegen` writes {chart}"
        );
    }
}

#[tokio::test]
async fn the_notes_say_where_a_webhook_cannot_work() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let notes = |set: &str| {
        let install = ["install", RELEASE, &chart, "--dry-run=client", "--set", set];
        let said = helm.ask(&install).unwrap();
        let (_, notes) = said.split_once("NOTES:").unwrap();
        // Lines are broken where they fit.
        notes.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    const NO_WEBHOOK: &str = "There is no webhook, and nobody validates rules";
    const NO_TRUST: &str = "The API server is not told whom to trust";
    const NO_RULE: &str = "no rule can be created or changed";
    let both = "webhook.enabled=true,validatingWebhook.enabled=true";
    let with = |more: &str| format!("{both},{more}");
    let cases = [
        (
            "validatingWebhook.enabled=true".to_owned(),
            [true, false, false],
        ),
        ("webhook.enabled=true".to_owned(), [false; 3]),
        ("webhook.enabled=false".to_owned(), [false; 3]),
        (both.to_owned(), [false, true, true]),
        (
            with("validatingWebhook.failurePolicy=Ignore"),
            [false, true, false],
        ),
        (with("webhook.manageCertificates=true"), [false; 3]),
        (with("certManager.enabled=true"), [false; 3]),
        (with("validatingWebhook.caBundle=LS0t"), [false; 3]),
    ];
    for (set, expected) in cases {
        let notes = notes(&set);
        let found = [NO_WEBHOOK, NO_TRUST, NO_RULE].map(|part| notes.contains(part));
        assert_eq!(found, expected, "{set}: {notes}");
    }
}
