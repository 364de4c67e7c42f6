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
    let toleration = json!([{"key": GUIDE_TAINT, "operator": "Exists", "effect": "NoSchedule"}]);
    let patch = json!({"spec": {"template": {"spec": {"tolerations": toleration}}}}).to_string();
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
    let blocked =
        |status: &NodeReadinessRuleStatus| told(status) == Some(("True", &warning("agent")));
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
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );

    tolerate(&cluster, "agent");
    let mended = |status: &NodeReadinessRuleStatus| told(status) == Some(("False", ""));
    (cluster.until_status("agent", "it is mended", mended).await).unwrap();
    host.until_logged("the pods that report what the rule waits for tolerate its taint now")
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
