//! A way on which answers take long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use cluster_tests::proxy::{Fault, Proxy};
use futures::future::BoxFuture;
use jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::world::{USERS, World};

/// Less than the host waits for an answer about the lease, and enough to be told from nothing.
const SLOW: Duration = Duration::from_secs(4);

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// The answer to the last renewal takes its time, and then there is none any more: the leader may write
/// until 10 s after it *sent* that renewal, and not after it knew of it. Others count from before.
#[tokio::test]
async fn compat_044_the_time_of_a_leader_runs_from_before_its_request() {
    let world = World::start().await;
    let load = world.load();
    let kubeconfig = world.cluster.plane.kubeconfig_for(USERS[0]).unwrap();
    // 0: all is well; 1: the next answer is the last, and slow; 2: none.
    let state = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&state);
    let hook = move |method: String, path: String| -> BoxFuture<'static, Fault> {
        let renews = method == "PUT" && path.contains("/leases/");
        let fault = match now.load(Ordering::SeqCst) {
            1 if renews => {
                now.store(2, Ordering::SeqCst);
                Fault::Then(Box::pin(tokio::time::sleep(SLOW)))
            }
            2 if path.contains("/leases") => Fault::Stall,
            _ => Fault::Pass,
        };
        Box::pin(async { fault })
    };
    let proxy = Proxy::start(client(&kubeconfig).await, Arc::new(hook)).await;
    let proxy = proxy.unwrap();
    let through = proxy.kubeconfig(&world.cluster).unwrap();
    let mut host = world.host_by(&through, &[]).await;
    host.until_logged("this host leads").await.unwrap();
    world.until_steady(USERS[0]).await;
    state.store(1, Ordering::SeqCst);
    host.until_logged("does not lead any more").await.unwrap();
    load.stop().await;
    let requests = world.audit();
    let last = |is: &dyn Fn(&cluster_tests::audit::Request) -> bool| {
        let mut requests = requests.iter().rev();
        requests.find(|request| is(request)).unwrap().received
    };
    let renewed = last(&|request| request.renews());
    let written = last(&|request| request.is_write());
    let between = written.duration_since(renewed);
    println!("the last write came {between:?} after the last renewal");
    assert!(
        between > SignedDuration::from_secs(7),
        "it wrote no longer: {between:?}"
    );
    assert!(between < SignedDuration::from_secs(12), "{between:?}");
    host.kill().await.unwrap();
}
