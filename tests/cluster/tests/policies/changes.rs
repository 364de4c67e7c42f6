//! From no policy by one that decides and broken ones to none again.

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use kube::api::DeleteParams;
use planner::rule::Status;
use serde_json::json;

use crate::world::{
    apply, hostile, message, policies, put_config_map, rule, start, until, until_stalled,
};

const OTHER: &str = "readiness.k8s.io/other";
const WITNESS: &str = "readiness.k8s.io/witness";
/// The hostile guest's is longer: of what a stranger says that it is, 64 bytes are shown.
const VERSION: &str = "1.2.3-a.version.that.is.longer.than.the.64.bytes.of.it.that.a.ta";

/// Made for this test; nobody has the private one.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELGuu856u1hJB5uV1YnYbtoDh7Pdv
jQyq77kFOX/a/g/OtvSg3yr48RB1/n0BkvBltzvF8yBBDBE0zJ/JR+hIsA==
-----END PUBLIC KEY-----
";

/// Both rules decide by what the agent says.
async fn both_follow_the_agent(cluster: &Cluster) {
    for (status, held) in [("True", false), ("False", true)] {
        cluster.agent_reports("worker", status).await;
        for taint in [GUIDE_TAINT, OTHER] {
            let seen = cluster.until_tainted("worker", taint, held).await;
            seen.unwrap();
        }
    }
}

#[tokio::test]
async fn the_last_good_module_goes_on_until_another_one_can_take_its_place() {
    let cluster = start().await;
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    // The hostile guest refuses the second one by its name.
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    cluster.apply(&rule("check-finds", OTHER)).unwrap();
    for name in ["agent", "check-finds"] {
        until_stalled(
            &cluster,
            name,
            "PolicyNotFound: spec.policy.name: there is no policy \"steady\"",
        )
        .await;
    }
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [""; 0], "they are Stalled");

    apply(
        &cluster,
        json!({"module": {"builtin": {"name": "default"}}}),
    )
    .await;
    let good = until(&cluster, "Ready", Status::True, "Decides").await;
    assert!(good.digest.is_some() && good.digest == good.last_good_digest);
    assert!(
        good.imports
            .iter()
            .any(|import| import.starts_with("node-readiness:policy/node@"))
    );
    both_follow_the_agent(&cluster).await;

    // Not there, then no policy, then one that a rule cannot have: each time the last good one goes on.
    let module = json!({"configMap": {"namespace": "default", "name": "modules", "key": "a.wasm"}});
    apply(&cluster, json!({ "module": module })).await;
    let status = until(&cluster, "Fetched", Status::False, "NotFound").await;
    assert_eq!(status.last_good_digest, good.digest);
    assert!(message(&status, "Ready").contains("the last good module sha256:"));
    let note = cluster.until_event("steady", "PolicyNotFetched").await;
    assert!(
        note.unwrap()
            .contains("ConfigMap default/modules cannot be read")
    );
    both_follow_the_agent(&cluster).await;
    put_config_map(&cluster, "modules", &[("a.wasm", b"#!/bin/sh")]).await;
    until(&cluster, "Fetched", Status::False, "NotAComponent").await;
    put_config_map(&cluster, "modules", &[("a.wasm", &hostile())]).await;
    let status = until(&cluster, "Compatible", Status::False, "ParametersRefused").await;
    assert!(message(&status, "Compatible").contains("rule 'check-finds'"));
    assert_eq!(status.last_good_digest, good.digest);
    assert_ne!(status.digest, good.digest);
    both_follow_the_agent(&cluster).await;

    // Without that rule nothing is in its way. It lets every node go.
    cluster.delete_rule("check-finds").await.unwrap();
    let status = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(version(&status), VERSION);
    assert_eq!(status.last_good_digest, status.digest);
    cluster.until_released("worker").await;
    // One event for each module that began to decide, and who decided is in the log.
    let [was, is] = [&good, &status].map(|status| status.digest.clone().unwrap());
    wait::until("an event for each swap", || async {
        let mut notes = cluster.events("steady", "PolicyDecides").await?;
        notes.sort_by_key(|note| note.contains("in the place of"));
        let expected = [
            format!("Module {was}, version {}, decides now", version(&good)),
            format!("Module {is}, version {VERSION}, decides now, in the place of {was}"),
        ];
        Ok(if notes == expected {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        })
    })
    .await
    .unwrap();
    let log = host.log().unwrap();
    let line = |said: &str| {
        log.lines().any(|line| {
            ["taint removed", "steady", said]
                .iter()
                .all(|part| line.contains(part))
        })
    };
    assert!(line(VERSION), "{log}");
    assert!(!log.contains(&format!("{VERSION}b")), "{log}");

    // Without a policy nothing changes.
    apply(
        &cluster,
        json!({"module": {"builtin": {"name": "default"}}}),
    )
    .await;
    cluster.until_held("worker").await;
    let all = policies(&cluster);
    all.delete("steady", &DeleteParams::default())
        .await
        .unwrap();
    until_stalled(
        &cluster,
        "agent",
        "PolicyNotFound: spec.policy.name: there is no policy \"steady\"",
    )
    .await;
    let witness = agent_rule("witness", "continuous").replace(GUIDE_TAINT, WITNESS);
    cluster.apply(&witness).unwrap();
    cluster
        .until_tainted("worker", WITNESS, true)
        .await
        .unwrap();
    cluster.agent_reports("worker", "True").await;
    cluster
        .until_tainted("worker", WITNESS, false)
        .await
        .unwrap();
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);
    host.terminate().await.unwrap();
}

fn version(status: &api::policy::ReadinessPolicyStatus) -> &str {
    status.version.as_deref().unwrap_or_default()
}

/// Also by the host that comes after.
#[tokio::test]
async fn what_was_taken_for_a_spec_is_what_counts_and_what_cannot_be_used_says_why() {
    let cluster = start().await;
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let missing = std::env::temp_dir().join("no-such-policy.wasm");
    apply(&cluster, json!({"module": {"file": {"path": missing}}})).await;
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    let host = cluster.start_host().await.unwrap();
    let status = until(&cluster, "Ready", Status::False, "NotFound").await;
    assert!(message(&status, "Ready").contains("rules that name it are Stalled"));
    until_stalled(
        &cluster,
        "agent",
        "PolicyNotReady: spec.policy.name: policy \"steady\" is not ready: ",
    )
    .await;
    let file = cluster.plane.folder().join("hostile.wasm");
    std::fs::write(&file, hostile()).unwrap();
    // What a module may not ask is refused, whatever it would decide.
    apply(
        &cluster,
        json!({"module": {"file": {"path": file}}, "allow": []}),
    )
    .await;
    let status = until(&cluster, "Compatible", Status::False, "NotAllowed").await;
    assert!(message(&status, "Compatible").contains("spec.allow"));
    apply(&cluster, json!({"module": {"file": {"path": file}}})).await;
    let first = until(&cluster, "Ready", Status::True, "Decides").await;
    // What it asks is not allowed any more, or somebody has to have signed it: then it does not go on as a last good
    // one would, and does again without that.
    let module = json!({"file": {"path": file}});
    for (spec, condition, reason) in [
        (
            json!({"module": module, "allow": []}),
            "Compatible",
            "NotAllowed",
        ),
        (
            json!({"module": module, "signature": {"keys": [KEY]}}),
            "Verified",
            "Unsigned",
        ),
    ] {
        apply(&cluster, spec).await;
        let status = until(&cluster, condition, Status::False, reason).await;
        assert_eq!(status.last_good_digest, None);
        assert!(
            message(&status, "Ready").starts_with("no module decides"),
            "{status:?}"
        );
        until_stalled(&cluster, "agent", "PolicyNotReady: ").await;
        apply(&cluster, json!({ "module": module })).await;
        let status = until(&cluster, "Ready", Status::True, "Decides").await;
        assert_eq!(status.last_good_digest, first.digest);
    }
    host.terminate().await.unwrap();

    // Replaced meanwhile: what was taken for this spec is what counts.
    let mut replaced = hostile();
    replaced.extend([0, 2, 1, b'x']);
    std::fs::write(&file, replaced).unwrap();
    let mut host = cluster.start_host().await.unwrap();
    until(&cluster, "Verified", Status::False, "WrongDigest").await;
    std::fs::write(&file, hostile()).unwrap();
    let again = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(again.digest, first.digest);
    host.until_logged("another module decides now")
        .await
        .unwrap();
    host.terminate().await.unwrap();
}
