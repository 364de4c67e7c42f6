//! The schemas of parameters say the same as the checks of the policies that come with the host.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::collections::BTreeSet;
use std::process::Command;

use cli_tests::program::{host_in, workspace};
use serde_json::{Value, json};

/// A policy with parameters that are sound, and with others that are not. `LONG(n)` stands for `n` letters.
const CASES: &[(&str, &[&str], &[&str])] = &[
    (
        "default",
        &[
            r#"{}"#,
            r#"{"maxHeartbeatAge": "10m", "minReadyTime": "0s"}"#,
            r#"{"rearmOnReboot": true}"#,
        ],
        &[
            r#"{"maxHeartbeatAge": "0s"}"#,
            r#"{"minReadyTime": 30}"#,
            r#"{"minReadyTime": "30"}"#,
            r#"{"minReadyTime": "1d"}"#,
            r#"{"rearmOnReboot": "true"}"#,
            r#"{"more": 1}"#,
        ],
    ),
    (
        "heartbeat",
        &[
            r#"{}"#,
            r#"{"maxLeaseAge": "1h30m"}"#,
            r#"{"maxHeartbeatAge": "1m1s1ms"}"#,
        ],
        &[
            r#"{"maxLeaseAge": "0ms"}"#,
            r#"{"maxLeaseAge": "123456s"}"#,
            r#"{"maxHeartbeatAge": "1h1h1h1h1h"}"#,
            r#"{"maxHeartbeatAge": null}"#,
            r#"{"more": 1}"#,
        ],
    ),
    (
        "pods-ready",
        &[
            r#"{"pods": [{"namespace": "kube-system", "daemonSet": "cilium.v2", "readyFor": "30s"}]}"#,
            r#"{"pods": [{"namespace": "LONG(63)", "daemonSet": "LONG(253)"}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"example.com/App_1": "", "b": "V_1.2-3"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"LONG(253)/LONG(63)": "LONG(63)"}}]}"#,
        ],
        &[
            r#"{}"#,
            r#"{"pods": []}"#,
            r#"{"pods": [{"namespace": "a"}]}"#,
            r#"{"pods": [{"daemonSet": "a"}]}"#,
            r#"{"pods": [{"namespace": "Kube_System ", "daemonSet": "a"}]}"#,
            r#"{"pods": [{"namespace": "LONG(64)", "daemonSet": "a"}]}"#,
            r#"{"pods": [{"namespace": "a.b", "daemonSet": "a"}]}"#,
            r#"{"pods": [{"namespace": "", "daemonSet": "a"}]}"#,
            r#"{"pods": [{"namespace": "a", "daemonSet": "A"}]}"#,
            r#"{"pods": [{"namespace": "a", "daemonSet": "a..b"}]}"#,
            r#"{"pods": [{"namespace": "a", "daemonSet": "é"}]}"#,
            r#"{"pods": [{"namespace": "a", "daemonSet": "LONG(254)"}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"bad key!": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"LONG(64)": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"LONG(254)/a": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"A.com/a": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"a/b/c": "v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"k": "v v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"k": "-v"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"k": "LONG(64)"}}]}"#,
            r#"{"pods": [{"namespace": "a", "labels": {"k": 1}}]}"#,
            r#"{"pods": [{"namespace": "a", "daemonSet": "a", "more": 1}]}"#,
        ],
    ),
    (
        "daemon-sets-ready",
        &[
            r#"{"daemonSets": [{"namespace": "kube-system", "labels": {"tier": "node"}, "readyFor": "30s"}]}"#,
            r#"{"daemonSets": [{"namespace": "LONG(63)", "labels": {"a.b/LONG(63)": "LONG(63)"}}]}"#,
        ],
        &[
            r#"{"daemonSets": [{"labels": {"tier": "node"}}]}"#,
            r#"{"daemonSets": [{"namespace": "Kube_System "}]}"#,
            r#"{"daemonSets": [{"namespace": "LONG(64)"}]}"#,
            r#"{"daemonSets": [{"namespace": "a", "labels": {"bad key!": "v"}}]}"#,
            r#"{"daemonSets": [{"namespace": "a", "labels": {"k": "v v"}}]}"#,
            r#"{"daemonSets": [{"namespace": "a", "labels": {"k": "LONG(64)"}}]}"#,
            r#"{"daemonSets": [{"namespace": "a", "readyFor": "soon"}]}"#,
            r#"{"daemonSets": ["a"]}"#,
        ],
    ),
    (
        "csi-ready",
        &[
            r#"{"drivers": [{"name": "ebs.csi.aws.com", "topologyKeys": ["topology.ebs.csi.aws.com/zone", "rack"]}]}"#,
            r#"{"drivers": [{"name": "Driver.Example.COM"}, {"name": "LONG(63)"}]}"#,
        ],
        &[
            r#"{"drivers": [{"topologyKeys": ["rack"]}]}"#,
            r#"{"drivers": [{"name": "LONG(64)"}]}"#,
            r#"{"drivers": [{"name": "ééééééééééééééééééééééééééééééééé"}]}"#,
            r#"{"drivers": [{"name": "a_b"}]}"#,
            r#"{"drivers": [{"name": "a."}]}"#,
            r#"{"drivers": [{"name": "a", "topologyKeys": []}]}"#,
            r#"{"drivers": [{"name": "a", "topologyKeys": ["a b"]}]}"#,
            r#"{"drivers": [{"name": "a", "topologyKeys": ["LONG(64)"]}]}"#,
            r#"{"drivers": [{"name": "a", "topologyKeys": ["LONG(254)/a"]}]}"#,
        ],
    ),
    (
        "devices-ready",
        &[
            r#"{"resources": {"nvidia.com/gpu": 8}}"#,
            r#"{"resources": {"nvidia.com/gpu": 1.0}}"#,
            r#"{"resources": {"LONG(176)/LONG(63)": 1}, "drivers": [{"name": "gpu.nvidia.com", "devices": 2.0}]}"#,
            r#"{"drivers": [{"name": "gpu.nvidia.com", "devices": 4294967295}]}"#,
        ],
        &[
            r#"{}"#,
            r#"{"resources": {"cpu": 1}}"#,
            r#"{"resources": {"x.kubernetes.io/y": 1}}"#,
            r#"{"resources": {"nvidia.com/g p u": 1}}"#,
            r#"{"resources": {"nvidia.com/": 1}}"#,
            r#"{"resources": {"LONG(177)/LONG(63)": 1}}"#,
            r#"{"resources": {"nvidia.com/gpu": 0}}"#,
            r#"{"resources": {"nvidia.com/gpu": 1.5}}"#,
            r#"{"resources": {"nvidia.com/gpu": "8"}}"#,
            r#"{"drivers": [{"name": "a b"}]}"#,
            r#"{"drivers": [{"name": "LONG(64)"}]}"#,
            r#"{"drivers": [{"name": "a", "devices": 4294967296}]}"#,
            r#"{"drivers": [{"name": "a", "devices": 0}]}"#,
        ],
    ),
];

/// One of them, with a name of its own.
struct Case {
    name: String,
    policy: &'static str,
    parameters: String,
    is_sound: bool,
}

fn cases() -> Vec<Case> {
    let of_policies = CASES.iter().flat_map(|(policy, sound, unsound)| {
        let sound = sound.iter().map(|text| (text, true));
        let all = sound.chain(unsound.iter().map(|text| (text, false)));
        all.map(move |(text, is_sound)| (*policy, *text, is_sound))
    });
    of_policies
        .enumerate()
        .map(|(index, (policy, text, is_sound))| Case {
            name: format!("case-{index}"),
            policy,
            parameters: lengthened(text),
            is_sound,
        })
        .collect()
}

fn lengthened(text: &str) -> String {
    let mut parts = text.split("LONG(");
    let mut long = parts.next().unwrap().to_owned();
    for part in parts {
        let (count, rest) = part.split_once(')').unwrap();
        long += &"a".repeat(count.parse().unwrap());
        long += rest;
    }
    long
}

#[test]
fn a_schema_and_the_check_of_its_policy_refuse_the_same() {
    let cases = cases();
    let [by_schema, by_check] = [refused_by_schema(&cases), refused_by_check(&cases)];
    let otherwise = cases.iter().filter_map(|case| {
        let by_schema = !by_schema.contains(&case.name);
        let by_check = !by_check.contains(&case.name);
        let (policy, parameters) = (case.policy, &case.parameters);
        ((by_schema, by_check) != (case.is_sound, case.is_sound)).then(|| {
            format!(
                "{policy} {parameters}: sound by the schema: {by_schema}, by the check: {by_check}"
            )
        })
    });
    assert_eq!(otherwise.collect::<Vec<_>>(), [""; 0]);
}

/// What a validator of JSON Schema says.
fn refused_by_schema(cases: &[Case]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    for (policy, ..) in CASES {
        let file = workspace().join(format!("policies/{policy}/src/parameters.json"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        // Without its version at the root the validator takes it for an old one.
        let of_object = json!({ "$schema": schema["$schema"], "type": "object", "required": ["parameters"],
                                "properties": { "parameters": schema } });
        let file = folder.path().join(format!("{policy}.json"));
        std::fs::write(file, of_object.to_string()).unwrap();
    }
    let objects = cases.iter().map(|case| {
        let (name, policy, parameters) = (&case.name, case.policy, &case.parameters);
        format!(
            r#"{{"apiVersion": "v1", "kind": "{policy}", "metadata": {{"name": "{name}"}}, "parameters": {parameters}}}"#
        )
    });
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, objects.collect::<Vec<_>>().join("\n---\n")).unwrap();
    let output = Command::new(control_plane::kubeconform(&mut |_| {}).unwrap())
        .args(["-output", "json", "-verbose", "-schema-location"])
        .arg(folder.path().join("{{.ResourceKind}}.json"))
        .arg(&file)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = told["resources"].as_array().unwrap();
    assert_eq!(told.len(), cases.len(), "{told:?}");
    let refused = told.iter().filter(|one| {
        let status = one["status"].as_str().unwrap();
        // Anything else is no word about the object.
        assert!(["statusValid", "statusInvalid"].contains(&status), "{one}");
        status == "statusInvalid"
    });
    refused
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

/// What the policies themselves say, as `host eval` tells it.
fn refused_by_check(cases: &[Case]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let rules = cases.iter().map(|case| {
        let (name, policy, parameters) = (&case.name, case.policy, &case.parameters);
        format!(
            r#"{{"apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule", "metadata": {{"name": "{name}"}},
"spec": {{"conditions": [{{"type": "Ready", "requiredStatus": "True"}}], "enforcementMode": "bootstrap-only",
"taint": {{"key": "readiness.k8s.io/{name}", "effect": "NoSchedule"}}, "nodeSelector": {{"matchLabels": {{"a": "b"}}}},
"policy": {{"name": "{policy}", "parameters": {parameters}}}}}}}"#
        )
    });
    let rules = rules.collect::<Vec<_>>().join("\n---\n");
    std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: worker}\n";
    std::fs::write(folder.path().join("node.yaml"), node).unwrap();
    let modules = CASES.iter().filter(|(policy, ..)| *policy != "default");
    let modules: Vec<_> = modules
        .map(|(policy, ..)| format!("--policy={policy}=builtin:{policy}"))
        .collect();
    let files = ["eval", "--rule", "rules.yaml", "--node", "node.yaml"];
    let arguments = files.into_iter().chain(modules.iter().map(String::as_str));
    let output = host_in(folder.path(), &arguments.collect::<Vec<_>>(), &[]).unwrap();
    assert_eq!(output.status, 2, "{}", output.stderr);
    let told = output.stderr.lines().map(|line| {
        let (_, from) = line.split_once("rule '").unwrap();
        let (name, rest) = from.split_once('\'').unwrap();
        assert!(rest.contains("spec.policy.parameters"), "{line}");
        name.to_owned()
    });
    told.collect()
}

/// A policy that comes with the host, and a schema that nobody compared.
#[test]
fn each_policy_with_a_schema_has_cases() {
    let folders = std::fs::read_dir(workspace().join("policies")).unwrap();
    let with_schema = folders.filter_map(|entry| {
        let folder = entry.unwrap().path();
        let name = folder.file_name()?.to_str()?.to_owned();
        // It is no part of the host, and a schema knows no CEL.
        let is_compared = name != "cel" && folder.join("src/parameters.json").exists();
        is_compared.then_some(name)
    });
    let named: BTreeSet<_> = CASES
        .iter()
        .map(|(policy, ..)| (*policy).to_owned())
        .collect();
    assert_eq!(with_schema.collect::<BTreeSet<_>>(), named);
}
