//! Modules of the real registry, with TLS, a password and signatures of the real cosign; and of a server.

use cluster_tests::{Cluster, GUIDE_TAINT, worker};
use fetch::{Component, Reference};
use fetch_tests::{Authority, Cosign, Form, PASSWORD, Registry, USER};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use planner::rule::Status;
use serde_json::{Value, json};

use crate::world::{apply, hostile, message, put_config_map, rule, start, until};

/// Pushes a module, and gives its artifact by digest.
async fn push(registry: &Registry, authority: &Authority, tag: &str, bytes: &[u8]) -> Reference {
    push_to(registry, Some(authority), tag, bytes).await
}

/// The same, also to a registry without TLS and password.
pub async fn push_to(
    registry: &Registry,
    authority: Option<&Authority>,
    tag: &str,
    bytes: &[u8],
) -> Reference {
    let client = registry.client(authority).unwrap();
    let component = Component {
        bytes,
        name: "hostile",
        version: "1.2.3",
        imports: Vec::new(),
        exports: Vec::new(),
        created: "1970-01-01T00:00:00Z",
    };
    let reference = registry.reference(tag).unwrap();
    client.push(&reference, &component).await.unwrap()
}

/// The same module with another digest.
pub fn another() -> Vec<u8> {
    let mut bytes = hostile();
    bytes.extend([0, 2, 1, b'x']);
    bytes
}

/// Credentials of the registry, as a pull secret.
pub async fn put_pull_secret(cluster: &Cluster, config: &str) {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "registry"}, "type": "kubernetes.io/dockerconfigjson"}))
    .unwrap();
    let secret = Secret {
        string_data: Some([(".dockerconfigjson".to_owned(), config.to_owned())].into()),
        ..secret
    };
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), "default");
    match secrets.get_opt("registry").await.unwrap() {
        Some(_) => {
            secrets
                .replace("registry", &PostParams::default(), &secret)
                .await
        }
        None => secrets.create(&PostParams::default(), &secret).await,
    }
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_of_a_private_registry_decides_only_if_the_right_key_signed_it() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let cosign = Cosign::new(&registry, Some(&authority)).unwrap();
    cosign.key("ours").unwrap();
    cosign.key("theirs").unwrap();
    let key = std::fs::read_to_string(cosign.folder().join("ours.pub")).unwrap();
    let first = push(&registry, &authority, "policies/steady:1.0", &hostile()).await;

    let cluster = start().await;
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let spec = |reference: String| {
        json!({
            "module": {"oci": {
                "reference": reference, "ca": authority.pem(),
                "pullSecret": {"namespace": "default", "name": "registry"}}},
            "signature": {"keys": [key]},
        })
    };
    let tag = format!("{}/policies/steady:1.0", registry.host());
    apply(&cluster, spec(tag.clone())).await;
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    // Each is corrected where it is wrong, and the object stays as it is.
    let status = until(&cluster, "Fetched", Status::False, "NotFound").await;
    let says = message(&status, "Fetched");
    assert!(
        says.starts_with("spec.module.oci.pullSecret: Secret default/registry cannot be read"),
        "{says}"
    );
    assert!(
        says.contains("`kubectl create secret docker-registry -n default registry`"),
        "{says}"
    );
    put_pull_secret(&cluster, &registry.docker_config(USER, "wrong")).await;
    until(&cluster, "Fetched", Status::False, "Unauthorized").await;
    put_pull_secret(&cluster, &registry.docker_config(USER, PASSWORD)).await;
    until(&cluster, "Verified", Status::False, "Unsigned").await;
    cosign.sign("theirs", Form::Bundle, &first).unwrap();
    let status = until(&cluster, "Verified", Status::False, "SignedByOtherKey").await;
    assert_eq!((status.digest, status.last_good_digest), (None, None));
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);
    cosign.sign("ours", Form::Bundle, &first).unwrap();
    let good = until(&cluster, "Ready", Status::True, "Decides").await;
    let digest =
        |reference: &Reference| reference.to_string().split_once('@').unwrap().1.to_owned();
    assert_eq!(good.digest.as_deref(), Some(digest(&first).as_str()));
    assert!(message(&good, "Verified").contains("signed with the key sha256:"));
    cluster.until_released("worker").await;

    // A tag that is moved is looked up again when somebody asks for it, and must be signed then too.
    let second = push(&registry, &authority, "policies/steady:1.0", &another()).await;
    annotate(&cluster, "1").await;
    let status = until(&cluster, "Verified", Status::False, "Unsigned").await;
    assert_eq!(status.last_good_digest, good.digest);
    cosign.sign("ours", Form::Older, &second).unwrap();
    let status = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(status.digest.as_deref(), Some(digest(&second).as_str()));

    // Back to the first one, by its digest; and the registry goes.
    apply(&cluster, spec(first.to_string())).await;
    let status = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(status.digest, good.digest);
    drop(registry);
    apply(&cluster, spec(tag)).await;
    let status = until(&cluster, "Fetched", Status::False, "Unreachable").await;
    assert_eq!(status.last_good_digest, good.digest);
    host.terminate().await.unwrap();
}

/// Wants the module brought again.
pub async fn annotate(cluster: &Cluster, value: &str) {
    let patch: Value =
        json!({"metadata": {"annotations": {"readiness.node.x-k8s.io/fetch-again": value}}});
    let patch = kube::api::Patch::Merge(patch);
    let patched = crate::world::policies(cluster)
        .patch("steady", &kube::api::PatchParams::default(), &patch)
        .await;
    patched.unwrap();
}

/// A blob of the registry is a file on a web server with TLS and a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_comes_by_https_and_from_an_entry_with_its_signature() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let cosign = Cosign::new(&registry, None).unwrap();
    cosign.key("ours").unwrap();
    let key = std::fs::read_to_string(cosign.folder().join("ours.pub")).unwrap();
    push(&registry, &authority, "policies/steady:1.0", &hostile()).await;

    let cluster = start().await;
    let host = cluster.start_host().await.unwrap();
    let digest = fetch::Digest::of(&hostile()).to_string();
    let url = format!("{}/v2/policies/steady/blobs/{digest}", registry.url());
    let https = |digest: &str| {
        json!({
            "module": {"https": {
                "url": url, "ca": authority.pem(),
                "pullSecret": {"namespace": "default", "name": "registry"}}},
            "digest": digest,
        })
    };
    put_pull_secret(&cluster, &registry.docker_config(USER, PASSWORD)).await;
    apply(&cluster, https(&digest)).await;
    let good = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(good.digest.as_deref(), Some(digest.as_str()));
    let wrong = fetch::Digest::of(&another()).to_string();
    apply(&cluster, https(&wrong)).await;
    let status = until(&cluster, "Verified", Status::False, "WrongDigest").await;
    assert_eq!(status.last_good_digest, good.digest);

    let entry = json!({"namespace": "default", "name": "modules", "key": "a.wasm"});
    let module = another();
    put_config_map(&cluster, "modules", &[("a.wasm", &module)]).await;
    let signed = json!({"module": {"configMap": entry}, "signature": {"keys": [key]}});
    apply(&cluster, signed).await;
    until(&cluster, "Verified", Status::False, "Unsigned").await;
    let file = cosign.folder().join("a.wasm");
    std::fs::write(&file, &module).unwrap();
    let bundle = std::fs::read(cosign.sign_file("ours", &file).unwrap()).unwrap();
    let beside = ("a.wasm.sigstore.json", bundle.as_slice());
    put_config_map(&cluster, "modules", &[("a.wasm", &hostile()), beside]).await;
    until(&cluster, "Verified", Status::False, "ReplacedAfterSigning").await;
    put_config_map(&cluster, "modules", &[("a.wasm", &module), beside]).await;
    let status = until(&cluster, "Ready", Status::True, "Decides").await;
    assert_eq!(status.digest, Some(fetch::Digest::of(&module).to_string()));
    host.terminate().await.unwrap();
}
