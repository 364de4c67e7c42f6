//! Every wrong use has its sentence and exit status, and changes nothing.

use cluster_tests::wait;
use serde_json::json;

use crate::site::{Said, Site, end_of};
use crate::{SETUP, TOLERATION, chart};

fn is_refused(said: &Said, sentence: &str) {
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_eq!(said.stdout, "", "{sentence}");
    let last = said.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("error: ") && last.contains(sentence),
        "{sentence}: {said:?}"
    );
}

#[tokio::test]
async fn variables_that_say_nothing_or_two_things() {
    let site = Site::start().await;
    let state = site.state();
    let chart = chart();
    let chart = ("FALCO_CHART", chart.as_str());
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (variables, sentence, usage) in [
        (
            vec![chart],
            "neither USE_NRR nor USE_NPD is true: choose one",
            true,
        ),
        (
            vec![("USE_NRR", "true"), ("USE_NPD", "true"), chart],
            "are both true: choose one",
            true,
        ),
        (
            vec![("USE_NRR", "false"), ("USE_NPD", "false"), chart],
            "neither USE_NRR nor USE_NPD",
            true,
        ),
        (
            vec![("USE_NRR", "yes"), chart],
            "USE_NRR and USE_NPD are true or false, not 'yes'",
            true,
        ),
        (
            vec![("USE_NRR", "true"), ("REPORTER_IMAGE", "a b|c"), chart],
            "REPORTER_IMAGE is 'a b|c', which is not",
            false,
        ),
        (
            vec![
                ("USE_NRR", "true"),
                ("FALCO_VALUES", "/nowhere.yaml"),
                chart,
            ],
            "FALCO_VALUES is /nowhere.yaml, and there is no such file",
            false,
        ),
        (
            vec![("USE_NRR", "true"), ("FALCO_CHART", "/nowhere.tgz")],
            "Falco's chart cannot be used",
            false,
        ),
        (
            vec![("USE_NPD", "true"), ("FALCO_CHART", empty)],
            "Falco's chart cannot be used",
            false,
        ),
        (
            vec![
                ("USE_NPD", "true"),
                ("FALCO_CHART", "oci://127.0.0.1:1/falco"),
            ],
            "Falco's chart cannot be used",
            false,
        ),
    ] {
        let said = site.run(SETUP, &variables);
        is_refused(&said, sentence);
        assert_eq!(
            said.stderr.contains("Usage: USE_NRR=true"),
            usage,
            "{said:?}"
        );
    }
    // helm's own words stand above ours.
    let said = site.run(
        SETUP,
        &[("USE_NRR", "true"), ("FALCO_CHART", "/nowhere.tgz")],
    );
    assert!(said.stderr.contains("/nowhere.tgz"), "{said:?}");

    let values = crate::own("tests/scripts/values/deployment.yaml");
    let said = site.run(
        SETUP,
        &[("USE_NRR", "true"), chart, ("FALCO_VALUES", &values)],
    );
    is_refused(&said, "Falco's chart makes no DaemonSet named falco");
    is_refused(
        &site.run(TOLERATION, &[]),
        "there is no DaemonSet falco in namespace falco: run setup-falco.sh first",
    );

    let programs = site.programs(&[]);
    for (script, argument) in [(SETUP, "--dry-run"), (TOLERATION, "falco")] {
        let mut command = site.command(script, programs.path());
        command.arg(argument).env("USE_NRR", "true");
        is_refused(
            &end_of(command),
            &format!("takes no arguments, and was given '{argument}'"),
        );
        let mut command = site.command(script, programs.path());
        command.arg("--help");
        let help = end_of(command);
        assert_eq!(
            (help.status, help.stderr.as_str()),
            (Some(0), ""),
            "{help:?}"
        );
        assert!(help.stdout.starts_with("Usage: "), "{help:?}");
    }
    assert_eq!(site.state(), state);
}

#[tokio::test]
async fn programs_and_clusters_that_are_not_there() {
    let site = Site::start().await;
    let state = site.state();
    for (script, missing) in [(SETUP, "helm"), (SETUP, "kubectl"), (TOLERATION, "kubectl")] {
        let programs = site.programs(&[missing]);
        let mut command = site.command(script, programs.path());
        command.env("USE_NPD", "true").env("FALCO_CHART", chart());
        is_refused(
            &end_of(command),
            &format!("{missing} is not on the PATH: install it"),
        );
    }
    // A server that nobody is at, and a file that is none.
    let kubeconfig = std::fs::read_to_string(site.cluster.kubeconfig()).unwrap();
    let nobody = site.cluster.plane.folder().join("nobody.kubeconfig");
    std::fs::write(
        &nobody,
        kubeconfig.replace(site.cluster.plane.url(), "https://127.0.0.1:1"),
    )
    .unwrap();
    let programs = site.programs(&[]);
    for script in [SETUP, TOLERATION] {
        for kubeconfig in [&nobody, &site.cluster.plane.folder().join("none")] {
            let mut command = site.command(script, programs.path());
            command
                .env("KUBECONFIG", kubeconfig)
                .env("USE_NRR", "true")
                .env("FALCO_CHART", chart());
            let said = end_of(command);
            is_refused(
                &said,
                "no cluster answers: see that the current context of kubectl",
            );
            assert!(said.stderr.contains("refused"), "{said:?}");
        }
    }
    // A script without the files beside it.
    let alone = site.cluster.plane.folder().join("setup-falco.sh");
    std::fs::copy(cli_tests::program::workspace().join(SETUP), &alone).unwrap();
    let mut command = site.command(alone.to_str().unwrap(), programs.path());
    command.env("USE_NRR", "true").env("FALCO_CHART", chart());
    is_refused(
        &end_of(command),
        "security-agent-reporter-sidecar.yaml is missing: keep this script in its folder",
    );
    assert_eq!(site.state(), state);
}

/// Who may do a part of it does none of it.
#[tokio::test]
async fn rights_that_are_not_enough() {
    let site = Site::start().await;
    let reader = site.cluster.plane.kubeconfig_for("reader").unwrap();
    let programs = site.programs(&[]);
    let as_reader = |script: &str, option: &str| {
        let mut command = site.command(script, programs.path());
        command
            .env("KUBECONFIG", &reader)
            .env(option, "true")
            .env("FALCO_CHART", chart());
        end_of(command)
    };
    let state = site.state();
    is_refused(
        &as_reader(SETUP, "USE_NRR"),
        "helm cannot list the releases of namespace falco",
    );
    is_refused(
        &as_reader(TOLERATION, "USE_NRR"),
        "the DaemonSets of namespace falco cannot be read",
    );
    assert_eq!(site.state(), state);

    let grant = |rules: serde_json::Value| {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "reader" }, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "reader" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader" }],
        });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [role, binding] });
        site.cluster.apply(&list.to_string()).unwrap();
    };
    let can = async |verb: &str, resource: &str| {
        let ask = [
            "auth",
            "can-i",
            verb,
            resource,
            "--as=reader",
            "--namespace=falco",
        ];
        wait::until_true("the authorizer knows the role", || async {
            Ok(site.cluster.plane.kubectl(&ask)?.status.success())
        })
        .await
        .unwrap();
    };
    let read = json!({ "apiGroups": ["", "apps", "rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list"] });
    grant(json!([read]));
    can("list", "secrets").await;
    let state = site.state();
    is_refused(
        &as_reader(SETUP, "USE_NPD"),
        "you may not patch daemonsets.apps in namespace falco",
    );
    assert_eq!(site.state(), state);

    // All of it but the rights for the reporter.
    let write = json!({ "apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"] });
    grant(json!([read, write]));
    can("create", "daemonsets.apps").await;
    let state = site.state();
    for (option, file) in [
        ("USE_NRR", "security-agent-reporter-rbac.yaml"),
        ("USE_NPD", "npd-rbac.yaml"),
    ] {
        let said = as_reader(SETUP, option);
        is_refused(&said, "would not be accepted");
        assert!(
            said.stderr.contains(file) && said.stderr.contains("forbidden"),
            "{said:?}"
        );
    }
    assert_eq!(site.state(), state);
}
