//! When it writes, and that it writes nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_tests::endpoint::{Answer, Endpoint};
use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::webhook::Authority;
use cluster_tests::{AGENT, Cluster, Reporter, Settings, wait};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{FALCO, NODE, cluster, requests, until_asked, writes};

/// A status as a kubelet leaves it, and what others put on the node.
async fn furnish(cluster: &Cluster) {
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
        "capacity": { "cpu": "4", "memory": "16Gi", "example.com/gpu": "2" },
        "images": [{ "names": ["registry.example/agent:1"], "sizeBytes": 123_456_789 }],
        "nodeInfo": { "bootID": "b", "machineID": "m", "systemUUID": "u", "kernelVersion": "k",
            "osImage": "o", "containerRuntimeVersion": "c", "kubeletVersion": "v",
            "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64" },
    }});
    let patch = Patch::Strategic(status);
    let nodes = cluster.nodes();
    nodes
        .patch_status(NODE, &PatchParams::default(), &patch)
        .await
        .unwrap();
    cluster
        .annotate_node(NODE, json!({ "example.com/note": "é\u{2028}" }))
        .await
        .unwrap();
    cluster.set_condition(NODE, "Ready", "True").await.unwrap();
    cluster
        .set_condition(NODE, "MemoryPressure", "False")
        .await
        .unwrap();
}

/// The node without its version, who wrote it, and our condition.
fn rest(cluster: &Cluster) -> Value {
    let raw = format!("--raw=/api/v1/nodes/{NODE}");
    let node = cluster.plane.kubectl_ok(&["get", &raw]).unwrap();
    let mut node: Value = serde_json::from_str(&node).unwrap();
    let metadata = node["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    let conditions = node["status"]["conditions"].as_array_mut().unwrap();
    conditions.retain(|condition| condition["type"] != FALCO);
    node
}

#[tokio::test]
async fn compat_049_it_writes_what_is_new_and_nothing_else() {
    let cluster = cluster().await;
    furnish(&cluster).await;
    let before = rest(&cluster);
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO).set("CHECK_INTERVAL", "50ms");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    let first = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    assert_eq!(first.last_heartbeat_time, first.last_transition_time);
    until_asked(&endpoint, 30).await;
    assert_eq!(writes(&cluster), 1);
    endpoint.set_ready(true);
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    until_asked(&endpoint, 30).await;
    assert_eq!(writes(&cluster), 2);

    // A status, then a message at once, and no further message within the heartbeat period.
    endpoint.answer(Answer::new(503, "at 12:00:00"));
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    endpoint.answer(Answer::new(503, "at 12:00:01"));
    let message = async || {
        let condition = cluster.condition(NODE, FALCO).await.unwrap().unwrap();
        condition.message.unwrap()
    };
    wait::until_true("the second message is written", || async {
        Ok(message().await.ends_with(": at 12:00:01"))
    })
    .await
    .unwrap();
    for second in 2..10 {
        endpoint.answer(Answer::new(503, format!("at 12:00:{second:02}")));
        until_asked(&endpoint, 3).await;
    }
    assert_eq!(writes(&cluster), 4);
    assert!(message().await.ends_with(": at 12:00:01"));
    reporter.terminate().await.unwrap();

    assert_eq!(rest(&cluster), before);
    // It reads the node before it writes, and to look now and then; not at each check.
    let (checks, reads) = (endpoint.asked().len(), requests(&cluster).len() - 4);
    assert!(reads < checks / 2, "{reads} reads at {checks} checks");
    for request in requests(&cluster) {
        let path = request.uri.split('?').next().unwrap();
        let expected = match request.verb.as_str() {
            "get" => format!("/api/v1/nodes/{NODE}"),
            "update" => format!("/api/v1/nodes/{NODE}/status"),
            verb => panic!("{verb} {path}"),
        };
        assert_eq!(
            (path, request.code),
            (expected.as_str(), 200),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn compat_049_a_heartbeat_is_renewed_and_the_transition_stays() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO)
        .set("CHECK_INTERVAL", "200ms")
        .set("HEARTBEAT_PERIOD", "1s");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    let first = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let mut seen = first.clone();
    for _ in 0..3 {
        seen = wait::until("a newer heartbeat", || async {
            let now = cluster.condition(NODE, FALCO).await?.unwrap();
            Ok(if now.last_heartbeat_time > seen.last_heartbeat_time {
                Ok(now)
            } else {
                Err(format!("{now:?}"))
            })
        })
        .await
        .unwrap();
        assert_eq!(seen.last_transition_time, first.last_transition_time);
    }
    reporter.terminate().await.unwrap();

    // The API's times have no more than seconds: in the same one a write could not be told from the last.
    seen = cluster.condition(NODE, FALCO).await.unwrap().unwrap();
    let last = seen.last_heartbeat_time.clone().unwrap().0.as_second();
    wait::until_true("the next second", || async {
        Ok(jiff::Timestamp::now().as_second() > last)
    })
    .await
    .unwrap();
    // After a start it is written whatever stands there: that is what tells it from yesterday's.
    let settings = settings.set("HEARTBEAT_PERIOD", "1h");
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    wait::until_true("a newer heartbeat", || async {
        let now = cluster.condition(NODE, FALCO).await?.unwrap();
        assert_eq!(now.last_transition_time, first.last_transition_time);
        Ok(now.last_heartbeat_time > seen.last_heartbeat_time)
    })
    .await
    .unwrap();
}

/// Somebody else writes between our read and our write.
#[tokio::test]
async fn compat_049_a_write_of_somebody_else_is_kept() {
    let cluster = Arc::new(cluster().await);
    let authority = Authority::new().unwrap();
    let (other, times) = (Arc::clone(&cluster), Arc::new(AtomicUsize::new(0)));
    let hook = move |method: String, _: String| {
        let (cluster, times) = (Arc::clone(&other), Arc::clone(&times));
        let write = async move {
            // Twice, so that the second attempt is refused as well.
            if method == "PUT" && times.fetch_add(1, Ordering::Relaxed) < 2 {
                let status = times.load(Ordering::Relaxed) % 2 == 0;
                let status = if status { "True" } else { "False" };
                cluster.agent_reports(NODE, status).await;
            }
            Fault::Pass
        };
        Box::pin(write) as _
    };
    let pair = authority.sign(1).unwrap();
    let proxy = Proxy::start_tls(cluster.client.clone(), Arc::new(hook), &pair);
    let proxy = proxy.await.unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    reporter.terminate().await.unwrap();

    let folder = cluster.service_account_folder(&[]).unwrap();
    std::fs::write(folder.join("ca.crt"), &authority.pem).unwrap();
    endpoint.set_ready(true);
    let (server, log) = (proxy.address().to_string(), cluster.new_log());
    let reporter = Reporter::start_with(&folder, &server, &log, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    let agent = cluster.condition(NODE, AGENT).await.unwrap().unwrap();
    assert_eq!(agent.status, "True");
    let passed: Vec<_> = proxy
        .passed()
        .into_iter()
        .map(|request| {
            // The first look is content with what the API server remembers, which may be what was refused.
            let cached = request.path.ends_with("?resourceVersion=0");
            (request.method, cached, request.status)
        })
        .collect();
    let expected = [
        ("GET", true, 200),
        ("PUT", false, 409),
        ("GET", false, 200),
        ("PUT", false, 409),
        ("GET", false, 200),
        ("PUT", false, 200),
    ];
    let expected = expected.map(|(method, cached, status)| (method.to_owned(), cached, status));
    assert_eq!(passed[..6], expected);
    assert!(!reporter.log().unwrap().contains("is not written"));
}

#[tokio::test]
async fn compat_049_what_somebody_took_away_comes_back() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let away = json!({ "status": { "conditions": [{ "type": FALCO, "$patch": "delete" }] } });
    let patch = Patch::Strategic(away);
    let nodes = cluster.nodes();
    nodes
        .patch_status(NODE, &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(cluster.condition(NODE, FALCO).await.unwrap().is_none());
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
}
