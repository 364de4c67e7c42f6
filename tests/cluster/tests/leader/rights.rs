//! Rights that are not there.

use cluster_tests::{audit, rights_of, wait};
use control_plane::{Options, User};
use kube::api::DeleteParams;

use crate::world::{NAMESPACE, USERS, World};

const LEASES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leader-election, namespace: kube-system}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: leader-election, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leader-election}
subjects: [{kind: User, name: host-a, apiGroup: rbac.authorization.k8s.io}]
";

#[tokio::test]
async fn compat_044_without_the_right_to_the_lease_nothing_is_written_and_it_is_said_once() {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        users: vec![User::new(USERS[0])],
        ..Options::default()
    };
    let world = World::start_with(&options).await;
    world.cluster.apply(&rights_of("host-a")).unwrap();
    world.cluster.apply(LEASES).unwrap();
    let mut host = world.host(USERS[0]).await;
    host.until_logged("this host leads").await.unwrap();
    world.until_settled().await;

    let bindings = kube::Api::<k8s_openapi::api::rbac::v1::RoleBinding>::namespaced(
        world.cluster.client.clone(),
        NAMESPACE,
    );
    let delete = DeleteParams::default();
    bindings.delete("leader-election", &delete).await.unwrap();
    host.until_logged("does not lead any more").await.unwrap();
    let log = host.log().unwrap();
    for verb in ["update", "get"] {
        let said = format!("cannot {verb} resource \\\"leases\\\"");
        assert_eq!(log.matches(&said).count(), 1, "{said} in\n{log}");
    }

    world.cluster.apply(LEASES).unwrap();
    wait::until_true("it leads again", || async {
        Ok(host.log()?.matches("this host leads").count() == 2)
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
    world.check();
}
