//! Leases among the nodes: what a policy is told that asks about them.

mod common;

use cli_tests::program::Output;
use common::{every_case_passes, json};
use serde_json::json;

const POLICY: &str = "heartbeat";
const PARAMETERS: &str = "{}";

fn decided(objects: &[&str]) -> Output {
    common::decided(POLICY, PARAMETERS, objects)
}

/// Of the node, renewed half a minute before.
const LEASE: &str = "apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: worker, namespace: kube-node-lease}
spec: {holderIdentity: worker, renewTime: \"2026-01-01T23:59:30.000000Z\"}";

#[test]
fn every_case_of_heartbeat_passes_through_eval() {
    every_case_passes(POLICY);
}

#[test]
fn what_was_asked_about_the_lease_and_answered_is_told() {
    let output = decided(&[LEASE]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    let result = &report["results"][0];
    assert_eq!(result["reason"], "LeaseRenewed");
    assert_eq!(
        result["facts"][1],
        json!({"question": "renewed-within", "atMostMs": 40000, "answer": true, "until": "2026-01-02T00:00:10.001Z"})
    );
}

#[test]
fn where_nobody_gave_leases_that_is_told_and_another_namespaces_lease_is_none() {
    let output = decided(&[]);
    assert_eq!(output.status, 0);
    assert_eq!(
        output.stderr,
        "note: policy \"heartbeat\" asks about leases, and none was given: it is told that no node has any; \
         `kubectl get nodes,leases -A -o yaml` prints both\n"
    );
    let other = LEASE.replace("kube-node-lease", "default");
    let output = decided(&[&other]);
    let report = json(&output.stdout);
    assert_eq!(report["results"][0]["message"], "the node has no lease");
}

#[test]
fn leases_that_cannot_be_read() {
    for (lease, says) in [
        (
            LEASE.replace("name: worker, ", ""),
            "this Lease cannot be read: missing field `name`",
        ),
        (
            LEASE.replace("/v1", "/v2"),
            "a Lease has `apiVersion: coordination.k8s.io/v1`",
        ),
    ] {
        let output = decided(&[&lease]);
        assert_eq!(output.status, 2, "not refused ({says}): {output:?}");
        assert!(output.stderr.contains(says), "{says}: {output:?}");
    }
}
