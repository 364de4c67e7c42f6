//! The rights that the chart renders, without one verb after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::helm::{Helm, kubeconfig_of};
use cluster_tests::proxy::{Fault, Hook};
use cluster_tests::{Cluster, wait};
use futures::FutureExt;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Client, Config};
use serde_json::{Value, json};

/// Name and namespace of the release that is rendered; each run has another one in its place.
const NAME: &str = "variant";
const KINDS: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Deployment",
    "ValidatingWebhookConfiguration",
];

/// A verb that is missing in a run.
pub struct Missing {
    pub role: String,
    rule: usize,
    pub verb: String,
    /// As the API server names it in a refusal.
    pub resource: String,
}

/// What the chart renders with some values.
pub struct Chart {
    objects: Vec<Value>,
}

impl Chart {
    pub fn render(helm: &Helm, set: &str) -> Self {
        let chart = Helm::chart().display().to_string();
        let set = format!("--set={set}");
        let template = ["template", NAME, &chart, "--namespace", NAME, &set];
        let text = helm.ask(&template).unwrap();
        let objects = serde_saphyr::from_multiple(&text).unwrap();
        Self { objects }
    }

    /// Each verb of the roles with this in their names.
    pub fn verbs(&self, part: &str) -> Vec<Missing> {
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
    pub fn arguments(&self, job: &str, release: &str) -> Vec<String> {
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

pub fn applied(cluster: &Cluster, objects: Vec<Value>) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    cluster.apply(&list.to_string()).unwrap();
}

/// A client with a token of a ServiceAccount.
pub async fn client_of(cluster: &Cluster, namespace: &str, account: &str) -> Client {
    let kubeconfig = kubeconfig_of(cluster, namespace, account).unwrap();
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &Default::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// Somebody else taints a node before the first patch of it arrives: it is refused, and the node is read again.
pub fn node_changes(cluster: &Cluster) -> Arc<Hook> {
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
                let taints = node.spec.get_or_insert_default();
                let taints = taints.taints.get_or_insert_default();
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

/// The authorizer sees roles and bindings by four watches: these come after those that were there before.
pub async fn until_authorized(cluster: &Cluster) {
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

/// Puts the rights of a release without a verb there, for each of these verbs, and those of one that has all.
pub async fn releases(
    cluster: &Cluster,
    chart: &Chart,
    missing: Vec<Missing>,
    needs: fn(&str) -> bool,
) -> Vec<(String, Missing)> {
    let mut objects = chart.release("all", needs, None);
    let mut releases = Vec::new();
    for (number, missing) in missing.into_iter().enumerate() {
        let release = format!("without-{number}");
        objects.extend(chart.release(&release, needs, Some(&missing)));
        releases.push((release, missing));
    }
    applied(cluster, objects);
    until_authorized(cluster).await;
    releases
}

pub fn is_missed(missing: &Missing, (succeeded, said): (bool, String)) {
    let Missing { verb, resource, .. } = missing;
    // A part of a resource has its own name in a refusal.
    let refused = format!("cannot {verb} resource \"{resource}\"");
    assert!(!succeeded, "{verb} {resource} is not missed: {said}");
    assert!(said.contains(&refused), "{refused}: {said}");
}
