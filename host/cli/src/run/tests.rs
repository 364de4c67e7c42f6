use clap::Parser;
use controller::Certificates;

use super::*;

#[derive(Debug, Parser)]
struct Run {
    #[command(flatten)]
    options: Options,
}

fn parse(line: &str) -> Options {
    let words = std::iter::once("run").chain(line.split_whitespace());
    Run::try_parse_from(words)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .options
}

#[test]
fn compat_043_every_flag_of_the_go_controller_is_known_with_its_default() {
    let options = parse("");
    assert_eq!(options.kubeconfig, None);
    assert_eq!(options.health_probe_bind_address, ":8081");
    assert_eq!(options.node_concurrent_reconciles.get(), 1);
    assert_eq!(options.rule_concurrent_reconciles.get(), 1);
    assert!(options.metrics.check().unwrap().is_none());
    assert!(!options.metrics.enable_node_state_metrics);
    assert!(!options.leader_elect);
    assert_eq!(options.leader_election_namespace, "");
    assert!(options.requests.limit().unwrap().is_none());

    let given = parse(
        "--metrics-bind-address=0 --metrics-secure --metrics-cert-dir=d --health-probe-bind-address :9 \
         --leader-elect=false --leader-election-namespace n --enable-webhook=False \
         --enable-node-state-metrics=0 --kube-api-qps -1 --kube-api-burst=-1 \
         --node-concurrent-reconciles=10 --rule-concurrent-reconciles 2 --kubeconfig f \
         --pprof-bind-address= --zap-devel=f --zap-encoder json --zap-log-level=2 \
         --zap-stacktrace-level=error --zap-time-encoding=iso8601",
    );
    assert_eq!(given.kubeconfig, Some("f".into()));
    assert_eq!(given.node_concurrent_reconciles.get(), 10);
}

#[test]
fn metrics_are_served_without_tls_only_where_that_is_asked_for() {
    use controller::MetricsCertificate::{Folder, SelfSigned};
    let metrics = |flags: &str| parse(flags).metrics.check().unwrap().unwrap();
    let flags = "--metrics-bind-address=:8443";
    assert!(matches!(metrics(flags).certificate, Some(SelfSigned)));
    let given = metrics(&format!("{flags} --metrics-cert-dir=d"));
    assert!(matches!(given.certificate, Some(Folder(folder)) if folder.ends_with("d")));
    let flags = format!("{flags} --metrics-secure=false --enable-node-state-metrics");
    assert!(metrics(&flags).certificate.is_none());
    assert!(parse(&flags).metrics.enable_node_state_metrics);
}

#[test]
fn the_last_of_two_counts() {
    assert!(!parse("--leader-elect --leader-elect=false").leader_elect);
    assert_eq!(
        parse("--kubeconfig a --kubeconfig b").kubeconfig,
        Some("b".into())
    );
}

#[test]
fn addresses_are_those_of_go() {
    let health = |text| address("--health-probe-bind-address", text);
    assert_eq!(health("0").unwrap(), None);
    assert_eq!(health("").unwrap(), None);
    assert_eq!(
        health("127.0.0.1:80").unwrap(),
        Some(([127, 0, 0, 1], 80).into())
    );
    let any = health(":8081").unwrap().unwrap();
    assert!(any.ip().is_unspecified());
    assert_eq!(any.port(), 8081);
    for wrong in ["8081", ":http", ":99999", "nowhere"] {
        let BadInput(problems) = health(wrong).unwrap_err();
        assert!(
            problems[0].starts_with("--health-probe-bind-address="),
            "{problems:?}"
        );
    }
}

#[test]
fn compat_034_the_webhook_is_served_only_if_asked_for() {
    let webhook = |line: &str| parse(line).webhook.check();
    assert!(webhook("").unwrap().is_none());
    assert!(webhook("--webhook-bind-address=0").unwrap().is_none());
    let asked = webhook("--enable-webhook").unwrap().unwrap();
    assert_eq!(asked.address.port(), api::webhook::PORT);
    let Certificates::Folder(folder) = asked.certificates else {
        panic!("files, unless something else is asked for");
    };
    assert!(folder.ends_with("k8s-webhook-server/serving-certs"));

    let managed = |arguments: &str| {
        webhook(&format!(
            "--enable-webhook --webhook-manage-certificates {arguments}"
        ))
    };
    for (arguments, expected) in [
        (
            "",
            (None, "node-readiness-webhook-tls", "node-readiness-webhook"),
        ),
        (
            "--webhook-secret=a/b --webhook-configuration c",
            (Some("a"), "b", "c"),
        ),
    ] {
        let Certificates::Managed {
            namespace,
            secret,
            configuration,
        } = managed(arguments).unwrap().unwrap().certificates
        else {
            panic!("they are managed");
        };
        let found = (namespace.as_deref(), &*secret, &*configuration);
        assert_eq!(found, expected);
    }
    for wrong in [
        "--webhook-secret=/b",
        "--webhook-secret=a/",
        "--webhook-secret=a/b/c",
        "--webhook-secret=",
        "--webhook-configuration=",
        "--webhook-bind-address=0",
        "--webhook-bind-address=9443",
    ] {
        let BadInput(problems) = managed(wrong).unwrap_err();
        assert!(problems[0].starts_with(wrong), "{problems:?}");
    }
}

#[test]
fn compat_043_the_limit_on_requests_is_that_of_client_go() {
    for (flags, expected) in [
        ("", None),
        ("--kube-api-qps=-1 --kube-api-burst=30", None),
        ("--kube-api-qps=-0.5", None),
        ("--kube-api-qps=inf", None),
        ("--kube-api-qps=20 --kube-api-burst=30", Some((20.0, 30))),
        ("--kube-api-qps 0.5 --kube-api-burst 1", Some((0.5, 1))),
        ("--kube-api-qps=0 --kube-api-burst=0", Some((5.0, 10))),
        ("--kube-api-qps=20", Some((20.0, 10))),
    ] {
        let limit = parse(flags).requests.limit().unwrap();
        let limit = limit.map(|limit| (limit.per_second, limit.burst));
        assert_eq!(limit, expected, "{flags}");
    }
    let BadInput(problems) = parse("--kube-api-qps=NaN").requests.limit().unwrap_err();
    assert!(
        problems[0].starts_with("--kube-api-qps=NaN"),
        "{problems:?}"
    );
}

#[test]
fn compat_044_a_namespace_is_a_name() {
    let namespace = |text: &str| leader_election(text.to_owned()).map(|lease| lease.namespace);
    assert_eq!(namespace("").unwrap(), None);
    assert_eq!(
        namespace("kube-system").unwrap(),
        Some("kube-system".into())
    );
    for wrong in ["a/b", "A", "-a", "a-", "a.b", &"a".repeat(64)] {
        let BadInput(problems) = namespace(wrong).unwrap_err();
        assert!(problems[0].contains(wrong), "{problems:?}");
    }
}
