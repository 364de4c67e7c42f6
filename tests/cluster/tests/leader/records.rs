//! The lease as others write it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::world::{LEASE, USERS, World};

/// A record as the Go controller writes it, by a clock that is `off` seconds off.
fn record(off: i64) -> Lease {
    let wall = Timestamp::now() + SignedDuration::from_secs(off);
    Lease {
        metadata: ObjectMeta {
            name: Some(LEASE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some("manager-1_7b1f".to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }),
    }
}

/// Renews it each second for so many seconds; returns when the last one was sent.
async fn renew(world: &World, off: i64, seconds: usize) -> Timestamp {
    let mut sent = Timestamp::now();
    for _ in 0..seconds {
        sent = Timestamp::now();
        let wall = MicroTime(sent + SignedDuration::from_secs(off));
        let patch = Patch::Merge(json!({ "spec": { "renewTime": wall } }));
        let parameters = PatchParams::default();
        world
            .leases()
            .patch(LEASE, &parameters, &patch)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    sent
}

/// A clock that is behind makes every record look as if it were over, one that is ahead as if it
/// never were.
#[tokio::test]
async fn compat_044_another_holder_is_respected_whatever_its_clock_says() {
    let world = World::start().await;
    let behind = record(-10_000);
    world
        .leases()
        .create(&PostParams::default(), &behind)
        .await
        .unwrap();
    let mut host = world.host(USERS[0]).await;
    renew(&world, -10_000, 18).await;
    let last = renew(&world, 10, 3).await;
    // It watches and asks, and writes nothing.
    let requests = world.audit();
    assert!(requests.iter().any(|request| request.resource == "leases"));
    let written: Vec<_> = requests
        .iter()
        .filter(|request| request.is_write() || request.renews())
        .collect();
    assert!(written.is_empty(), "{written:?}");
    assert!(host.log().unwrap().contains("manager-1_7b1f"));

    let taken = world.until_taken(USERS[0], last).await;
    let waited = taken.duration_since(last);
    println!("taken {waited:?} after the last renewal");
    assert!(waited >= SignedDuration::from_secs(15), "{waited:?}");
    assert!(waited <= SignedDuration::from_secs(16), "{waited:?}");
    let spec = world.leases().get(LEASE).await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(4));
    assert_eq!(spec.lease_duration_seconds, Some(15));
    host.until_logged("this host leads").await.unwrap();
    world.until_settled().await;

    // As nobody should: the host does not defend what is not its own.
    let stolen = Patch::Merge(json!({ "spec": record(10).spec }));
    let parameters = PatchParams::default();
    let stolen_at = Timestamp::now();
    world
        .leases()
        .patch(LEASE, &parameters, &stolen)
        .await
        .unwrap();
    host.until_logged("does not lead any more").await.unwrap();
    let released = json!({ "spec": { "holderIdentity": "", "leaseDurationSeconds": 1 } });
    world
        .leases()
        .patch(LEASE, &parameters, &Patch::Merge(released))
        .await
        .unwrap();
    world.until_taken(USERS[0], stolen_at).await;
    let spec = world.leases().get(LEASE).await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(4));
    host.terminate().await.unwrap();
}
