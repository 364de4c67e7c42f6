//! docs/writing-a-policy.md, typed from its first command to its last.

use std::ffi::OsString;
use std::fs;

use cli_tests::program::workspace;
use cli_tests::tools::WASM_TOOLS;
use cluster_tests::document::{Document, Shell};
use cluster_tests::worker;
use fetch_tests::{Authority, Cosign, PASSWORD, Registry, USER};

use crate::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_goes_from_nothing_to_a_held_node_in_rust_and_in_python() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let cosign = Cosign::new(&registry, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("registry-ca.pem"), authority.pem()).unwrap();
    let config = registry.docker_config(USER, PASSWORD);
    fs::write(folder.join("config.json"), config).unwrap();
    let page = fs::read_to_string(workspace().join("docs/writing-a-policy.md")).unwrap();
    let page = page.replace("registry.example.com", registry.host());
    let file = folder.join("page.md");
    fs::write(&file, page).unwrap();
    let mut page = Document::read(file.to_str().unwrap()).unwrap();

    let cluster = world::start().await;
    let namespace = ["create", "namespace", "nrr-system"];
    cluster.plane.kubectl_ok(&namespace).unwrap();
    cluster
        .create_node(&worker("worker-1", false))
        .await
        .unwrap();
    cluster
        .set_condition("worker-1", "Ready", "True")
        .await
        .unwrap();
    // Nobody looks after nodes here.
    let taint = ["taint", "node", "worker-1", "node.kubernetes.io/not-ready-"];
    cluster.plane.kubectl_ok(&taint).unwrap();
    let host = cluster.start_host().await.unwrap();
    let variables: [(&str, OsString); 3] = [
        ("REPOSITORY", workspace().into()),
        ("DOCKER_CONFIG", folder.into()),
        ("COSIGN_PASSWORD", OsString::new()),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value));
    let wasm_tools = WASM_TOOLS.folder().unwrap().join("wasm-tools");
    let shell = Shell::new(&cluster).unwrap();
    let shell = shell
        .with_program(cosign.program())
        .with_program(&wasm_tools)
        .with_variables(&variables)
        .in_folder(folder);

    page.section("A project", &shell).await.unwrap();
    // The versions that are here.
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        fs::copy(workspace().join(file), folder.join("zoned").join(file)).unwrap();
    }
    page.section("The policy", &shell).await.unwrap();
    page.section("Offline", &shell).await.unwrap();
    page.section("Push and sign", &shell).await.unwrap();
    page.section("Into the cluster", &shell).await.unwrap();
    page.section("The same in Python", &shell).await.unwrap();
    page.section("Back", &shell).await.unwrap();
    page.end().unwrap();
    host.terminate().await.unwrap();
}
