//! What works on a control plane: started, seen at work, ended, with nothing left behind.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::time::{Duration, Instant};

use control_plane::{
    ControlPlane, ControllerManager, FAKE_NODE, Kwok, NodeProblemDetector, Options, Scheduler,
    assets,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
const TAINT: &str = "readiness.k8s.io/example";

fn start(service_accounts: bool) -> ControlPlane {
    let assets = assets(&mut |_| {}).unwrap();
    let options = Options {
        service_accounts,
        ..Options::default()
    };
    ControlPlane::start_with(&assets, &options).unwrap()
}

/// A process that nobody has waited for yet (`Z`) does not run any more.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn create(plane: &ControlPlane, object: &Value) {
    let file = plane.folder().join("object.json");
    std::fs::write(&file, object.to_string()).unwrap();
    plane
        .kubectl_ok(&["create", "--filename", file.to_str().unwrap()])
        .unwrap();
}

fn get(plane: &ControlPlane, arguments: &[&str]) -> Value {
    let arguments = [&["get", "--output=json"], arguments].concat();
    serde_json::from_str(&plane.kubectl_ok(&arguments).unwrap()).unwrap()
}

/// Asks until the object that kubectl gets is as wanted.
fn until(plane: &ControlPlane, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let object = get(plane, arguments);
        if wanted(&object) {
            return object;
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {object:#}");
    }
}

fn node(name: &str, taints: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "taints": taints },
    })
}

fn workload(kind: &str, name: &str, tolerations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "tolerations": tolerations,
                    "containers": [{ "name": "main", "image": "registry.example.com/main" }],
                },
            },
        },
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

#[test]
fn a_taint_keeps_pods_waiting_and_those_that_tolerate_it_run() {
    let plane = start(true);
    let scheduler = Scheduler::start(&plane).unwrap();
    let controllers = ControllerManager::start(&plane, &ControllerManager::CONTROLLERS).unwrap();
    let kwok = Kwok::start(&plane).unwrap();
    let pids = [scheduler.pid(), controllers.pid(), kwok.pid()];
    assert!(pids.into_iter().all(is_running));

    let (annotation, fake) = FAKE_NODE;
    let taint = json!([{ "key": TAINT, "value": "pending", "effect": "NoSchedule" }]);
    create(
        &plane,
        &node("worker", &taint, &json!({ annotation: fake })),
    );
    create(&plane, &node("no-kubelet", &json!([]), &json!({})));
    until(&plane, &["node", "worker"], |node| {
        condition(node, "Ready")["status"] == "True" && node["spec"]["taints"] == taint
    });

    let tolerations = json!([{ "key": TAINT, "operator": "Exists" }]);
    create(&plane, &workload("DaemonSet", "agent", &tolerations));
    create(&plane, &workload("Deployment", "web", &json!([])));
    let web = ["pods", "--selector=app=web"];
    let pods = until(&plane, &web, |pods| {
        condition(&pods["items"][0], "PodScheduled")["reason"] == "Unschedulable"
    });
    let pod = &pods["items"][0];
    let message = condition(pod, "PodScheduled")["message"].as_str().unwrap();
    assert!(
        message.contains("1 node(s) had untolerated taint(s)"),
        "{message}"
    );
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["spec"]["nodeName"], Value::Null);
    assert_eq!(
        pod["spec"]["serviceAccountName"], "default",
        "as in a cluster"
    );

    let running = |pods: &Value| -> Vec<Value> {
        let pods = pods["items"].as_array().into_iter().flatten();
        let running = pods.filter(|pod| pod["status"]["phase"] == "Running");
        running.map(|pod| pod["spec"]["nodeName"].clone()).collect()
    };
    let agents = until(&plane, &["pods", "--selector=app=agent"], |pods| {
        !running(pods).is_empty()
    });
    assert_eq!(running(&agents), ["worker"], "{agents:#}");
    assert_eq!(
        get(&plane, &["node", "no-kubelet"])["status"]["conditions"],
        Value::Null,
        "kwok leaves other nodes alone"
    );

    plane
        .kubectl_ok(&["taint", "node", "worker", &format!("{TAINT}-")])
        .unwrap();
    let pods = until(&plane, &web, |pods| {
        condition(&pods["items"][0], "Ready")["status"] == "True"
    });
    assert_eq!(pods["items"][0]["spec"]["nodeName"], "worker");
    // By the garbage collector, the controllers and kwok.
    plane.kubectl_ok(&["delete", "deployment", "web"]).unwrap();
    until(&plane, &web, |pods| pods["items"] == json!([]));

    let folder = plane.folder().to_owned();
    drop((kwok, controllers, scheduler, plane));
    assert!(!pids.into_iter().any(is_running), "{pids:?}");
    assert!(!folder.exists());
}

#[test]
fn a_problem_detector_reports_what_its_plugin_says() {
    let plane = start(false);
    create(&plane, &node_named("worker"));
    let plugin = plane.folder().join("plugin.json");
    let config = json!({
        "plugin": "custom",
        "pluginConfig": { "invoke_interval": "1s", "timeout": "1s", "max_output_length": 80, "concurrency": 1 },
        "source": "example-monitor",
        "conditions": [{ "type": "ExampleProblem", "reason": "NoProblem", "message": "fine" }],
        "rules": [{
            "type": "permanent", "condition": "ExampleProblem", "reason": "Broken",
            "path": "/bin/sh", "args": ["-c", "echo it is broken; exit 1"],
        }],
    });
    std::fs::write(&plugin, config.to_string()).unwrap();
    let detector = NodeProblemDetector::start(&plane, "worker", &plugin).unwrap();
    let pid = detector.pid();
    let node = until(&plane, &["node", "worker"], |node| {
        condition(node, "ExampleProblem")["status"] == "True"
    });
    let reported = condition(&node, "ExampleProblem");
    assert_eq!(reported["reason"], "Broken");
    assert_eq!(reported["message"], "it is broken");
    // One on every node, each with a log of its own.
    create(&plane, &node_named("other"));
    let other = NodeProblemDetector::start(&plane, "other", &plugin).unwrap();
    assert_ne!(detector.log(), other.log());
    drop((detector, other));
    assert!(!is_running(pid));
}

fn node_named(name: &str) -> Value {
    node(name, &json!([]), &json!({}))
}

#[test]
fn what_a_component_does_not_take_is_said_at_once() {
    let plane = start(false);
    let error = ControllerManager::start(&plane, &["no-such-controller"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("kube-controller-manager ended by itself"),
        "{error}"
    );
    assert!(error.contains("no-such-controller"), "{error}");

    let plugin = plane.folder().join("plugin.json");
    std::fs::write(&plugin, "no JSON").unwrap();
    let error = NodeProblemDetector::start(&plane, "worker", &plugin)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("node-problem-detector ended by itself"),
        "{error}"
    );
    assert!(error.contains("plugin.json"), "{error}");
}
