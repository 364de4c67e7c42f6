//! What may stand in a status, and that one violation refuses all of it.

use http::Method;
use serde_json::{Value, json};

use crate::wire::{Answer, PATH, Server, rule, set};

const TIME: &str = "2026-01-02T03:04:05Z";

fn good() -> Value {
    json!({
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Enforced", "message": "",
            "lastTransitionTime": TIME, "observedGeneration": 1}],
        "nodes": {"matched": 2, "held": 1, "released": 1, "completed": 0, "failed": 1, "pending": 0, "conflicting": 0},
        "truncated": false,
        "appliedNodes": ["n1"],
        "failedNodes": [{"nodeName": "n2", "reason": "EvaluationError", "message": "failed to add taint: no", "lastEvaluationTime": TIME}],
        "nodeEvaluations": [{"nodeName": "n1", "taintStatus": "Present", "lastEvaluationTime": TIME,
            "conditionResults": [{"type": "A", "currentStatus": "Unknown", "requiredStatus": "True", "defaultStatus": "False"}]}],
        "dryRunResults": {"affectedNodes": 2, "taintsToAdd": 0, "taintsToRemove": 0, "riskyOperations": 1, "summary": "1 nodes have missing conditions"}})
}

/// Writes a status on an existing rule, without keeping it.
async fn write(server: &Server, stored: &Value, status: Value) -> Answer {
    let mut object = stored.clone();
    object["status"] = status;
    let path = format!("{PATH}/case/status?dryRun=All&fieldValidation=Strict");
    server.send(Method::PUT, &path, &object).await
}

pub(crate) async fn compat_010_status(server: &mut Server) {
    let case = "compat_010_status";
    let stored = server.create(&rule("", Value::Null)).await;
    let accepted = [
        ("", Value::Null),
        ("/failedNodes/0/reason", json!("r".repeat(256))),
        ("/failedNodes/0/reason", Value::Null),
        ("/failedNodes/0/message", json!("m".repeat(10_240))),
        ("/dryRunResults", json!({"summary": "s".repeat(4096)})),
        ("/conditions/0/message", json!("m".repeat(32_768))),
        ("/nodeEvaluations/0/conditionResults", json!([])),
        (
            "/nodeEvaluations/0/conditionResults/0/defaultStatus",
            Value::Null,
        ),
        ("/nodeEvaluations/0/taintStatus", json!("Absent")),
    ];
    for (place, value) in accepted {
        let mut status = good();
        set(&mut status, place, value);
        let sent = status.clone();
        match write(server, &stored, status).await {
            Answer::Taken(back) => server.expect(back["status"] == sent, || {
                format!("{case}: {place} came back as {}", back["status"])
            }),
            refused => server.expect(false, || format!("{case}: {place}: {refused:?}")),
        }
    }
    for status in [json!({"observedGeneration": 1}), json!({"truncated": true})] {
        let answer = write(server, &stored, status).await;
        server.expect(matches!(answer, Answer::Taken(_)), || {
            format!("{case}: {answer:?}")
        });
    }

    let statuses = "supported values: \"True\", \"False\", \"Unknown\"";
    let refused = [
        ("/observedGeneration", json!(0), "observedGeneration: Invalid value: 0: observedGeneration in body should be greater than or equal to 1".to_owned()),
        ("/dryRunResults", json!({"affectedNodes": 1}), "dryRunResults.summary: Required value".to_owned()),
        ("/dryRunResults/summary", json!(""), "dryRunResults.summary: Invalid value: \"\": dryRunResults.summary in body should be at least 1 chars long".to_owned()),
        ("/dryRunResults/summary", json!("s".repeat(4097)), "dryRunResults.summary: Too long: may not be more than 4096 bytes".to_owned()),
        ("/dryRunResults/taintsToAdd", json!(-1), "dryRunResults.taintsToAdd: Invalid value: -1: dryRunResults.taintsToAdd in body should be greater than or equal to 0".to_owned()),
        ("/failedNodes/0/reason", json!("r".repeat(257)), "failedNodes[0].reason: Too long: may not be more than 256 bytes".to_owned()),
        ("/failedNodes/0/message", json!("m".repeat(10_241)), "failedNodes[0].message: Too long: may not be more than 10240 bytes".to_owned()),
        ("/failedNodes/0/message", json!(""), "failedNodes[0].message: Invalid value: \"\": failedNodes[0].message in body should be at least 1 chars long".to_owned()),
        ("/failedNodes/0/lastEvaluationTime", Value::Null, "failedNodes[0].lastEvaluationTime: Required value".to_owned()),
        ("/failedNodes/0/nodeName", json!("N"), "failedNodes[0].nodeName: Invalid value: \"N\": failedNodes[0].nodeName in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'".to_owned()),
        ("/nodeEvaluations/0/taintStatus", json!("Gone"), "nodeEvaluations[0].taintStatus: Unsupported value: \"Gone\": supported values: \"Present\", \"Absent\"".to_owned()),
        ("/nodeEvaluations/0/conditionResults", Value::Null, "nodeEvaluations[0].conditionResults: Required value".to_owned()),
        ("/nodeEvaluations/0/conditionResults/0/currentStatus", json!("Maybe"), format!("nodeEvaluations[0].conditionResults[0].currentStatus: Unsupported value: \"Maybe\": {statuses}")),
        ("/nodeEvaluations/0/conditionResults/0/requiredStatus", Value::Null, "nodeEvaluations[0].conditionResults[0].requiredStatus: Required value".to_owned()),
        ("/conditions/0/status", json!("Maybe"), format!("conditions[0].status: Unsupported value: \"Maybe\": {statuses}")),
        ("/appliedNodes", json!(["n1", "n1"]), "appliedNodes[1]: Duplicate value: \"n1\"".to_owned()),
    ];
    for (place, value, reason) in refused {
        let mut status = good();
        set(&mut status, place, value);
        let answer = write(server, &stored, status).await;
        server.same(case, &answer, &[&format!("status.{reason}")]);
    }
    for list in ["failedNodes", "nodeEvaluations"] {
        let mut status = good();
        let entry = status[list][0].clone();
        let name = entry["nodeName"].clone();
        status[list] = json!([entry, entry]);
        let answer = write(server, &stored, status).await;
        let reason = format!("status.{list}[1]: Duplicate value: {{\"nodeName\":{name}}}");
        server.same(case, &answer, &[&reason]);
    }
    let answer = write(server, &stored, json!({})).await;
    let reason = "status: Invalid value: 0:  in body should have at least 1 properties";
    server.same(case, &answer, &[reason]);
    server.delete("case").await;
}

pub(crate) async fn compat_010_lists_of_nodes(server: &mut Server) {
    let case = "compat_010_lists_of_nodes";
    let stored = server.create(&rule("", Value::Null)).await;
    let names = |count: usize| (0..count).map(|index| format!("n{index}"));
    let entry = |kind: &str, name: String| match kind {
        "appliedNodes" => json!(name),
        "failedNodes" => json!({"nodeName": name, "lastEvaluationTime": TIME}),
        _ => {
            json!({"nodeName": name, "lastEvaluationTime": TIME, "taintStatus": "Absent", "conditionResults": []})
        }
    };
    for list in ["appliedNodes", "failedNodes", "nodeEvaluations"] {
        for count in [5000, 5001] {
            let entries: Value = names(count).map(|name| entry(list, name)).collect();
            let answer = write(server, &stored, json!({list: entries})).await;
            if count == 5000 {
                server.expect(matches!(answer, Answer::Taken(_)), || {
                    format!("{case}: {list} of 5000: {answer:?}")
                });
            } else {
                let reason = format!("status.{list}: Too many: 5001: must have at most 5000 items");
                server.same(case, &answer, &[&reason]);
            }
        }
    }
    server.delete("case").await;
}
