//! Extended resources of nodes, and ResourceSlices among them: what a policy is told that asks about devices.

mod common;

use cli_tests::program::Output;
use common::{every_case_passes, json};
use serde_json::json;

const POLICY: &str = "devices-ready";
const PARAMETERS: &str = "{drivers: [{name: nic.example.com, devices: 1}]}";

fn decided(objects: &[&str]) -> Output {
    common::decided(POLICY, PARAMETERS, objects)
}

const SLICE: &str = "apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: slice}
spec: {nodeName: worker, driver: nic.example.com, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: a}]}";

#[test]
fn every_case_of_devices_ready_passes_through_eval() {
    every_case_passes(POLICY);
}

#[test]
fn what_was_asked_about_devices_and_answered_is_told() {
    let output = decided(&[SLICE]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    let result = &report["results"][0];
    assert_eq!(result["reason"], "DevicesReady");
    assert_eq!(
        result["facts"][1],
        json!({"question": "has-devices", "driver": "nic.example.com", "atLeast": 1, "answer": true})
    );
    let resources = "{resources: {example.com/gpu: 8}}";
    let output = common::decided(POLICY, resources, &[SLICE]);
    let report = json(&output.stdout);
    let facts = report["results"][0]["facts"].as_array().unwrap();
    assert_eq!(
        facts.last().unwrap(),
        &json!({"question": "allocatable-at-least", "resource": "example.com/gpu", "atLeast": 0, "answer": false})
    );
}

#[test]
fn where_nobody_gave_resource_slices_that_is_told() {
    let output = decided(&[]);
    assert_eq!(output.status, 0);
    assert_eq!(
        output.stderr,
        "note: policy \"devices-ready\" asks about resourceslices, and none was given: it is told that no node has any; \
         `kubectl get nodes,resourceslices -A -o yaml` prints both\n"
    );
}

#[test]
fn resource_slices_that_cannot_be_read() {
    for (slice, says) in [
        (
            SLICE.replace("{name: slice}", "{uid: a}"),
            "this ResourceSlice cannot be read: missing field `name`",
        ),
        (
            SLICE.replace("/v1", "/v1beta1"),
            "a ResourceSlice has `apiVersion: resource.k8s.io/v1`",
        ),
    ] {
        let output = decided(&[&slice]);
        assert_eq!(output.status, 2, "not refused ({says}): {output:?}");
        assert!(output.stderr.contains(says), "{says}: {output:?}");
    }
}
