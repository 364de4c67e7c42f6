//! `host inspect` of policies that come with the program. Those from elsewhere are fetched in the tests of fetching.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use cli_tests::program::{Output, host, workspace};
use common::{json, refused};
use serde_json::Value;

fn inspect(arguments: &[&str]) -> Output {
    host(["inspect"].iter().chain(arguments)).unwrap()
}

#[test]
fn a_built_in_policy_is_shown_by_its_name() {
    for (name, needs) in [
        ("pods-ready", Some("node-readiness:policy/pods")),
        ("csi-ready", Some("node-readiness:policy/csi")),
        ("default", None),
    ] {
        let place = format!("builtin:{name}");
        let shown = inspect(&[&place]);
        assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
        let first = shown.stdout.lines().next().unwrap();
        assert_eq!(first, format!("Name:       {name}"));
        let report = json(&inspect(&[&place, "-o", "json"]).stdout);
        assert_eq!(report["name"], name);
        if let Some(needs) = needs {
            let allow = report["allow"].as_array().unwrap();
            assert!(allow.iter().any(|one| one == needs), "{allow:?}");
        }
        let file = workspace().join(format!("policies/{name}/src/parameters.json"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(report["parameters"], schema);
        let yaml = inspect(&[&place, "-o", "yaml"]);
        let line = format!("name: {name}");
        assert!(
            yaml.stdout.lines().any(|one| one == line),
            "{}",
            yaml.stdout
        );
    }
    // Without a name it is the default policy.
    assert_eq!(inspect(&[]).stdout, inspect(&["builtin:default"]).stdout);
}

#[test]
fn a_name_that_there_is_not_and_a_key_for_what_nobody_signed() {
    refused(
        &inspect(&["builtin:steady"]),
        "error: builtin:steady: there is no \"steady\"; this host has default, csi-ready, daemon-sets-ready, devices-ready, heartbeat, pods-ready",
    );
    refused(
        &inspect(&["builtin:pods-ready", "--key", "cosign.pub"]),
        "error: builtin:pods-ready: it is part of this program and has no signature of its own: leave out --key and the like",
    );
}
