//! Somebody is cut off, or stands still, and comes back.

use std::time::Duration;

use cluster_tests::Host;
use cluster_tests::link::Link;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{USERS, World};

/// How long an API server is away. Nobody can tell when it is over but by the time.
const MINUTE: Duration = Duration::from_secs(60);

/// Two hosts, each with a link of its own; the first leads.
async fn linked(world: &World) -> (Vec<Host>, Vec<Link>) {
    let plane = &world.cluster.plane;
    let (mut hosts, mut links) = (Vec::new(), Vec::new());
    for user in USERS {
        let link = Link::start(plane).await.unwrap();
        let kubeconfig = link.kubeconfig(plane, user).unwrap();
        let mut host = world
            .host_by(&kubeconfig, &["--node-concurrent-reconciles=4"])
            .await;
        if user == USERS[0] {
            host.until_logged("this host leads").await.unwrap();
        }
        hosts.push(host);
        links.push(link);
    }
    (hosts, links)
}

/// What is away already stays so for a minute; then somebody leads, and writes.
async fn comes_back_after_a_minute(world: &World, back: impl FnOnce()) {
    tokio::time::sleep(MINUTE).await;
    let since = Timestamp::now();
    back();
    let taken = world
        .until_sent("somebody leads", since, |request| request.renews())
        .await;
    let is_write = |request: &cluster_tests::audit::Request| request.is_write();
    world.until_sent("somebody writes", taken, is_write).await;
}

/// What is on its way when the network is cut arrives when it is healed.
#[tokio::test]
async fn compat_044_a_leader_that_is_cut_off_writes_nothing_when_it_is_back() {
    let world = World::start().await;
    let load = world.load();
    let (mut hosts, links) = linked(&world).await;
    for (leader, other) in [(0, 1), (1, 0)] {
        world.until_steady(USERS[leader]).await;
        let cut = Timestamp::now();
        links[leader].cut();
        let taken = world.until_taken(USERS[other], cut).await;
        println!("taken {:?} after the cut", taken.duration_since(cut));
        world.until_written(USERS[other], taken).await;
        hosts[leader]
            .until_logged("does not lead any more")
            .await
            .unwrap();
        let healed = Timestamp::now();
        links[leader].heal();
        let reads = |request: &cluster_tests::audit::Request| {
            request.user == USERS[leader] && request.resource == "leases"
        };
        world.until_sent("it is back", healed, reads).await;
        world.until_written(USERS[other], Timestamp::now()).await;
    }
    load.stop().await;
    world.until_settled().await;
    world.check();
    for host in hosts {
        host.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn compat_044_a_leader_that_stood_still_writes_nothing_when_it_goes_on() {
    let world = World::start().await;
    let load = world.load();
    let mut first = world.host(USERS[0]).await;
    first.until_logged("this host leads").await.unwrap();
    let _second = world.host(USERS[1]).await;
    world.until_steady(USERS[0]).await;
    let stopped = Timestamp::now();
    first.signal(Signal::STOP).unwrap();
    let taken = world.until_taken(USERS[1], stopped).await;
    world.until_written(USERS[1], taken).await;
    first.signal(Signal::CONT).unwrap();
    first.until_logged("does not lead any more").await.unwrap();
    world.until_written(USERS[1], Timestamp::now()).await;
    load.stop().await;
    world.until_settled().await;
    world.check();
}

#[tokio::test]
async fn compat_044_an_api_server_that_was_away_carries_out_nothing_beside_the_next_leader() {
    let world = World::start().await;
    let load = world.load();
    let mut first = world.host(USERS[0]).await;
    first.until_logged("this host leads").await.unwrap();
    let _second = world.host(USERS[1]).await;
    world.until_steady(USERS[0]).await;
    let pid = i32::try_from(world.cluster.plane.pids().apiserver).unwrap();
    let server = Pid::from_raw(pid).unwrap();
    kill_process(server, Signal::STOP).unwrap();
    first.until_logged("does not lead any more").await.unwrap();
    // Longer than the lease: whoever comes first may have it.
    let back = || kill_process(server, Signal::CONT).unwrap();
    comes_back_after_a_minute(&world, back).await;
    load.stop().await;
    world.until_settled().await;
    world.check_carried_out();
}

/// Nobody reaches the API server for a minute; what was on its way then arrives after it, if anything does.
#[tokio::test]
async fn compat_044_an_api_server_away_for_a_minute_receives_no_late_write() {
    let world = World::start().await;
    let load = world.load();
    let (mut hosts, links) = linked(&world).await;
    world.until_steady(USERS[0]).await;
    links.iter().for_each(Link::cut);
    hosts[0]
        .until_logged("does not lead any more")
        .await
        .unwrap();
    comes_back_after_a_minute(&world, || links.iter().for_each(Link::heal)).await;
    load.stop().await;
    world.until_settled().await;
    world.check();
    for host in hosts {
        host.terminate().await.unwrap();
    }
}
