//! What may stand in a ReadinessPolicy.

use cluster_tests::Cluster;
use http::Method;
use serde_json::{Value, json};

use crate::wire::{Answer, Server, set};

const POLICIES: &str = "/apis/readiness.node.x-k8s.io/v1alpha1/readinesspolicies";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";
const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// Everything that a policy can have, for a module in a registry, with changes: `null` removes a field.
fn policy(changes: &[(&str, Value)]) -> Value {
    let mut policy = json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "ReadinessPolicy",
        "metadata": {"name": "steady"},
        "spec": {
            "module": {"oci": {
                "reference": "registry.example.com:5000/policies/steady:1.0",
                "pullSecret": {"namespace": "nrr-system", "name": "registry"},
                "ca": CA, "plainHTTP": false}},
            "digest": DIGEST,
            "signature": {"keys": [KEY]},
            "allow": ["node-readiness:policy/node", "node-readiness:policy/rule"],
            "limits": {"memory": "16Mi", "deadline": "50ms"},
            "onFailure": "Taint"}});
    for (place, value) in changes {
        set(&mut policy, place, value.clone());
    }
    policy
}

/// Somebody who may sign without a key, with a change: `null` removes a field.
fn signer(field: &str, value: Value) -> Value {
    let mut signer = json!({"issuer": "https://a.example", "identity": "release@example.com"});
    set(&mut signer, &format!("/{field}"), value);
    signer
}

/// The same with a module from elsewhere, and nothing that would not suit every place.
fn module(module: Value) -> Value {
    let gone = |field| (field, Value::Null);
    policy(&[
        ("/spec/module", module),
        gone("/spec/digest"),
        gone("/spec/signature"),
    ])
}

async fn would_create(server: &Server, policy: &Value) -> Answer {
    let path = format!("{POLICIES}?dryRun=All&fieldValidation=Strict");
    server.send(Method::POST, &path, policy).await
}

pub(crate) async fn what_is_taken(server: &mut Server) {
    let reference = "/spec/module/oci/reference";
    let by_digest = json!(format!("registry.example.com/steady@{DIGEST}"));
    let config_map = json!({"configMap": {"namespace": "a", "name": "b", "key": "steady.wasm"}});
    let mut taken = vec![
        policy(&[]),
        policy(&[(reference, by_digest.clone())]),
        policy(&[(reference, by_digest), ("/spec/digest", Value::Null)]),
        policy(&[(reference, json!("[::1]:5000/steady:1.0"))]),
        policy(&[("/spec/allow", json!([]))]),
        policy(&[("/spec/limits", json!({"memory": "1048576"}))]),
        policy(&[("/spec/limits/deadline", json!("10s"))]),
        policy(&[("/metadata/name", json!("x".repeat(63)))]),
        module(config_map),
        module(
            json!({"https": {"url": "https://example.com:8443/steady.wasm?version=1", "ca": CA}}),
        ),
        module(json!({"file": {"path": "/policies/steady.wasm"}})),
        module(json!({"builtin": {"name": "default"}})),
    ];
    let known = signer("identity", json!("x".repeat(512)));
    for keyless in [vec![known.clone()], vec![known; 16]] {
        taken.push(policy(&[("/spec/signature", json!({"keyless": keyless}))]));
        taken.push(policy(&[("/spec/signature/keyless", json!(keyless))]));
    }
    for action in ["Hold", "Release"] {
        taken.push(policy(&[("/spec/onFailure", json!(action))]));
    }
    for field in ["signature", "allow", "limits", "onFailure"] {
        taken.push(policy(&[(&format!("/spec/{field}"), Value::Null)]));
    }
    for policy in taken {
        let answer = would_create(server, &policy).await;
        server.expect(matches!(answer, Answer::Taken(_)), || {
            format!("{policy} is refused: {answer:?}")
        });
    }
}

/// Each rule of the definition, one at a time.
pub(crate) async fn what_is_refused(server: &mut Server) {
    let reference = "/spec/module/oci/reference";
    let one =
        "spec.module: Invalid value: give exactly one of oci, https, file, configMap and builtin";
    let parts = "reference is REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…";
    let named =
        "the name of a policy has at most 63 characters and no '.', as spec.policy.name of a rule";
    let builtin = "spec: Invalid value: a builtin module has neither digest nor signature: it is part of the host";
    let default = "the policy default is built in, and decides for the rules that name none";
    let path = json!({"path": "/a"});
    let refused: Vec<(Value, String)> = vec![
        (
            policy(&[("/metadata/name", json!("default"))]),
            format!("<nil>: Invalid value: {default}"),
        ),
        (
            policy(&[("/metadata/name", json!("a.b"))]),
            format!("<nil>: Invalid value: {named}"),
        ),
        (
            policy(&[("/metadata/name", json!("x".repeat(64)))]),
            format!("<nil>: Invalid value: {named}"),
        ),
        (module(json!({})), one.into()),
        (policy(&[("/spec/module/file", path)]), one.into()),
        (
            policy(&[("/spec/module", Value::Null)]),
            "spec.module: Required value".into(),
        ),
        (
            policy(&[(
                reference,
                json!(format!("registry.example.com/steady@{OTHER}")),
            )]),
            "spec: Invalid value: module.oci.reference and digest name two different digests"
                .into(),
        ),
        (
            policy(&[
                ("/spec/module", json!({"builtin": {"name": "default"}})),
                ("/spec/signature", Value::Null),
            ]),
            builtin.into(),
        ),
        (
            policy(&[
                ("/spec/module", json!({"builtin": {"name": "default"}})),
                ("/spec/digest", Value::Null),
            ]),
            builtin.into(),
        ),
    ];
    for (policy, reason) in refused {
        let answer = would_create(server, &policy).await;
        server.same(&policy.to_string(), &answer, &[&reason]);
    }
    for text in [
        "oci://registry.example.com/steady:1.0",
        "steady:1.0",
        "registry.example.com/steady",
        "registry.example.com:5000/steady",
        "registry.example.com/a steady:1.0",
    ] {
        let policy = policy(&[(reference, json!(text)), ("/spec/digest", Value::Null)]);
        let answer = would_create(server, &policy).await;
        let reason = format!("spec.module.oci.reference: Invalid value: \"{text}\": {parts}");
        server.same(text, &answer, &[&reason]);
    }
    let url = "url is an https URL with a host";
    for (text, why) in [
        ("http://example.com/steady.wasm", url),
        ("steady.wasm", url),
        ("https:///steady.wasm", url),
        (
            "https://user:secret@example.com/steady.wasm",
            "url has no user or password: give a pullSecret",
        ),
    ] {
        let policy = module(json!({"https": {"url": text}}));
        let answer = would_create(server, &policy).await;
        let reason = format!("spec.module.https.url: Invalid value: \"{text}\": {why}");
        server.same(text, &answer, &[&reason]);
    }
    let fields = [
        (
            "/spec/module/oci/ca",
            json!("MIIB"),
            "spec.module.oci.ca: Invalid value: \"MIIB\": ca is PEM: it has a line -----BEGIN CERTIFICATE-----",
        ),
        (
            "/spec/signature/keys",
            json!([KEY, "MFkw"]),
            "spec.signature.keys: Invalid value: keys are PEM: each has a line -----BEGIN PUBLIC KEY-----",
        ),
        (
            "/spec/signature/keys",
            json!([]),
            "spec.signature.keys: Invalid value: 0: spec.signature.keys in body should have at least 1 items",
        ),
        (
            "/spec/signature",
            json!({}),
            "spec.signature: Invalid value: give keys, keyless, or both",
        ),
        (
            "/spec/signature/keyless",
            json!([]),
            "spec.signature.keyless: Invalid value: 0: spec.signature.keyless in body should have at least 1 items",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("identity", json!("a b"))]),
            "spec.signature.keyless[0].identity: Invalid value: \"a b\": spec.signature.keyless[0].identity in body should match '^\\S+$'",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("issuer", json!("a b"))]),
            "spec.signature.keyless[0].issuer: Invalid value: \"a b\": spec.signature.keyless[0].issuer in body should match '^\\S+$'",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("identity", json!("x".repeat(513)))]),
            "spec.signature.keyless[0].identity: Too long: may not be more than 512 bytes",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("issuer", json!("x".repeat(513)))]),
            "spec.signature.keyless[0].issuer: Too long: may not be more than 512 bytes",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("identity", Value::Null)]),
            "spec.signature.keyless[0].identity: Required value",
        ),
        (
            "/spec/signature/keyless",
            json!([signer("issuer", Value::Null)]),
            "spec.signature.keyless[0].issuer: Required value",
        ),
        (
            "/spec/signature/keyless",
            json!(vec![signer("", Value::Null); 17]),
            "spec.signature.keyless: Too many: 17: must have at most 16 items",
        ),
        (
            "/spec/limits/deadline",
            json!("11s"),
            "spec.limits.deadline: Invalid value: \"11s\": deadline is at most 10s",
        ),
        (
            "/spec/limits/deadline",
            json!("0.5s"),
            "spec.limits.deadline: Invalid value: \"0.5s\": spec.limits.deadline in body should match '^[1-9][0-9]*(ms|s)$'",
        ),
        (
            "/spec/limits/memory",
            json!("0Mi"),
            "spec.limits.memory: Invalid value: \"0Mi\": spec.limits.memory in body should match '^[1-9][0-9]*(Ki|Mi|Gi)?$'",
        ),
        (
            "/spec/onFailure",
            json!("hold"),
            "spec.onFailure: Unsupported value: \"hold\": supported values: \"Hold\", \"Taint\", \"Release\"",
        ),
        (
            "/spec/digest",
            json!("sha256:0123"),
            "spec.digest: Invalid value: \"sha256:0123\": spec.digest in body should match '^sha256:[0-9a-f]{64}$'",
        ),
        (
            "/spec/allow",
            json!(["node"]),
            "spec.allow[0]: Invalid value: \"node\": spec.allow[0] in body should match '^[a-z][-a-z0-9]*:[a-z][-a-z0-9]*/[a-z][-a-z0-9]*$'",
        ),
        (
            "/spec/allow",
            json!(["a:b/c", "a:b/c"]),
            "spec.allow[1]: Duplicate value: \"a:b/c\"",
        ),
    ];
    for (place, value, reason) in fields {
        let answer = would_create(server, &policy(&[(place, value)])).await;
        server.same(place, &answer, &[reason]);
    }
    let https = json!({"https": {"url": "https://example.com/steady.wasm", "ca": "MIIB"}});
    let answer = would_create(server, &module(https)).await;
    let reason = "spec.module.https.ca: Invalid value: \"MIIB\": ca is PEM: it has a line -----BEGIN CERTIFICATE-----";
    server.same("an authority that is not PEM", &answer, &[reason]);
    let answer = would_create(server, &module(json!({"file": {"path": "steady.wasm"}}))).await;
    let reason = "spec.module.file.path: Invalid value: \"steady.wasm\": path begins with '/'";
    server.same("a relative path", &answer, &[reason]);
}

/// Names, scope, columns; and what a status of ours becomes.
pub(crate) async fn what_is_shown(server: &mut Server, cluster: &Cluster) {
    let group = server.get("/apis/readiness.node.x-k8s.io/v1alpha1").await;
    let resources = group["resources"].as_array().unwrap();
    let find = |name: &str| resources.iter().find(|resource| resource["name"] == name);
    let policies = find("readinesspolicies").cloned().unwrap_or_default();
    for (field, value) in [
        ("kind", json!("ReadinessPolicy")),
        ("namespaced", json!(false)),
        ("shortNames", json!(["nrp"])),
        ("singularName", json!("readinesspolicy")),
    ] {
        server.expect(policies[field] == value, || {
            format!("{field} is {}", policies[field])
        });
    }
    // The page's own example, which is another of the same name.
    let page = cli_tests::program::workspace().join("docs/policy-modules.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let applied = cluster.apply(example);
    server.expect(applied.is_ok(), || {
        format!("the page's example: {applied:?}")
    });
    server
        .send(Method::DELETE, &format!("{POLICIES}/steady"), &json!({}))
        .await;

    let created = server.send(Method::POST, POLICIES, &policy(&[])).await;
    let Answer::Taken(mut stored) = created else {
        panic!("{created:?}");
    };
    let status = api::policy::ReadinessPolicyStatus {
        observed_generation: Some(1),
        conditions: vec![
            serde_json::from_value(json!({
                "type": "Ready", "status": "False", "observedGeneration": 1, "reason": "Unauthorized",
                "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}))
            .unwrap(),
        ],
        digest: Some(OTHER.into()),
        last_good_digest: Some(DIGEST.into()),
        version: Some("1.2.3".into()),
        contract: Some("0.1.0".into()),
        imports: vec!["node-readiness:policy/node@0.1.0".into()],
        parameters: Some("{}".into()),
    };
    stored["status"] = serde_json::to_value(&status).unwrap();
    let path = format!("{POLICIES}/steady/status");
    let answer = server.send(Method::PUT, &path, &stored).await;
    let Answer::Taken(answer) = answer else {
        panic!("{answer:?}");
    };
    let back: api::ReadinessPolicy = serde_json::from_value(answer).unwrap();
    server.expect(back.status.as_ref() == Some(&status), || {
        format!("the status is stored as {:?}", back.status)
    });
    server.expect(
        serde_json::to_value(&back.spec).unwrap() == policy(&[])["spec"],
        || format!("the spec is read as {:?}", back.spec),
    );
    let table = ["get", "nrp", "--output=wide"];
    let table = cluster.plane.kubectl_ok(&table).unwrap();
    let rows = table.lines().map(|line| line.split_whitespace());
    let rows: Vec<Vec<_>> = rows.map(Iterator::collect).collect();
    let names = [
        "NAME",
        "READY",
        "REASON",
        "VERSION",
        "AGE",
        "ONFAILURE",
        "DIGEST",
    ];
    server.expect(rows[0] == names, || table.clone());
    let row = &rows[1];
    server.expect(
        row[..4] == ["steady", "False", "Unauthorized", "1.2.3"],
        || table.clone(),
    );
    server.expect(row[5..] == ["Taint", DIGEST], || table.clone());
}
