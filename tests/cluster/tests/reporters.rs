//! The deadlock: pods that report a condition do not tolerate the taint that waits for it.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::webhook::{Authority, CONFIGURATION, Folder};
use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, Host, agent_rule, audit, wait, worker};
use control_plane::{Options, User};
use kube::api::DeleteParams;
use serde_json::{Value, json};

const CONDITION: &str = "ReporterBlocked";

/// A DaemonSet whose pods run anywhere and report the agent's condition.
fn daemon_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "reporter", "image": "reporter",
                    "env": [{"name": "CONDITION_TYPE", "value": AGENT}]}]}}}})
}

fn warning(name: &str) -> String {
    format!(
        "DaemonSet default/{name} reports {AGENT}, but its pods do not tolerate the taint that waits for it: \
         give them the toleration {{key: {GUIDE_TAINT}, operator: Exists, effect: NoSchedule}}"
    )
}

fn tolerate(cluster: &Cluster, name: &str) {
    tolerate_each(cluster, name, &[GUIDE_TAINT]);
}

fn tolerate_each(cluster: &Cluster, name: &str, keys: &[&str]) {
    let all = keys
        .iter()
        .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
    let tolerations = Value::Array(all.collect());
    let patch = json!({"spec": {"template": {"spec": {"tolerations": tolerations}}}}).to_string();
    let patch = ["patch", "daemonset", name, "--patch", &patch];
    cluster.plane.kubectl_ok(&patch).unwrap();
}

/// Status and message of the rule's condition.
fn told(status: &NodeReadinessRuleStatus) -> Option<(&str, &str)> {
    let mut all = status.conditions.iter();
    let found = all.find(|condition| condition.r#type == CONDITION)?;
    Some((found.status.as_str(), &found.message))
}

/// What kubectl says on standard error.
fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.plane.kubectl(arguments).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn a_daemon_set_that_its_own_taint_keeps_away_is_told_about_until_it_is_mended() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let authority = Authority::new().unwrap();
    let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
    let (mut host, address) = cluster
        .start_webhook(&cluster.kubeconfig(), &folder, &[])
        .await
        .unwrap();
    host.until_logged("caches are synced").await.unwrap();
    (cluster
        .configure_webhook(address, Some(&authority.pem))
        .await)
        .unwrap();
    cluster.until_asked().await.unwrap();
    cluster.apply(&daemon_set("agent").to_string()).unwrap();

    // Whoever creates the rule is warned, and so is whoever turns a dry run into one that is enforced.
    let file = cluster.plane.folder().join("rule.yaml");
    let apply = ["apply", "--filename", file.to_str().unwrap()];
    let rule = agent_rule("agent", "continuous");
    std::fs::write(&file, format!("{rule}  dryRun: true\n")).unwrap();
    let expected = format!("Warning: {}\n", warning("agent"));
    assert_eq!(kubectl(&cluster, &apply), expected);
    std::fs::write(&file, format!("{rule}  dryRun: false\n")).unwrap();
    assert_eq!(kubectl(&cluster, &apply), expected);
    std::fs::write(&file, format!("{rule}  dryRun: false\n  suspend: false\n")).unwrap();
    assert_eq!(kubectl(&cluster, &apply), "");
    // Rules that wait for something else, elsewhere, or keep nobody away.
    for (one, other) in [
        (AGENT, "example.com/OtherReady"),
        ("NoSchedule", "PreferNoSchedule"),
    ] {
        let rule = agent_rule("other", "continuous").replace(one, other);
        std::fs::write(&file, rule.replace(GUIDE_TAINT, "readiness.k8s.io/other")).unwrap();
        let dry = [&apply[..], &["--dry-run=server"]].concat();
        assert_eq!(kubectl(&cluster, &dry), "");
    }

    let note = cluster.until_event("agent", CONDITION).await.unwrap();
    assert_eq!(note, warning("agent"));
    let generation = (cluster.rules().get("agent").await.unwrap().metadata).generation;
    let blocked = |status: &NodeReadinessRuleStatus| {
        status.observed_generation == generation
            && told(status) == Some(("True", &warning("agent")))
    };
    (cluster.until_status("agent", "it is said", blocked).await).unwrap();
    cluster.until_held("node-1").await;
    // `host eval` sees the same in the cluster.
    std::fs::write(&file, &rule).unwrap();
    let mut eval = std::process::Command::new(cluster_tests::host_program().unwrap());
    eval.args(["eval", "--rule"]).arg(&file);
    let output = eval
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        format!("warning: rule 'agent': {}\n", warning("agent"))
    );

    // Another process finds it anew, and tells it by the same status: nothing is written meanwhile.
    host.terminate().await.unwrap();
    let webhooks = cluster.webhooks();
    (webhooks
        .delete(CONFIGURATION, &DeleteParams::default())
        .await)
        .unwrap();
    let before = cluster.rules().get("agent").await.unwrap();
    let mut host = cluster.start_host().await.unwrap();
    host.until_logged("ReporterBlocked").await.unwrap();
    cluster.until_worked_off().await.unwrap();
    let after = cluster.rules().get("agent").await.unwrap();
    assert_eq!(before.status, after.status);
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );

    tolerate(&cluster, "agent");
    let mended = |status: &NodeReadinessRuleStatus| told(status) == Some(("False", ""));
    (cluster.until_status("agent", "it is mended", mended).await).unwrap();
    host.until_logged(
        "no taint of a rule keeps away the pods that report what the rule waits for any more",
    )
    .await
    .unwrap();
    // A second one. A rule that changes is a reason to look.
    let events = cluster.events("agent", CONDITION).await.unwrap().len();
    cluster.apply(&daemon_set("second").to_string()).unwrap();
    let again = json!({ "spec": { "suspend": true } });
    cluster.patch_rule("agent", again).await.unwrap();
    let blocked =
        |status: &NodeReadinessRuleStatus| told(status) == Some(("True", &warning("second")));
    (cluster
        .until_status("agent", "it is said again", blocked)
        .await)
        .unwrap();
    wait::until_true("it is told again", || async {
        let told = cluster.events("agent", CONDITION).await?;
        Ok(told.len() == events + 1 && told.contains(&warning("second")))
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
}

/// Each tolerates the taint of its own rule, and not that of the other.
#[tokio::test]
async fn reporters_of_two_rules_that_keep_each_other_away_are_told_about_on_both() {
    const OTHER: &str = "example.com/NetworkReady";
    const OTHER_TAINT: &str = "readiness.k8s.io/network";
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let mut network = daemon_set("network");
    let variables = network.pointer_mut("/spec/template/spec/containers/0/env/0");
    variables.unwrap()["value"] = json!(OTHER);
    for (set, taint) in [(daemon_set("agent"), GUIDE_TAINT), (network, OTHER_TAINT)] {
        cluster.apply(&set.to_string()).unwrap();
        tolerate_each(
            &cluster,
            set["metadata"]["name"].as_str().unwrap(),
            &[taint],
        );
    }
    let agent = agent_rule("agent", "continuous");
    let network = agent_rule("network", "continuous")
        .replace(AGENT, OTHER)
        .replace(GUIDE_TAINT, OTHER_TAINT);
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent).unwrap();
    let quiet = |status: &NodeReadinessRuleStatus| told(status).is_none();
    (cluster
        .until_status("agent", "one rule is no ring", quiet)
        .await)
        .unwrap();

    cluster.apply(&network).unwrap();
    let ring = |set: &str, reports: &str, on: &str, other: &str, back: &str, taint: &str| {
        format!(
            "DaemonSet default/{set} reports {reports}, but its pods do not tolerate the taint of rule '{on}', which waits \
             for DaemonSet default/{other}, whose pods do not tolerate the taint of rule '{back}': they keep each other away \
             for ever; give the pods of default/{set} the toleration {{key: {taint}, operator: Exists, effect: NoSchedule}}"
        )
    };
    let of_agent = ring("agent", AGENT, "network", "network", "agent", OTHER_TAINT);
    let of_network = ring("network", OTHER, "agent", "agent", "network", GUIDE_TAINT);
    for (rule, message) in [("agent", &of_agent), ("network", &of_network)] {
        let blocked = |status: &NodeReadinessRuleStatus| told(status) == Some(("True", message));
        (cluster
            .until_status(rule, "the ring is said", blocked)
            .await)
            .unwrap();
        assert_eq!(
            &cluster.until_event(rule, CONDITION).await.unwrap(),
            message
        );
    }
    // `host eval` sees it where both rules are given, of the cluster's DaemonSets.
    let eval = |rules: &str| {
        let file = cluster.plane.folder().join("rules.yaml");
        std::fs::write(&file, rules).unwrap();
        let mut eval = std::process::Command::new(cluster_tests::host_program().unwrap());
        eval.args(["eval", "--rule"]).arg(&file);
        eval.arg("--kubeconfig").arg(cluster.kubeconfig());
        String::from_utf8(eval.output().unwrap().stderr).unwrap()
    };
    let both = format!("{agent}\n---\n{network}");
    assert_eq!(
        eval(&both),
        format!("warning: rule 'agent': {of_agent}\nwarning: rule 'network': {of_network}\n")
    );
    assert_eq!(eval(&agent), "");

    // One of them is enough, and then it is an order.
    tolerate_each(&cluster, "agent", &[GUIDE_TAINT, OTHER_TAINT]);
    for rule in ["agent", "network"] {
        let mended = |status: &NodeReadinessRuleStatus| told(status) == Some(("False", ""));
        (cluster.until_status(rule, "it is mended", mended).await).unwrap();
    }
    assert_eq!(eval(&both), "");
    host.terminate().await.unwrap();
}

/// Who may do all but list DaemonSets asks once.
#[tokio::test]
async fn compat_045_without_the_right_nothing_is_missed_but_the_warning() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        users: vec![User::new("host")],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let groups = ["", "readiness.node.x-k8s.io", "events.k8s.io"];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "host"},
        "rules": [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "host"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "host"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "host"}]});
    let list =
        json!({"apiVersion": "v1", "kind": "List", "items": [role, binding, daemon_set("agent")]});
    cluster.apply(&list.to_string()).unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let kubeconfig = cluster.plane.kubeconfig_for("host").unwrap();
    let mut host = Host::start(&kubeconfig, &cluster.new_log(), &[])
        .await
        .unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    host.until_logged("this host cannot list resource")
        .await
        .unwrap();
    // Rules come and go meanwhile: each time would be a reason to look.
    for _ in 0..2 {
        cluster.until_worked_off().await.unwrap();
    }
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    let stored = cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(stored.status.as_ref().and_then(told), None);
    let log = host.log().unwrap();
    host.terminate().await.unwrap();
    assert!(
        !log.contains(r#""level":"warn""#) && !log.contains("forbidden"),
        "{log}"
    );
    let requests = audit::read(&cluster.plane.audit_log(), &["host"]).unwrap();
    let asked = requests
        .iter()
        .filter(|request| request.resource == "daemonsets");
    assert_eq!(asked.count(), 1);

    // Nor does `host eval`, which says so.
    let file = cluster.plane.folder().join("rule.yaml");
    std::fs::write(&file, agent_rule("agent", "continuous")).unwrap();
    let mut eval = std::process::Command::new(cluster_tests::host_program().unwrap());
    eval.args(["eval", "--rule"]).arg(&file);
    let output = eval.arg("--kubeconfig").arg(kubeconfig).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.starts_with("note: whether the pods that report a condition tolerate")
            && said.contains("cannot list resource \"daemonsets\""),
        "{said}"
    );
}
