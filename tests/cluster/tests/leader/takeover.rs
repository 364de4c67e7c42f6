//! A leader that goes, one way or the other.

use cluster_tests::wait;
use jiff::{SignedDuration, Timestamp};

use crate::world::{USERS, World};

#[tokio::test]
async fn compat_044_a_killed_leader_is_replaced_within_16_seconds_and_one_told_to_end_within_3() {
    let world = World::start().await;
    let load = world.load();
    let mut first = world.host(USERS[0]).await;
    first.until_logged("this host leads").await.unwrap();
    let mut second = world.host(USERS[1]).await;
    world.until_steady(USERS[0]).await;

    let killed = Timestamp::now();
    first.kill().await.unwrap();
    let taken = world.until_taken(USERS[1], killed).await;
    let waited = taken.duration_since(killed);
    println!("taken {waited:?} after the kill");
    assert!(waited <= SignedDuration::from_secs(16), "{waited:?}");
    let written = world.until_written(USERS[1], taken).await;
    println!("written {:?} after that", written.duration_since(taken));
    second.until_logged("this host leads").await.unwrap();

    let mut first = world.host(USERS[0]).await;
    wait::until_true("it knows who leads", || async {
        Ok(first.log()?.contains("new holder"))
    })
    .await
    .unwrap();
    world.until_steady(USERS[1]).await;
    let told = Timestamp::now();
    second.terminate().await.unwrap();
    let taken = world.until_taken(USERS[0], told).await;
    let waited = taken.duration_since(told);
    println!("taken {waited:?} after SIGTERM");
    assert!(waited <= SignedDuration::from_secs(3), "{waited:?}");
    world.until_written(USERS[0], taken).await;
    first.until_logged("this host leads").await.unwrap();
    let lease = world.leases().get(crate::world::LEASE).await.unwrap();
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(2));

    load.stop().await;
    world.until_settled().await;
    first.terminate().await.unwrap();
    let lease = world.leases().get(crate::world::LEASE).await.unwrap();
    let spec = lease.spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(""));
    assert_eq!(spec.lease_duration_seconds, Some(1));
    world.check();
}
