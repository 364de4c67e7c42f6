use serde_json::{Value, json};

use super::*;

fn order(spec: Value) -> Result<Order, Trouble> {
    Order::of(&serde_json::from_value(spec).unwrap())
}

#[test]
fn limits_are_read_as_they_are_written() {
    let file = json!({"file": {"path": "/a.wasm"}});
    let with = |limits: Value| order(json!({"module": file, "limits": limits}));
    let limits = with(json!({"memory": "16Mi", "deadline": "50ms"}))
        .unwrap()
        .limits;
    assert_eq!(limits.memory, Some(16 << 20));
    assert_eq!(limits.deadline, Some(Duration::from_millis(50)));
    assert_eq!(
        with(json!({"memory": "1048576"})).unwrap().limits.memory,
        Some(1 << 20)
    );
    // A server without our definition takes anything.
    for bad in [
        json!({"memory": "16M"}),
        json!({"memory": "99999999999999999Gi"}),
        json!({"deadline": "11s"}),
        json!({"deadline": "5m"}),
        json!({"deadline": ""}),
    ] {
        let trouble = with(bad.clone()).unwrap_err();
        assert_eq!(
            (trouble.step, trouble.reason.as_str()),
            (Step::Compatible, "InvalidLimits"),
            "{bad}"
        );
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_its_field() {
    for (spec, step, field) in [
        (json!({"module": {}}), Step::Fetched, "spec.module: "),
        (
            json!({"module": {"oci": {"reference": "steady"}}}),
            Step::Fetched,
            "spec.module.oci.reference: ",
        ),
        (
            json!({"module": {"https": {"url": "http://a.example/a"}}}),
            Step::Fetched,
            "spec.module.https.url: ",
        ),
        (
            json!({"module": {"https": {"url": "https://a.example/a", "ca": "no"}}}),
            Step::Fetched,
            "spec.module.https.ca: ",
        ),
        (
            json!({"module": {"builtin": {"name": "default"}}, "signature": {"keys": ["no"]}}),
            Step::Verified,
            "spec.signature.keys[0]: ",
        ),
        (
            json!({"module": {"builtin": {"name": "default"}}, "signature": {"keys": []}}),
            Step::Verified,
            "spec.signature: ",
        ),
        (
            json!({"module": {"builtin": {"name": "default"}},
                   "signature": {"keyless": [{"issuer": "https://a.example", "identity": ""}]}}),
            Step::Verified,
            "spec.signature.keyless[0]: the identity \"\"",
        ),
        (
            json!({"module": {"builtin": {"name": "default"}}, "digest": "x"}),
            Step::Verified,
            "spec.digest: ",
        ),
    ] {
        let trouble = order(spec.clone()).unwrap_err();
        assert_eq!(trouble.step, step, "{spec}");
        assert!(
            trouble.message.starts_with(field),
            "{spec}: {}",
            trouble.message
        );
    }
}

#[test]
fn a_policy_has_what_it_is_allowed_and_by_default_what_is_about_the_node() {
    let builtin = json!({"builtin": {"name": "default"}});
    let default = order(json!({"module": builtin})).unwrap();
    assert_eq!(default.limits.grants, Grants::default());
    let pods = ["node-readiness:policy/pods".to_owned()];
    let only_pods = order(json!({"module": builtin, "allow": pods})).unwrap();
    assert_eq!(only_pods.limits.grants, Grants::of(&pods).unwrap());
    let none = order(json!({"module": builtin, "allow": []})).unwrap();
    assert_eq!(none.limits.grants, Grants::of(&[]).unwrap());
    let odd = json!({"module": builtin, "allow": ["node-readiness:policy/secrets"]});
    let trouble = order(odd).unwrap_err();
    assert_eq!(trouble.reason, "UnknownInterface");
    assert!(
        trouble
            .message
            .starts_with("spec.allow: \"node-readiness:policy/secrets\" is no interface"),
        "{}",
        trouble.message
    );
}
