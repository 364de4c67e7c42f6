use std::collections::BTreeMap;

use super::*;

/// The configuration of variables, and the warnings.
fn read(variables: &[(&str, &str)]) -> (Result<Configuration, Vec<String>>, Vec<String>) {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let variable = |name: &str| variables.get(name).cloned();
    let mut environment = Environment::new(&variable);
    (environment.configuration(), environment.warnings)
}

/// The three that are required, and more.
fn with(more: &[(&str, &str)]) -> (Result<Configuration, Vec<String>>, Vec<String>) {
    let mut variables = vec![
        ("NODE_NAME", "worker-1"),
        ("CHECK_ENDPOINT", "http://localhost:8765/healthz"),
        ("CONDITION_TYPE", "falco.org/FalcoReady"),
    ];
    variables.extend(more);
    read(&variables)
}

fn problem(more: &[(&str, &str)]) -> String {
    with(more).0.unwrap_err().join("\n")
}

#[test]
fn compat_047_what_is_not_set_has_its_default() {
    let (configuration, warnings) = with(&[("CHECK_INTERVAL", ""), ("IMPERSONATE_NODE", "")]);
    let configuration = configuration.unwrap();
    assert_eq!(warnings, [""; 0]);
    let Configuration {
        node,
        checks,
        heartbeat,
        metrics,
        impersonate,
        unknown_on_exit,
    } = configuration;
    assert_eq!(node, "worker-1");
    assert_eq!(heartbeat, Duration::from_secs(300));
    assert_eq!(metrics.unwrap().port(), 9445);
    assert!(metrics.unwrap().ip().is_unspecified());
    assert!(!impersonate && !unknown_on_exit);
    assert_eq!(checks.len(), 1);
    let check = &checks[0];
    assert_eq!(check.condition, "falco.org/FalcoReady");
    assert_eq!(check.interval, Duration::from_secs(30));
    let once = Thresholds {
        success: 1,
        failure: 1,
    };
    assert_eq!(check.thresholds, once);
}

#[test]
fn compat_047_every_variable_that_is_missing_is_named() {
    for (variables, expected) in [
        (&[][..], "NODE_NAME, CHECK_ENDPOINT, CONDITION_TYPE"),
        (&[("NODE_NAME", "n")], "CHECK_ENDPOINT, CONDITION_TYPE"),
        (
            &[("CHECK_ENDPOINT", "http://h"), ("NODE_NAME", "")],
            "NODE_NAME, CONDITION_TYPE",
        ),
        (&[("CHECK_COMMAND", "[\"c\"]")], "NODE_NAME, CONDITION_TYPE"),
        (&[("CHECKS", "[]")], "NODE_NAME"),
    ] {
        let problems = read(variables).0.unwrap_err();
        let expected = format!("not set: {expected};");
        assert!(problems[0].contains(&expected), "{problems:?}");
        assert_eq!(problems.len(), 1);
    }
}

#[test]
fn a_type_that_no_condition_can_have_is_refused() {
    let long = "a".repeat(253);
    let longest = format!("{}/{}", "a".repeat(252), "b".repeat(63));
    for right in [
        "NetworkUnavailable",
        "R",
        "falco.org/FalcoReady",
        "a-b.c/x_y.z-1",
        &long,
        &longest,
    ] {
        let configuration = with(&[("CONDITION_TYPE", right)]).0.unwrap();
        assert_eq!(configuration.checks[0].condition, right);
    }
    let too_long = format!("{longest}b");
    for wrong in [
        "Agent Ready",
        " Ready",
        "Ready\n",
        "-Ready",
        "Ready-",
        "/Ready",
        "example.com/",
        "a/b/c",
        "Example.com/Ready",
        "a..b/Ready",
        "-a/Ready",
        "Bereit\u{e4}",
        &too_long,
    ] {
        let said = problem(&[("CONDITION_TYPE", wrong)]);
        let expected =
            format!("CONDITION_TYPE={wrong}: this is no type of a condition: give letters");
        assert!(said.starts_with(&expected), "{said}");
    }
    for kubelet in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let said = problem(&[("CONDITION_TYPE", kubelet)]);
        let expected =
            format!("CONDITION_TYPE={kubelet}: the kubelet itself writes this condition");
        assert!(said.starts_with(&expected), "{said}");
    }
    let list = json_list("a b");
    let said = read(&[("NODE_NAME", "n"), ("CHECKS", &list)])
        .0
        .unwrap_err();
    assert!(
        said[0].starts_with("CHECKS[0].conditionType=a b: this is no type"),
        "{said:?}"
    );
}

fn json_list(condition: &str) -> String {
    format!(r#"[{{"conditionType": "{condition}", "endpoint": "http://localhost"}}]"#)
}

#[test]
fn compat_047_a_duration_that_is_none_is_told_and_has_its_default() {
    for wrong in ["5", "soon", "0s", "-5s", "1d"] {
        let (configuration, warnings) =
            with(&[("CHECK_INTERVAL", wrong), ("HEARTBEAT_PERIOD", wrong)]);
        let configuration = configuration.unwrap();
        assert_eq!(configuration.checks[0].interval, Duration::from_secs(30));
        assert_eq!(configuration.heartbeat, Duration::from_secs(300));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("CHECK_INTERVAL={wrong}: ")));
        assert!(warnings[0].ends_with("; 30s is taken"), "{warnings:?}");
        assert!(warnings[1].ends_with("; 5m is taken"), "{warnings:?}");
    }
    let (configuration, warnings) =
        with(&[("CHECK_INTERVAL", "250ms"), ("HEARTBEAT_PERIOD", "1m30s")]);
    let configuration = configuration.unwrap();
    assert!(warnings.is_empty());
    assert_eq!(configuration.checks[0].interval, Duration::from_millis(250));
    assert_eq!(configuration.heartbeat, Duration::from_secs(90));
}

#[test]
fn compat_047_an_endpoint_needs_a_host() {
    for (endpoint, expected) in [
        ("http://", "CHECK_ENDPOINT=http://: there is no host in it"),
        (
            "http:///healthz",
            "CHECK_ENDPOINT=http:///healthz: there is no host in it",
        ),
        ("http://?x", "there is no host in it"),
        ("http://:8080/", "there is no host in it"),
        ("/healthz", "there is no host in it"),
        ("localhost", "only http, https and tcp"),
        (
            "localhost:8080/healthz",
            "CHECK_ENDPOINT=localhost:8080/healthz: ",
        ),
        ("ftp://localhost/", "only http, https and tcp"),
        ("http://local host/", "CHECK_ENDPOINT=http://local host/: "),
        ("tcp://localhost", "there is no port in it"),
        ("tcp://localhost:99999", "99999 is no port: give"),
        ("http://localhost:65536/healthz", "65536 is no port: give"),
        ("https://[::1]:0/", "0 is no port: give"),
        ("tcp://localhost:1/path", "a port has no path"),
        ("http://user:secret@localhost/", "there is a user in it"),
    ] {
        let problem = problem(&[("CHECK_ENDPOINT", endpoint)]);
        assert!(problem.contains(expected), "{endpoint}: {problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    for endpoint in [
        "http://localhost",
        "https://[::1]:1/?q",
        "HTTP://127.0.0.1:65535/x",
        "http://localhost:/x",
        "tcp://agent:1",
        "tcp://agent:1/",
    ] {
        assert!(
            with(&[("CHECK_ENDPOINT", endpoint)]).0.is_ok(),
            "{endpoint}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "this is a key, or so").unwrap();
    let file = file.to_str().unwrap();
    let torn = folder.path().join("torn.pem");
    std::fs::write(&torn, "-----BEGIN CERTIFICATE-----\nMII\n").unwrap();
    let torn = torn.to_str().unwrap();
    let https = ("CHECK_ENDPOINT", "https://localhost/");
    for (variables, expected) in [
        (
            &[("NODE_NAME", "../pods")][..],
            "NODE_NAME=../pods: no node has such a name",
        ),
        (
            &[("NODE_NAME", "Node")],
            "NODE_NAME=Node: no node has such a name",
        ),
        (
            &[("METRICS_BIND_ADDRESS", "9445")],
            "METRICS_BIND_ADDRESS=9445: ",
        ),
        (
            &[("SUCCESS_THRESHOLD", "0")],
            "SUCCESS_THRESHOLD=0: give a whole number from 1",
        ),
        (
            &[("FAILURE_THRESHOLD", "x")],
            "FAILURE_THRESHOLD=x: give a whole number from 1",
        ),
        (
            &[("CHECK_COMMAND", "[\"c\"]")],
            "CHECK_ENDPOINT and CHECK_COMMAND are both set",
        ),
        (
            &[("CHECK_ENDPOINT", ""), ("CHECK_COMMAND", "ls -l")],
            "CHECK_COMMAND=ls -l: this is no JSON list",
        ),
        (
            &[("CHECK_ENDPOINT", ""), ("CHECK_COMMAND", "[]")],
            "CHECK_COMMAND names no program",
        ),
        (
            &[https, ("CHECK_CA_FILE", file)],
            "there is no certificate in PEM in it",
        ),
        (&[https, ("CHECK_CA_FILE", torn)], "this is not PEM: "),
        (
            &[https, ("CHECK_CA_FILE", "/nowhere")],
            "CHECK_CA_FILE=/nowhere: ",
        ),
        (&[("CHECK_CA_FILE", "/nowhere")], "CHECK_CA_FILE=/nowhere: "),
        (
            &[("UNKNOWN_ON_EXIT", "yes")],
            "UNKNOWN_ON_EXIT=yes: give true, or false",
        ),
    ] {
        let problem = problem(variables);
        assert!(problem.contains(expected), "{variables:?}: {problem}");
    }
}

/// The Go project's reporter takes everything but `true` for false, and a pod of it must start here.
#[test]
fn compat_047_only_true_impersonates_and_what_is_neither_is_told() {
    for (text, acts, told) in [
        ("true", true, 0),
        ("false", false, 0),
        ("", false, 0),
        ("True", false, 1),
        ("yes", false, 1),
    ] {
        let (configuration, warnings) = with(&[("IMPERSONATE_NODE", text)]);
        assert_eq!(configuration.unwrap().impersonate, acts, "{text}");
        assert_eq!(warnings.len(), told, "{warnings:?}");
        for warning in warnings {
            assert!(
                warning.starts_with(&format!("IMPERSONATE_NODE={text}: ")),
                "{warning}"
            );
        }
        let (configuration, _) = with(&[("UNKNOWN_ON_EXIT", text)]);
        if let Ok(configuration) = configuration {
            assert_eq!(configuration.unknown_on_exit, acts, "{text}");
        }
    }
}

#[test]
fn several_checks_are_a_list() {
    let list = r#"[
        {"conditionType": "a", "endpoint": "http://localhost:1/"},
        {"conditionType": "b", "endpoint": "tcp://localhost:2", "interval": "1s"},
        {"conditionType": "c", "command": ["/bin/check", "-x"], "successThreshold": 2, "failureThreshold": 4}
    ]"#;
    let variables = [
        ("NODE_NAME", "worker-1"),
        ("CHECKS", list),
        ("CHECK_INTERVAL", "7s"),
        ("FAILURE_THRESHOLD", "3"),
    ];
    let checks = read(&variables).0.unwrap().checks;
    let described: Vec<_> = checks
        .iter()
        .map(|check| {
            let Thresholds { success, failure } = check.thresholds;
            (
                check.condition.as_str(),
                check.interval.as_secs(),
                success,
                failure,
            )
        })
        .collect();
    assert_eq!(described, [("a", 7, 1, 3), ("b", 1, 1, 3), ("c", 7, 2, 4)]);
    assert!(matches!(&checks[2].probe, Probe::Exec { command } if command.len() == 2));
}

#[test]
fn a_list_of_checks_is_right_or_refused() {
    let refused = |list: &str| {
        let variables = [("NODE_NAME", "worker-1"), ("CHECKS", list)];
        read(&variables).0.unwrap_err().join("\n")
    };
    for (list, expected) in [
        ("[]", "CHECKS has no check in it"),
        ("{}", "CHECKS is not as documented: "),
        (
            r#"[{"conditionType": "a", "url": "http://h/"}]"#,
            "unknown field `url`",
        ),
        (
            r#"[{"endpoint": "http://h/"}]"#,
            "CHECKS[0].conditionType is missing",
        ),
        (
            r#"[{"conditionType": "a"}]"#,
            "CHECKS[0].endpoint is missing, and so is CHECKS[0].command",
        ),
        (
            r#"[{"conditionType": "a", "endpoint": "http://h/"}, {"conditionType": "a", "endpoint": "http://i/"}]"#,
            "CHECKS[1].conditionType=a: another check writes this condition already",
        ),
        (
            r#"[{"conditionType": "a", "endpoint": "http://h/", "successThreshold": 0}]"#,
            "CHECKS is not as documented: ",
        ),
    ] {
        let problem = refused(list);
        assert!(problem.contains(expected), "{list}: {problem}");
    }
    let both = problem(&[("CHECKS", "[]")]);
    assert!(
        both.contains("CHECKS and CHECK_ENDPOINT are both set"),
        "{both}"
    );
}

#[test]
fn the_documented_list_of_checks_is_one() {
    let page = page();
    let list = page.split("```json\n").nth(1).unwrap();
    let list = list.split("```").next().unwrap();
    let checks = read(&[("NODE_NAME", "worker-1"), ("CHECKS", list)]);
    assert_eq!(checks.0.unwrap().checks.len(), 2);
}

fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reporter.md");
    std::fs::read_to_string(page).unwrap()
}

/// The table of the page has the variables of the program, in their order, with their defaults.
#[test]
fn the_documented_variables_are_those_of_the_program() {
    let page = page();
    let documented: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            let default = cells.next()?.trim().trim_matches('`');
            let is_variable = name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            is_variable.then(|| (name.to_owned(), default.to_owned()))
        })
        .collect();
    let known: Vec<_> = VARIABLES
        .iter()
        .map(|variable| (variable.name.to_owned(), variable.default.to_owned()))
        .collect();
    assert_eq!(documented, known);
}
