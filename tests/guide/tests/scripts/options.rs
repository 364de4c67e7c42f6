//! setup-falco.sh as the guide runs it.

use serde_json::{Value, json};

use crate::site::Site;
use crate::{EXAMPLE, SETUP, TOLERATION, chart, own};

/// The lines that it ends with, run as they stand.
fn run_what_comes_next(site: &Site, stdout: &str) {
    let (_, next) = stdout.split_once("Next, ").unwrap();
    let commands: Vec<&str> = next.lines().skip(1).map(str::trim).collect();
    assert_eq!(commands.len(), 2, "{stdout}");
    for command in commands {
        let root = cli_tests::program::workspace();
        let line = format!("cd {} && {command}", root.display());
        let output = site.cluster.plane.shell(&line, &[]).unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
    }
}

fn pod(site: &Site) -> Value {
    site.falco()["spec"]["template"]["spec"].clone()
}

#[tokio::test]
async fn option_a_puts_the_reporter_beside_falco_and_the_second_time_nothing_changes() {
    let site = Site::start().await;
    let before = site.state();
    let variables = [("USE_NRR", "true"), ("FALCO_CHART", &chart())];
    let first = site.run(SETUP, &variables);
    assert_eq!(
        (first.status, first.stderr.as_str()),
        (Some(0), ""),
        "{first:?}"
    );

    let state = site.state();
    let new: Vec<&str> = state
        .keys()
        .filter(|key| !before.contains_key(*key))
        .map(String::as_str)
        .collect();
    assert_eq!(
        new,
        [
            "ClusterRole//security-agent-reporter",
            "ClusterRoleBinding//security-agent-reporter",
            "DaemonSet/falco/falco",
            "Namespace//falco",
            "Secret/falco/sh.helm.release.v1.falco.v1",
            "ServiceAccount/falco/falco",
        ]
    );
    let pod = pod(&site);
    assert_eq!(pod["serviceAccountName"], "falco");
    assert_eq!(pod["hostNetwork"], Value::Null);
    let containers = pod["containers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["security-status-patcher", "falco"]);
    let reporter = &containers[0];
    assert_eq!(reporter["image"], "node-readiness-reporter:0.1.0");
    assert_eq!(reporter["command"], json!(["/reporter"]));
    assert_eq!(
        reporter["env"],
        json!([
            { "name": "NODE_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "spec.nodeName" } } },
            { "name": "CHECK_ENDPOINT", "value": "http://localhost:8765/healthz" },
            { "name": "CONDITION_TYPE", "value": "falco.org/FalcoReady" },
            { "name": "CHECK_INTERVAL", "value": "5s" },
        ])
    );
    let amounts = json!({ "cpu": "10m", "memory": "32Mi" });
    assert_eq!(
        reporter["resources"],
        json!({ "limits": amounts, "requests": amounts })
    );
    let binding = &state["ClusterRoleBinding//security-agent-reporter"];
    let account = json!([{ "kind": "ServiceAccount", "namespace": "falco", "name": "falco" }]);
    assert_eq!(binding["subjects"], account);

    let again = site.run(SETUP, &variables);
    assert_eq!(
        (again.status, again.stderr.as_str()),
        (Some(0), ""),
        "{again:?}"
    );
    assert_eq!(site.state(), state);

    run_what_comes_next(&site, &again.stdout);
    let after = site.state();
    assert!(after.contains_key("NodeReadinessRule//security-agent-readiness-rule"));
    assert_eq!(site.tolerations().as_array().unwrap().len(), 3);
    // The toleration is not lost either.
    assert_eq!(site.run(SETUP, &variables).status, Some(0));
    assert_eq!(site.run(TOLERATION, &[]).status, Some(0));
    assert_eq!(site.state(), after);

    // Another image later is the one thing that changes.
    let other = [
        (
            "REPORTER_IMAGE",
            "registry.example.com:5000/host@sha256:0123",
        ),
        variables[0],
    ];
    let changed = site.run(SETUP, &other);
    assert_eq!(changed.status, Some(0), "{changed:?}");
    let mut expected = pod.clone();
    expected["containers"][0]["image"] = json!(other[0].1);
    expected["tolerations"] = site.tolerations();
    assert_eq!(self::pod(&site), expected);
}

#[tokio::test]
async fn option_b_deploys_node_problem_detector_and_the_second_time_nothing_changes() {
    let site = Site::start().await;
    let before = site.state();
    // The other variable may say that it is not meant.
    let variables = [
        ("USE_NPD", "true"),
        ("USE_NRR", "false"),
        ("FALCO_CHART", &chart()),
    ];
    let first = site.run(SETUP, &variables);
    assert_eq!(
        (first.status, first.stderr.as_str()),
        (Some(0), ""),
        "{first:?}"
    );

    let state = site.state();
    let new: Vec<&str> = state
        .keys()
        .filter(|key| !before.contains_key(*key))
        .map(String::as_str)
        .collect();
    assert_eq!(
        new,
        [
            "ClusterRole//npd-falco",
            "ClusterRoleBinding//npd-falco",
            "ConfigMap/falco/npd-falco-config",
            "DaemonSet/falco/falco",
            "DaemonSet/falco/npd-falco",
            "Namespace//falco",
            "Role/default/npd-falco",
            "RoleBinding/default/npd-falco",
            "Secret/falco/sh.helm.release.v1.falco.v1",
            "ServiceAccount/falco/falco",
            "ServiceAccount/falco/npd-falco",
        ]
    );
    // The script asks 127.0.0.1: both pods have to be on the node's network.
    let detector = &state["DaemonSet/falco/npd-falco"]["spec"]["template"]["spec"];
    for pod in [&pod(&site), detector] {
        assert_eq!(pod["hostNetwork"], true);
        assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
        assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    }
    let toleration = json!({"operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(detector["tolerations"], json!([toleration]));

    let again = site.run(SETUP, &variables);
    assert_eq!(
        (again.status, again.stderr.as_str()),
        (Some(0), ""),
        "{again:?}"
    );
    assert_eq!(site.state(), state);

    run_what_comes_next(&site, &again.stdout);
    let rule = &site.state()["NodeReadinessRule//security-agent-readiness-rule-npd"];
    assert_eq!(rule["spec"]["policy"]["parameters"]["minReadyTime"], "30s");

    // The guide's own rule takes its place, and gives it back.
    for (file, parameters) in [
        ("security-agent-readiness-rule-npd-plain.yaml", Value::Null),
        (
            "security-agent-readiness-rule-npd.yaml",
            json!({ "minReadyTime": "30s" }),
        ),
    ] {
        let file = crate::example("npd-variant").join(file);
        let apply = ["apply", "-f", file.to_str().unwrap()];
        site.cluster.plane.kubectl_ok(&apply).unwrap();
        let stored = &site.state()["NodeReadinessRule//security-agent-readiness-rule-npd"];
        assert_eq!(stored["metadata"]["uid"], rule["metadata"]["uid"]);
        assert_eq!(stored["spec"]["policy"]["parameters"], parameters);
    }
}

#[tokio::test]
async fn a_falco_that_is_there_already_is_left_as_it_is_and_its_own_account_gets_the_rights() {
    let site = Site::start().await;
    let rendered = site
        .helm
        .ask(&["template", "falco", &chart(), "--namespace=falco"]);
    site.cluster
        .plane
        .kubectl_ok(&["create", "namespace", "falco"])
        .unwrap();
    site.cluster.apply(&rendered.unwrap()).unwrap();
    // No chart is looked at.
    let variables = [("USE_NRR", "true"), ("FALCO_CHART", "/nowhere")];
    let done = site.run(SETUP, &variables);
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (Some(0), ""),
        "{done:?}"
    );
    assert!(
        done.stdout.contains("daemonset.apps/falco: there already"),
        "{}",
        done.stdout
    );
    let state = site.state();
    assert!(
        !state.keys().any(|key| key.contains("helm")),
        "{:?}",
        state.keys()
    );
    let binding = &state["ClusterRoleBinding//security-agent-reporter"];
    assert_eq!(binding["subjects"][0]["name"], "default");
}

#[tokio::test]
async fn an_installation_that_was_broken_off_is_finished_by_running_it_again() {
    let site = Site::start().await;
    let values = own("tests/scripts/values/refused.yaml");
    let variables = [
        ("USE_NPD", "true"),
        ("FALCO_CHART", &chart()),
        ("FALCO_VALUES", &values),
    ];
    let failed = site.run(SETUP, &variables);
    assert_eq!(failed.status, Some(1), "{failed:?}");
    assert!(
        failed.stderr.contains("helm could not install Falco"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("Ingress"), "{}", failed.stderr);
    let state = site.state();
    assert!(state.contains_key("DaemonSet/falco/falco"));
    assert!(!state.contains_key("DaemonSet/falco/npd-falco"));

    // What was wrong was not mended: it is still ours.
    assert_eq!(site.run(SETUP, &variables).status, Some(1));
    let done = site.run(SETUP, &variables[..2]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(
        done.stdout.starts_with("release/falco: installed\n"),
        "{}",
        done.stdout
    );
    assert!(site.state().contains_key("DaemonSet/falco/npd-falco"));
}

#[tokio::test]
async fn a_release_of_others_whose_upgrade_failed_keeps_its_values() {
    let site = Site::start().await;
    let chart = chart();
    let refused = own("tests/scripts/values/refused.yaml");
    let install = ["install", "falco", &chart, "--namespace=falco"];
    let first = ["--create-namespace", "--set=mine=kept"];
    site.helm.ask(&[&install[..], &first[..]].concat()).unwrap();
    let upgrade = ["upgrade", "falco", &chart, "--namespace=falco"];
    let second = [
        "--reuse-values",
        "--set=controller.kind=daemonset",
        "--values",
        &refused,
    ];
    let failed = site.helm.ask(&[&upgrade[..], &second[..]].concat());
    assert!(failed.unwrap_err().to_string().contains("Ingress"));
    is_left_with_its_values(&site, "kept");
}

#[tokio::test]
async fn a_first_installation_of_others_that_failed_keeps_its_values() {
    let site = Site::start().await;
    let chart = chart();
    let refused = own("tests/scripts/values/refused.yaml");
    let install = [
        "install",
        "falco",
        &chart,
        "--namespace=falco",
        "--create-namespace",
        "--set=mine=kept,controller.kind=daemonset",
        "--values",
        &refused,
    ];
    let failed = site.helm.ask(&install);
    assert!(failed.unwrap_err().to_string().contains("Ingress"));
    is_left_with_its_values(&site, "kept");

    // Without the DaemonSet there is nothing to put the reporter into.
    let delete = ["delete", "daemonset", "falco", "--namespace=falco"];
    site.cluster.plane.kubectl_ok(&delete).unwrap();
    let before = site.state();
    let said = site.run(SETUP, &[("USE_NRR", "true"), ("FALCO_CHART", &chart)]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("has no DaemonSet falco"),
        "{}",
        said.stderr
    );
    assert_eq!(site.state(), before);
}

/// The last operation of the release failed; it has the value `mine`.
fn is_left_with_its_values(site: &Site, mine: &str) {
    let asked = ["falco", "--namespace=falco", "--output=json"];
    let values = || {
        site.helm
            .ask(&[&["get", "values"], &asked[..]].concat())
            .unwrap()
    };
    let history = || site.helm.ask(&[&["history"], &asked[..]].concat()).unwrap();
    let before = (values(), history());
    let value: Value = serde_json::from_str(&before.0).unwrap();
    assert_eq!(value["mine"], mine, "{value}");
    let variables = [("USE_NRR", "true"), ("FALCO_CHART", "/nowhere")];
    let done = site.run(SETUP, &variables);
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (Some(0), ""),
        "{done:?}"
    );
    for sentence in [
        "daemonset.apps/falco: there already, left as its chart made it\n",
        "release/falco: its last operation did not succeed, and it keeps its values",
    ] {
        assert!(done.stdout.contains(sentence), "{}", done.stdout);
    }
    assert_eq!((values(), history()), before);
    let containers = pod(site)["containers"].as_array().unwrap().len();
    assert_eq!(containers, 2);
}

#[tokio::test]
async fn a_packed_chart_does_as_well_from_any_folder() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    site.helm
        .ask(&["package", &chart(), "--destination", path])
        .unwrap();
    let programs = site.programs(&[]);
    let script = cli_tests::program::workspace().join(SETUP);
    let mut command = site.command(script.to_str().unwrap(), programs.path());
    command.current_dir(path).env("USE_NRR", "true");
    command
        .env("FALCO_CHART", "./falco-stand-in-0.1.0.tgz")
        .env("FALCO_CHART_VERSION", "0.1.0");
    let done = crate::site::end_of(command);
    assert_eq!(done.status, Some(0), "{done:?}");
    let next = script.parent().unwrap().join("add-falco-toleration.sh");
    assert!(
        done.stdout.contains(next.to_str().unwrap()),
        "{}",
        done.stdout
    );
    assert!(
        !done.stdout.contains(&format!(" {EXAMPLE}")),
        "{}",
        done.stdout
    );
}
