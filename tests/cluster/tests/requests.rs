//! How many requests a host sends, by the API server's audit log.

use cluster_tests::audit::{self, Request};
use cluster_tests::{Cluster, Host, agent_rule, wait, worker};
use control_plane::{Lifetime, Options, User};

const USER: &str = "host-a";
const QPS: f64 = 4.0;
const BURST: f64 = 6.0;

/// In every window of time no more than the burst, and so many a second; and the lease is renewed all
/// the while.
#[tokio::test]
async fn compat_043_requests_stay_below_the_limit_and_the_lease_does_not_wait() {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        users: vec![User {
            name: USER.to_owned(),
            groups: vec!["system:masters".to_owned()],
        }],
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    for number in 0..30 {
        let node = worker(&format!("node-{number}"), false);
        cluster.create_node(&node).await.unwrap();
    }
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let host = Host::spawn(
        &cluster.plane.kubeconfig_for(USER).unwrap(),
        &cluster.new_log(),
        Lifetime::OfThisProcess,
        &[
            "--node-concurrent-reconciles=10",
            "--kube-api-qps=4",
            "--kube-api-burst=6",
            "--leader-elect",
            "--leader-election-namespace=default",
        ],
    )
    .unwrap();
    let log = cluster.plane.audit_log();
    let events = |request: &&Request| request.resource == "events";
    wait::until("all nodes are tainted and their events sent", || {
        let requests = audit::read(&log, &[USER]).unwrap();
        let sent = requests.iter().filter(events).count();
        async move {
            Ok(if sent == 30 {
                Ok(())
            } else {
                Err(sent.to_string())
            })
        }
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();

    let requests = audit::read(&log, &[USER]).unwrap();
    // The first connection asks for the version, before there is a limit.
    let limited = |request: &&Request| {
        request.resource != "leases" && request.verb != "watch" && request.uri != "/version"
    };
    let times: Vec<f64> = requests
        .iter()
        .filter(limited)
        .map(|request| request.received.as_nanosecond() as f64 / 1e9)
        .collect();
    assert!(times.len() >= 60, "a patch and an event for each node");
    for (first, start) in times.iter().enumerate() {
        for (last, end) in times.iter().enumerate().skip(first) {
            let (sent, seconds) = ((last - first + 1) as f64, end - start);
            // A request may be on its way for a while.
            let most = BURST + QPS * (seconds + 0.5);
            assert!(sent <= most, "{sent} requests in {seconds} s");
        }
    }
    let renewals: Vec<_> = requests
        .iter()
        .filter(|request| request.renews())
        .map(|request| request.received)
        .collect();
    assert!(renewals.len() > 3, "{renewals:?}");
    for pair in renewals.windows(2) {
        let gap = pair[1].duration_since(pair[0]).as_secs();
        assert!(gap < 10, "the lease was not renewed for {gap} s");
    }
}
