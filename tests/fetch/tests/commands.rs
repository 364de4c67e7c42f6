//! `host push`, `host pull`, `host inspect`, and what docs/policy-modules.md tells a reader to type.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_tests::program::{self, Output, host_in, workspace};
use fetch::Digest;
use fetch_tests::{
    Authority, Cosign, Form, Options, PASSWORD, Registry, Sigstore, USER, component,
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a policy, `steady.wasm`.
fn folder() -> (TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let policy = guest_builder::path("default-policy").unwrap();
    let bytes = fs::read(policy).unwrap();
    fs::write(folder.path().join("steady.wasm"), &bytes).unwrap();
    (folder, bytes)
}

/// Runs the program there, without the user's own credentials.
fn host(folder: &Path, arguments: &[&str]) -> Output {
    host_in(folder, arguments, &[("DOCKER_CONFIG", "."), ("HOME", ".")]).unwrap()
}

#[track_caller]
fn failed(output: &Output, status: i32, sentence: &str) {
    assert_eq!(output.status, status, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}

#[test]
fn a_policy_is_pushed_signed_pulled_and_inspected() {
    let (folder, bytes) = folder();
    let folder = folder.path();
    let registry = Registry::start(Options::default()).unwrap();
    let tag = format!("{}/policies/steady:1.0", registry.host());
    let pushed = host(folder, &["push", "steady.wasm", &tag, "--plain-http"]);
    assert_eq!((pushed.status, pushed.stderr.as_str()), (0, ""));
    let reference = pushed.stdout.trim_end();
    let again = host(
        folder,
        &[
            "push",
            "steady.wasm",
            &format!("oci://{tag}"),
            "--plain-http",
        ],
    );
    assert_eq!(again.stdout, pushed.stdout);

    let cosign = Cosign::new(&registry, None).unwrap();
    let keys = cosign.key("cosign").unwrap();
    cosign.key("other").unwrap();
    let key = |name: &str| cosign.folder().join(name).display().to_string();
    let pull = |key: &str| {
        host(
            folder,
            &["pull", &tag, "pulled.wasm", "--plain-http", "--key", key],
        )
    };
    failed(&pull(&key("cosign.pub")), 1, "must be signed, and is not");
    cosign
        .sign("cosign", Form::Bundle, &reference.parse().unwrap())
        .unwrap();
    failed(
        &pull(&key("other.pub")),
        1,
        "is signed, but by none of the given keys",
    );
    failed(
        &pull(&key("cosign.key")),
        2,
        "cosign.key: it is a private key",
    );
    failed(
        &pull("missing.pub"),
        2,
        "missing.pub cannot be read: No such file",
    );
    assert_eq!(
        fs::read_dir(folder).unwrap().count(),
        1,
        "nothing was written"
    );
    let pulled = pull(&key("cosign.pub"));
    assert_eq!((pulled.status, pulled.stderr.as_str()), (0, ""));
    assert_eq!(pulled.stdout, pushed.stdout);
    assert_eq!(fs::read(folder.join("pulled.wasm")).unwrap(), bytes);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "no part is left");

    let source = format!("oci://{tag}");
    let arguments = [
        "inspect",
        &source,
        "--plain-http",
        "-o",
        "json",
        "--key",
        &key("cosign.pub"),
    ];
    let inspected = host(folder, &arguments);
    assert_eq!((inspected.status, inspected.stderr.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(report["apiVersion"], "inspect.node-readiness/v1alpha1");
    assert_eq!(report["name"], "default");
    assert_eq!(report["contract"], "0.1.0");
    assert_eq!(report["digest"], Digest::of(&bytes).to_string());
    assert_eq!(report["size"], bytes.len());
    assert_eq!(report["reference"], reference);
    assert_eq!(report["signedBy"], keys[0].fingerprint().to_string());
    let imports: Vec<_> = report["imports"].as_array().unwrap().iter().collect();
    let node = imports
        .iter()
        .find(|import| import["interface"] == "node-readiness:policy/node@0.1.0");
    assert!(
        node.unwrap()["functions"]
            .as_array()
            .unwrap()
            .contains(&"condition-is".into())
    );
    assert_eq!(
        report["parameters"]["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn the_built_in_policy_is_inspected_without_asking_anybody() {
    let (folder, bytes) = folder();
    let built_in = host(folder.path(), &["inspect"]);
    assert_eq!((built_in.status, built_in.stderr.as_str()), (0, ""));
    let expected = format!(
        "Digest:     {}\nSize:       {} bytes\n",
        Digest::of(&bytes),
        bytes.len()
    );
    assert!(
        built_in
            .stdout
            .starts_with("Name:       default\nVersion:    "),
        "{}",
        built_in.stdout
    );
    assert!(
        built_in.stdout.contains("\nContract:   0.1.0\n"),
        "{}",
        built_in.stdout
    );
    assert!(built_in.stdout.contains(&expected), "{}", built_in.stdout);
    // What an operator copies into `spec.allow`, and what the host gives it.
    let allow = "\nAllow:\n  - node-readiness:policy/node\n  - node-readiness:policy/rule\n";
    assert!(built_in.stdout.contains(allow), "{}", built_in.stdout);
    let json = host(folder.path(), &["inspect", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["class"], "small");
    let memory = json["memory"].as_u64().unwrap();
    assert!(memory >= 1 << 16, "{json}");
    let class = |class: &str| {
        format!(
            "\nClass:      {class}\nMemory:     begins with {} KiB\n",
            memory >> 10
        )
    };
    assert!(
        built_in.stdout.contains(&class("small")),
        "{}",
        built_in.stdout
    );
    let allow = json["allow"].as_array().unwrap();
    assert!(
        allow.contains(&"node-readiness:policy/node".into()),
        "{json}"
    );
    assert_eq!(allow.len(), json["imports"].as_array().unwrap().len());
    let imports = "\nImports:\n  node-readiness:policy/";
    assert!(built_in.stdout.contains(imports), "{}", built_in.stdout);
    let file = host(folder.path(), &["inspect", "steady.wasm"]);
    assert_eq!(file.stdout, built_in.stdout);
    // The same with a section of 1 MiB and a byte that says nothing: as large as with a runtime.
    let mut large = bytes;
    large.extend([&[0, 0x81, 0x80, 0x40, 1, b'x'][..], &[0; (1 << 20) - 1]].concat());
    fs::write(folder.path().join("large.wasm"), large).unwrap();
    let large = host(folder.path(), &["inspect", "large.wasm"]);
    assert!(
        large.stdout.contains(&class("large")),
        "{}{}",
        large.stdout,
        large.stderr
    );
    let yaml = host(folder.path(), &["inspect", "-o", "yaml"]);
    assert!(
        yaml.stdout
            .starts_with("apiVersion: inspect.node-readiness/v1alpha1\nkind: Policy\n"),
        "{}",
        yaml.stdout
    );
}

#[test]
fn bad_usage_and_bad_input_are_told_in_a_sentence() {
    let (folder, _) = folder();
    let folder = folder.path();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("text.wasm", b"#!/bin/sh");
    write("other.wasm", &component("no policy"));
    write(
        "config.json",
        b"{\"auths\": {\"a.example\": {\"auth\": \"secret\"}}}",
    );
    write("ca.pem", b"no certificate");
    let authority = Authority::expired().unwrap();
    write("expired.pem", authority.pem().as_bytes());
    let tag = "registry.invalid/policies/steady:1.0";
    let digest = format!("registry.invalid/steady@{}", Digest::of(b""));
    let empty = "--docker-config=empty.json";
    write("empty.json", b"{}");
    for (arguments, sentence) in [
        (
            vec!["push", "steady.wasm", "steady:1.0"],
            "it names no registry",
        ),
        (
            vec!["push", "steady.wasm", &digest, empty],
            "a digest follows from what is pushed: give a tag",
        ),
        (
            vec!["push", "missing.wasm", tag, empty],
            "missing.wasm cannot be read",
        ),
        (
            vec!["push", "text.wasm", tag, empty],
            "text.wasm cannot be used as a policy: it is not WebAssembly",
        ),
        (
            vec!["push", "other.wasm", tag, empty],
            "other.wasm cannot be used as a policy: it is not a readiness policy",
        ),
        (
            vec!["push", "steady.wasm", tag, "--created", "now"],
            "it is not a number of seconds since 1970",
        ),
        (
            vec!["push", "steady.wasm", tag, empty],
            "the policy was not pushed: registry.invalid/policies/steady:1.0: there is no host",
        ),
        (
            vec!["pull", tag, "pulled.wasm", empty],
            "error: registry.invalid/policies/steady:1.0: there is no host registry.invalid",
        ),
        (
            vec!["pull", tag, "pulled.wasm"],
            "error: ./config.json: the credentials of a.example cannot be read",
        ),
        (
            vec!["pull", tag, "pulled.wasm", "--ca", "ca.pem"],
            "error: ca.pem: the certificate authority is not PEM",
        ),
        (
            vec!["pull", tag, "pulled.wasm", "--ca", "expired.pem"],
            "error: expired.pem: the certificate authority 'CN=private authority' has expired",
        ),
        (
            vec![
                "pull",
                tag,
                "pulled.wasm",
                "--docker-config",
                "missing.json",
            ],
            "missing.json cannot be read",
        ),
        (
            vec!["inspect", "missing.wasm", empty],
            "error: missing.wasm: there is no such file on this machine: correct the path, or put the module there\n",
        ),
        (
            vec!["inspect", "text.wasm", empty],
            "it is not a WebAssembly component",
        ),
        (
            vec!["inspect", "other.wasm", empty],
            "other.wasm cannot be used as a policy",
        ),
        (
            vec!["inspect", "oci://steady", empty],
            "it names no registry",
        ),
        (
            vec!["inspect", "https://user:pass@host.example/a", empty],
            "it has a user in it",
        ),
        (
            vec!["inspect", "http://127.0.0.1:1/a.wasm", empty],
            "over plain http, which is not allowed",
        ),
        (
            vec![
                "inspect",
                "steady.wasm",
                "--certificate-identity=a@example.com",
            ],
            "--trusted-root <FILE>",
        ),
        (
            vec![
                "inspect",
                "steady.wasm",
                "--certificate-identity=a@example.com",
                "--certificate-oidc-issuer=https://a.example",
                "--trusted-root=empty.json",
            ],
            "empty.json: it is no trust root",
        ),
        (
            vec!["inspect", "--key", "steady.wasm"],
            "required arguments were not provided",
        ),
    ] {
        let output = host(folder, &arguments);
        assert_eq!(output.status, 2, "{arguments:?}: {}", output.stderr);
        failed(&output, 2, sentence);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
    assert!(!folder.join("pulled.wasm").exists());
}

#[test]
fn a_private_registry_takes_the_credentials_of_docker() {
    let (folder, bytes) = folder();
    let folder = folder.path();
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let tag = format!("{}/policies/steady:1.0", registry.host());
    let push = ["push", "steady.wasm", &tag, "--ca", "ca.pem"];
    failed(
        &host(folder, &push),
        2,
        "does not let us in (401): there are no credentials for it",
    );
    failed(
        &host(folder, &push[..3]),
        2,
        "shows a certificate of an unknown certificate authority",
    );
    let config = registry.docker_config(USER, PASSWORD);
    fs::write(folder.join("config.json"), config).unwrap();
    let pushed = host(folder, &push);
    assert_eq!((pushed.status, pushed.stderr.as_str()), (0, ""));
    let pulled = host(
        folder,
        &[
            "pull",
            pushed.stdout.trim_end(),
            "pulled.wasm",
            "--ca",
            "ca.pem",
        ],
    );
    assert_eq!(
        (pulled.status, &pulled.stdout),
        (0, &pushed.stdout),
        "{}",
        pulled.stderr
    );
    assert_eq!(fs::read(folder.join("pulled.wasm")).unwrap(), bytes);
}

/// The commands of the page, one after the other in one shell.
#[test]
fn what_the_page_says_is_what_happens() {
    let (folder, bytes) = folder();
    let folder = folder.path();
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let cosign = Cosign::new(&registry, None).unwrap();
    fs::write(folder.join("registry-ca.pem"), authority.pem()).unwrap();
    let page = fs::read_to_string(workspace().join("docs/policy-modules.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let script: String = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(script.matches("host ").count(), 6, "{script}");
    let sigstore = Sigstore::start().unwrap();
    fs::copy(sigstore.token("release").unwrap(), folder.join("token")).unwrap();
    let script = script
        .replace("registry.example.com", registry.host())
        .replace("https://fulcio.example.com", sigstore.fulcio())
        .replace(
            "https://timestamp.example.com/api/v1/timestamp",
            sigstore.timestamps(),
        )
        .replace("https://issuer.example.com", &sigstore.issuer());

    let programs = [program::binary().unwrap(), cosign.program(), &kubectl()];
    let programs = programs.map(|program| program.parent().unwrap().to_owned());
    let path = std::env::var_os("PATH").unwrap();
    let path =
        std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&path))).unwrap();
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env("COSIGN_PASSWORD", "")
        .env("PASSWORD", PASSWORD)
        .env("KUBECONFIG", folder.join("none"))
        .env_remove("DOCKER_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let reference = fs::read_to_string(folder.join("reference")).unwrap();
    let expected = format!("{}/policies/steady@sha256:", registry.host());
    assert!(reference.starts_with(&expected), "{reference}");
    // Pushed, and pulled twice at the end.
    assert_eq!(printed.matches(&reference).count(), 3, "{printed}");
    assert!(printed.contains("\nSigned by:  key sha256:"), "{printed}");
    assert!(
        printed.contains("\nnode-readiness:policy/rule@0.1.0\n"),
        "{printed}"
    );
    assert_eq!(fs::read(folder.join("pulled.wasm")).unwrap(), bytes);

    let (who, issuer) = (Sigstore::identity("release"), sigstore.issuer());
    let source = format!("oci://{}", reference.trim_end());
    let inspect = |identity: &str| {
        let arguments = ["inspect", &source, "--ca=registry-ca.pem"];
        let root = ["--trusted-root=trusted_root.json"];
        let who = ["--certificate-identity", identity];
        let issuer = ["--certificate-oidc-issuer", &issuer];
        host(folder, &[&arguments[..], &root, &who, &issuer].concat())
    };
    let inspected = inspect(&who).stdout;
    let signed = format!("\nSigned by:  {who} (issuer {issuer})\n");
    assert!(inspected.contains(&signed), "{inspected}");
    failed(
        &inspect("https://example.com/somebody"),
        1,
        "who is none of those that may sign",
    );
}

fn kubectl() -> PathBuf {
    control_plane::assets(&mut |_| {}).unwrap().kubectl()
}
