//! What is said of rules.

use api::NodeReadinessRule;
use cluster_tests::webhook::{Authority, Folder};
use cluster_tests::{Cluster, Host, wait};
use control_plane::{Options, User};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn rule(name: &str, change: impl FnOnce(&mut Value)) -> NodeReadinessRule {
    let mut rule = json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": {"name": name},
        "spec": {
            "conditions": [{"type": "example.com/A", "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"},
            "nodeSelector": {"matchLabels": {"env": "prod"}}}});
    change(&mut rule);
    serde_json::from_value(rule).unwrap()
}

fn with(name: &str, place: &str, value: Value) -> NodeReadinessRule {
    let (parent, field) = place.rsplit_once('/').unwrap();
    rule(name, |rule| {
        rule.pointer_mut(parent).unwrap()[field] = value
    })
}

/// A cluster, its only replica, and what keeps its certificate.
struct Asked {
    cluster: Cluster,
    host: Host,
    _folder: Folder,
}

impl Asked {
    /// A cluster that asks a host about every rule that is created or updated.
    async fn start() -> Self {
        let cluster = Cluster::start().await.unwrap();
        let authority = Authority::new().unwrap();
        let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
        let (mut host, address) = cluster
            .start_webhook(&cluster.kubeconfig(), &folder, &[])
            .await
            .unwrap();
        host.until_logged("caches are synced").await.unwrap();
        cluster
            .configure_webhook(address, Some(&authority.pem))
            .await
            .unwrap();
        cluster.until_asked().await.unwrap();
        Self {
            cluster,
            host,
            _folder: folder,
        }
    }

    /// The refusal of a rule, without what the API server puts before it; nothing if it would be
    /// stored.
    async fn refusal(&self, rule: &NodeReadinessRule) -> String {
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let answer = self.cluster.rules().create(&parameters, rule).await;
        refused(answer.map(drop))
    }

    /// Stores a rule, and waits until the host knows it.
    async fn store(&self, rule: &NodeReadinessRule) {
        let rules = self.cluster.rules();
        rules.create(&PostParams::default(), rule).await.unwrap();
        let name = rule.name_any();
        wait::until_true("the host put its finalizer on the rule", || async {
            Ok(!rules.get(&name).await?.finalizers().is_empty())
        })
        .await
        .unwrap();
    }

    async fn patch(&self, name: &str, patch: Value) -> String {
        let patch = Patch::Merge(patch);
        let rules = self.cluster.rules();
        refused(
            rules
                .patch(name, &PatchParams::default(), &patch)
                .await
                .map(drop),
        )
    }
}

fn refused(answer: kube::Result<()>) -> String {
    match answer {
        Ok(()) => String::new(),
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 403, "{status:?}");
            assert_eq!(status.reason, "Forbidden");
            let start = format!(
                "admission webhook \"{}\" denied the request: ",
                api::webhook::NAME
            );
            let text = status.message.strip_prefix(&start);
            text.unwrap_or_else(|| panic!("{}", status.message))
                .to_owned()
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn nrc_414_compat_034_to_039_rules_are_reviewed() {
    let asked = Asked::start().await;
    compat_034_035_038_what_is_wrong_with_a_rule(&asked).await;
    compat_036_037_one_taint_on_one_node_has_one_rule(&asked).await;
    compat_039_warnings(&asked);
    compat_j_replacing_a_rule_is_allowed_beside_that_rule_alone(&asked).await;
    a_policy_or_budget_that_it_cannot_have(&asked).await;
    a_rule_that_replaces_itself_or_nothing(&asked).await;
    compat_040_a_rule_that_goes_is_in_nobodys_way(&asked).await;
    compat_037_a_rule_that_comes_again_is_compared_as_it_is_now(&asked).await;
    asked.host.terminate().await.unwrap();
}

async fn compat_034_035_038_what_is_wrong_with_a_rule(asked: &Asked) {
    assert_eq!(asked.refusal(&rule("new", |_| ())).await, "");
    let bad = rule("new", |rule| {
        let spec = &mut rule["spec"];
        spec["enforcementMode"] = json!("bootstrap-only");
        spec["conditionPolicy"] = json!("anyOf");
        spec["conditions"][0]["defaultStatus"] = json!("False");
        spec["nodeSelector"] = json!({});
    });
    assert_eq!(
        asked.refusal(&bad).await,
        "validation failed: [spec.conditions[0].defaultStatus: Forbidden: defaultStatus should not be used with bootstrap-only enforcementMode \
         spec.conditionPolicy: Forbidden: anyOf conditionPolicy is not supported with bootstrap-only enforcementMode \
         spec.nodeSelector: Required value: nodeSelector must not be empty]"
    );
    let gt = json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]});
    let refusal = asked.refusal(&with("new", "/spec/nodeSelector", gt)).await;
    assert!(refusal.starts_with("validation failed: [spec.nodeSelector: Invalid value: "));
    assert!(
        refusal.contains("\"Gt\" is not a valid label selector operator"),
        "{refusal}"
    );
    let key = json!({"matchLabels": {"not ok!": "x"}});
    let refusal = asked.refusal(&with("new", "/spec/nodeSelector", key)).await;
    assert!(
        refusal.starts_with("validation failed: [spec.nodeSelector: Invalid value: "),
        "{refusal}"
    );
}

async fn compat_036_037_one_taint_on_one_node_has_one_rule(asked: &Asked) {
    asked.store(&rule("first", |_| ())).await;
    assert_eq!(
        asked.refusal(&rule("new", |_| ())).await,
        "validation failed: [spec.taint.key: Invalid value: \"readiness.k8s.io/agent\": conflicts with existing rule 'first' - same taint key 'readiness.k8s.io/agent' and effect 'NoSchedule' with overlapping node selectors]"
    );
    let elsewhere =
        json!({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]});
    for passes in [
        with("new", "/spec/taint/effect", json!("NoExecute")),
        with("new", "/spec/taint/key", json!("readiness.k8s.io/other")),
        with("new", "/spec/nodeSelector", elsewhere),
    ] {
        assert_eq!(asked.refusal(&passes).await, "");
    }
    // The update of a rule does not conflict with the rule.
    let value = json!({"spec": {"taint": {"value": "v"}}});
    assert_eq!(asked.patch("first", value).await, "");
}

/// `first` is stored. What a rule replaces may change, and is judged anew each time.
async fn compat_j_replacing_a_rule_is_allowed_beside_that_rule_alone(asked: &Asked) {
    let beside = "conflicts with existing rule 'first'";
    let of = |name: &str| with("second", "/spec/replaces", json!(name));
    assert!(asked.refusal(&of("another")).await.contains(beside));
    asked.store(&of("first")).await;
    // One error for each, in the order of their names.
    let refusal = asked.refusal(&rule("new", |_| ())).await;
    let places = [beside, "conflicts with existing rule 'second'"].map(|part| refusal.find(part));
    assert!(places[0].is_some() && places[0] < places[1], "{refusal}");
    // The one that is replaced may begin beside the other as well.
    for dry in [true, false] {
        let change = json!({"spec": {"dryRun": dry}});
        assert_eq!(asked.patch("first", change).await, "");
    }
    let to = |name: Value| json!({"spec": {"replaces": name}});
    for refused in [json!("another"), json!(null)] {
        let refusal = asked.patch("second", to(refused)).await;
        assert!(refusal.contains(beside), "{refusal}");
    }
    // Two that are there already are not in the way of the rest of them.
    assert_eq!(
        asked
            .patch("second", json!({"spec": {"suspend": true}}))
            .await,
        ""
    );
    // A third may stand beside neither of them.
    let third = with("third", "/spec/replaces", json!("first"));
    let refusal = asked.refusal(&third).await;
    assert!(
        refusal.contains("conflicts with existing rule 'second'"),
        "{refusal}"
    );
    asked.cluster.delete_rule("second").await.unwrap();
}

async fn a_policy_or_budget_that_it_cannot_have(asked: &Asked) {
    let age = |age: &str| json!({"name": "default", "parameters": {"maxHeartbeatAge": age}});
    let odd = rule("odd", |rule| {
        let spec = &mut rule["spec"];
        spec["nodeSelector"] = json!({});
        spec["policy"] = age("soon");
    });
    let refusal = asked.refusal(&odd).await;
    let (selector, policy) = refusal.split_once("empty ").unwrap_or_default();
    assert!(
        selector.starts_with("validation failed: [spec.nodeSelector: Required value: "),
        "{refusal}"
    );
    assert!(
        policy.starts_with("spec.policy.parameters.maxHeartbeatAge: Invalid value: \"soon\": "),
        "{refusal}"
    );
    // One with a taint of its own conflicts with nobody.
    let apart = |field: &str, value: Value| {
        rule("new", |rule| {
            rule["spec"]["taint"]["key"] = json!("readiness.k8s.io/apart");
            rule["spec"][field] = value;
        })
    };
    let other = json!({"name": "other"});
    assert_eq!(
        asked.refusal(&apart("policy", other)).await,
        "validation failed: [spec.policy.name: Invalid value: \"other\": there is no such policy: \
         apply a ReadinessPolicy of that name first, or name another]"
    );
    // Well formed, and more than a duration can be.
    let long = "9".repeat(30) + "h";
    let budget = json!({"maxHeld": 1, "exemptYoungerThan": long});
    assert_eq!(
        asked.refusal(&apart("budget", budget)).await,
        format!(
            "validation failed: [spec.budget.exemptYoungerThan: Invalid value: \"{long}\": \
             give a duration such as 10m]"
        )
    );
    let taint = |taint: Value| rule("new", |rule| rule["spec"]["taint"] = taint);
    let value =
        json!({"key": "readiness.k8s.io/apart", "value": "not ok!", "effect": "NoSchedule"});
    let refusal = asked.refusal(&taint(value)).await;
    assert!(
        refusal.starts_with("validation failed: [spec.taint.value: Invalid value: \"not ok!\": "),
        "{refusal}"
    );
    // They may change, and only to what can be had.
    let taint = "readiness.k8s.io/with-policy";
    asked
        .store(&with("aged", "/spec/taint/key", json!(taint)))
        .await;
    let to = |age: Value| json!({"spec": {"policy": age}});
    assert_eq!(asked.patch("aged", to(age("5m"))).await, "");
    let refusal = asked.patch("aged", to(age("-5m"))).await;
    assert!(refusal.contains("spec.policy.parameters.maxHeartbeatAge"));
    assert_eq!(
        asked
            .patch("aged", json!({"spec": {"suspend": true}}))
            .await,
        ""
    );
}

fn apart(name: &str, env: &str) -> NodeReadinessRule {
    rule(name, |rule| {
        rule["spec"]["taint"]["key"] = json!("readiness.k8s.io/apart");
        rule["spec"]["nodeSelector"]["matchLabels"]["env"] = json!(env);
    })
}

async fn until_passes(asked: &Asked, rule: &NodeReadinessRule) {
    wait::until("nothing is in its way", || async {
        let refusal = asked.refusal(rule).await;
        Ok(if refusal.is_empty() {
            Ok(())
        } else {
            Err(refusal)
        })
    })
    .await
    .unwrap();
}

/// Somebody else's finalizer keeps it.
async fn compat_040_a_rule_that_goes_is_in_nobodys_way(asked: &Asked) {
    asked.store(&apart("going", "prod")).await;
    let refusal = asked.refusal(&apart("new", "prod")).await;
    assert!(refusal.contains("rule 'going'"), "{refusal}");
    let rules = asked.cluster.rules();
    let theirs = |list: Value| json!({"metadata": {"finalizers": list}});
    let both = json!([api::rule::FINALIZER, "example.com/theirs"]);
    assert_eq!(asked.patch("going", theirs(both)).await, "");
    let parameters = DeleteParams::default();
    rules.delete("going", &parameters).await.unwrap();
    until_passes(asked, &apart("new", "prod")).await;
    assert!(rules.get_opt("going").await.unwrap().is_some());
    assert_eq!(asked.patch("going", theirs(json!(null))).await, "");
}

/// By the same name, and with another selector.
async fn compat_037_a_rule_that_comes_again_is_compared_as_it_is_now(asked: &Asked) {
    let of = |env| apart("new", env);
    for [here, elsewhere] in [["prod", "dev"], ["dev", "prod"]] {
        asked.store(&apart("again", here)).await;
        until_passes(asked, &of(elsewhere)).await;
        let refusal = asked.refusal(&of(here)).await;
        assert!(refusal.contains("rule 'again'"), "{refusal}");
        asked.cluster.delete_rule("again").await.unwrap();
    }
}

/// Also of one that only says what it would do: the others are asked for all the same.
async fn a_rule_that_replaces_itself_or_nothing(asked: &Asked) {
    let replaces = |name: &str| {
        rule("successor", |rule| {
            rule["spec"]["replaces"] = json!(name);
            rule["spec"]["dryRun"] = json!(true);
        })
    };
    assert_eq!(
        asked.refusal(&replaces("successor")).await,
        "validation failed: [spec.replaces: Invalid value: \"successor\": a rule cannot replace itself]"
    );
    for (name, warned) in [("first", false), ("frist", true)] {
        let file = asked.cluster.plane.folder().join("replaces.yaml");
        let rule = serde_json::to_string(&replaces(name)).unwrap();
        std::fs::write(&file, rule).unwrap();
        let arguments = ["apply", "--dry-run=server", "-f", file.to_str().unwrap()];
        let output = asked.cluster.plane.kubectl(&arguments).unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        // Whoever relies on it deletes the other rule too early.
        let expected = if warned {
            format!("there is no rule '{name}', so nothing is taken over from it")
        } else {
            format!("a dry run takes nothing over from rule '{name}'")
        };
        let expected = format!("Warning: spec.replaces: {expected}");
        assert!(
            told.starts_with(&expected) && told.lines().count() == 1,
            "{told}"
        );
    }
}

fn compat_039_warnings(asked: &Asked) {
    let file = asked.cluster.plane.folder().join("warned.yaml");
    let create = |change: &dyn Fn(&mut Value)| {
        let rule = rule("warned", |rule| {
            rule["spec"]["taint"] =
                json!({"key": "readiness.k8s.io/warned", "effect": "NoExecute"});
            change(&mut rule["spec"]);
        });
        std::fs::write(&file, serde_json::to_string(&rule).unwrap()).unwrap();
        let path = file.to_str().unwrap();
        let create = ["create", "--dry-run=server", "--filename", path];
        let output = asked.cluster.plane.kubectl(&create).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        create(&|_| ()),
        "Warning: CAUTION: NoExecute with continuous mode evicts pods when conditions fail, risking workload disruption. Consider NoSchedule or bootstrap-only\n"
    );
    assert_eq!(
        create(&|spec| spec["enforcementMode"] = json!("bootstrap-only")),
        "Warning: NOTE: NoExecute will evict existing pods without tolerations. Ensure critical system pods have appropriate tolerations\n"
    );
    let any_of = create(&|spec| {
        spec["taint"]["effect"] = json!("NoSchedule");
        spec["conditionPolicy"] = json!("anyOf");
        spec["conditions"][0]["defaultStatus"] = json!("True");
    });
    assert!(
        any_of.starts_with("Warning: spec.conditions[0].defaultStatus: "),
        "{any_of}"
    );
}

/// The rules were stored before anybody asked, and conflict; the second has an empty selector too, and that of the
/// odd one nobody can read: it may be of any node.
#[tokio::test]
async fn nrc_435_compat_040_what_must_never_hang_does_not() {
    let cluster = Cluster::start().await.unwrap();
    let everywhere = json!({});
    let gt = json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]});
    let mut odd = with("odd", "/spec/nodeSelector", gt);
    odd.spec.taint.key = "readiness.k8s.io/apart".to_owned();
    for stored in [
        rule("first", |_| ()),
        with("second", "/spec/nodeSelector", everywhere),
        odd,
    ] {
        let rules = cluster.rules();
        rules.create(&PostParams::default(), &stored).await.unwrap();
    }
    let authority = Authority::new().unwrap();
    let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
    let (mut host, address) = cluster
        .start_webhook(&cluster.kubeconfig(), &folder, &[])
        .await
        .unwrap();
    host.until_logged("caches are synced").await.unwrap();
    let configure = cluster.configure_webhook(address, Some(&authority.pem));
    configure.await.unwrap();
    // As somebody else's configuration has it: the host is asked about everything.
    let conditions = json!([{"op": "remove", "path": "/webhooks/0/matchConditions"},
        {"op": "add", "path": "/webhooks/0/rules/0/operations/-", "value": "DELETE"}]);
    cluster.patch_webhook(conditions).await.unwrap();
    cluster.until_asked().await.unwrap();
    let asked = Asked {
        cluster,
        host,
        _folder: folder,
    };

    let refusal = asked.refusal(&apart("new", "prod")).await;
    assert!(refusal.contains("existing rule 'odd'"), "{refusal}");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for name in ["second", "odd"] {
        assert_eq!(asked.patch(name, label.clone()).await, "");
    }
    let dry = |dry: bool| json!({"spec": {"dryRun": dry}});
    assert_eq!(asked.patch("second", dry(true)).await, "");
    let refusal = asked.patch("second", dry(false)).await;
    assert!(
        refusal.contains("nodeSelector must not be empty")
            && refusal.contains("conflicts with existing rule 'first'"),
        "{refusal}"
    );
    assert_eq!(asked.patch("first", dry(true)).await, "");
    nrc_435_dry_run_rules_are_exempt(&asked).await;
    for name in ["first", "second", "odd"] {
        asked.cluster.delete_rule(name).await.unwrap();
    }
    asked.host.terminate().await.unwrap();
}

async fn nrc_435_dry_run_rules_are_exempt(asked: &Asked) {
    // Both stored rules are dry runs now; the host hears of it a moment later.
    until_passes(asked, &rule("third", |_| ())).await;
    asked.store(&rule("third", |_| ())).await;
    let dry = with("fourth", "/spec/dryRun", json!(true));
    assert_eq!(asked.refusal(&dry).await, "");
    let refusal = asked
        .patch("first", json!({"spec": {"dryRun": false}}))
        .await;
    assert!(
        refusal.contains("conflicts with existing rule 'third'"),
        "{refusal}"
    );
    asked.cluster.delete_rule("third").await.unwrap();
}

/// Nobody answers, and our configuration does not ask where that would hang.
#[tokio::test]
async fn compat_040_the_configuration_lets_rules_go_without_a_host() {
    let asked = Asked::start().await;
    asked.store(&rule("stored", |_| ())).await;
    let Asked {
        cluster,
        host,
        _folder,
    } = asked;
    host.terminate().await.unwrap();
    cluster
        .until_refused("failed calling webhook")
        .await
        .unwrap();
    let rules = cluster.rules();
    let patch = async |patch: Value| {
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        rules.patch("stored", &parameters, &patch).await
    };
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    patch(label).await.unwrap();
    let error = patch(json!({"spec": {"dryRun": true}})).await.unwrap_err();
    assert!(
        error.to_string().contains("failed calling webhook"),
        "{error}"
    );
    rules
        .delete("stored", &DeleteParams::default())
        .await
        .unwrap();
    // As the host does when it has released every node.
    patch(json!({"metadata": {"finalizers": null}}))
        .await
        .unwrap();
    assert!(rules.get_opt("stored").await.unwrap().is_none());
}

/// One who may list rules but not watch them: the cache never gets ready.
const MAY_LIST: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lists}
rules:
- {apiGroups: [readiness.node.x-k8s.io], resources: [nodereadinessrules], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lists}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lists}
subjects: [{kind: User, name: without-rights, apiGroup: rbac.authorization.k8s.io}]
";

#[tokio::test]
async fn compat_038_without_the_other_rules_it_is_refused() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: vec![User::new("without-rights")],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let first = rule("first", |_| ());
    let rules = cluster.rules();
    rules.create(&PostParams::default(), &first).await.unwrap();
    let authority = Authority::new().unwrap();
    let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
    let kubeconfig = cluster.plane.kubeconfig_for("without-rights").unwrap();
    let (host, address) = cluster
        .start_webhook(&kubeconfig, &folder, &[])
        .await
        .unwrap();
    let configure = cluster.configure_webhook(address, Some(&authority.pem));
    configure.await.unwrap();
    let cannot = "denied the request: validation failed: the existing rules cannot be listed";
    cluster.until_refused(cannot).await.unwrap();
    // Nothing has to be known for a dry run.
    let asked = Asked {
        cluster,
        host,
        _folder: folder,
    };
    let dry = with("new", "/spec/dryRun", json!(true));
    assert_eq!(asked.refusal(&dry).await, "");

    asked.cluster.apply(MAY_LIST).unwrap();
    wait::until("the rules are listed", || async {
        let refusal = asked.refusal(&rule("new", |_| ())).await;
        Ok(
            if refusal.contains("conflicts with existing rule 'first'") {
                Ok(())
            } else {
                Err(refusal)
            },
        )
    })
    .await
    .unwrap();
    asked.host.terminate().await.unwrap();
}
