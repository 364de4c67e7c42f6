//! What the chart renders.

use cluster_tests::Cluster;
use cluster_tests::helm::{Helm, conforms};

use crate::{NAMESPACE, RELEASE, file, values};

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
        ];
        let rendered = helm.ask(&arguments).unwrap();
        let manifests = cluster.plane.folder().join("rendered.yaml");
        std::fs::write(&manifests, &rendered).unwrap();
        let said = conforms(&cluster, &manifests).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(said.contains("Invalid: 0, Errors: 0"), "{path}: {said}");
        // A field that no API has is found.
        let wrong = rendered.replacen("priorityClassName:", "priorityClasName:", 1);
        assert_ne!(wrong, rendered);
        std::fs::write(&manifests, &wrong).unwrap();
        let error = conforms(&cluster, &manifests).unwrap_err().to_string();
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
    ] {
        let refused = helm.ask(&["template", RELEASE, &chart, "--set", set]);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(reason), "{set}: {error}");
    }
    let release = values("release");
    let rendered = ["template", RELEASE, &chart, "--values", &release];
    assert!(helm.ask(&rendered).is_ok());
}

#[test]
fn the_definition_in_the_chart_is_the_one_that_is_generated() {
    let chart = Helm::chart().join("crds/nodereadinessrules.yaml");
    let generated = cli_tests::program::workspace().join("crds/nodereadinessrules.yaml");
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        read(chart),
        read(generated),
        "`cargo xtask codegen` writes both"
    );
}
