//! CSINodes among the nodes: what a policy is told that asks about them.

mod common;

use cli_tests::program::Output;
use common::{every_case_passes, json};
use serde_json::json;

const POLICY: &str = "csi-ready";
const PARAMETERS: &str = "{drivers: [{name: a.example.com, topologyKeys: [zone]}]}";

fn decided(objects: &[&str]) -> Output {
    common::decided(POLICY, PARAMETERS, objects)
}

const CSI_NODE: &str = "apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: worker}
spec: {drivers: [{name: a.example.com, nodeID: worker, topologyKeys: [zone]}]}";

#[test]
fn every_case_of_csi_ready_passes_through_eval() {
    every_case_passes(POLICY);
}

#[test]
fn what_was_asked_about_drivers_and_answered_is_told() {
    let output = decided(&[CSI_NODE]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    let result = &report["results"][0];
    assert_eq!(result["reason"], "DriversRegistered");
    assert_eq!(
        result["facts"][1],
        json!({"question": "has-topology-key", "driver": "a.example.com", "key": "zone", "answer": true})
    );
}

#[test]
fn where_nobody_gave_csi_nodes_that_is_told() {
    let output = decided(&[]);
    assert_eq!(output.status, 0);
    assert_eq!(
        output.stderr,
        "note: policy \"csi-ready\" asks about csinodes, and none was given: it is told that no node has any; \
         `kubectl get nodes,csinodes -A -o yaml` prints both\n"
    );
}

#[test]
fn csi_nodes_that_cannot_be_read() {
    for (csi_node, says) in [
        (
            CSI_NODE.replace("{name: worker}", "{uid: a}"),
            "this CSINode cannot be read: missing field `name`",
        ),
        (
            CSI_NODE.replace("/v1", "/v2"),
            "a CSINode has `apiVersion: storage.k8s.io/v1`",
        ),
    ] {
        let output = decided(&[&csi_node]);
        assert_eq!(output.status, 2, "not refused ({says}): {output:?}");
        assert!(output.stderr.contains(says), "{says}: {output:?}");
    }
}
