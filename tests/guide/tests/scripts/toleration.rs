//! add-falco-toleration.sh.

use serde_json::{Value, json};

use crate::site::Site;
use crate::{SETUP, TOLERATION, chart, example};

fn ours() -> Value {
    json!({ "key": "readiness.k8s.io/security-agent-ready", "operator": "Exists", "effect": "NoSchedule" })
}

/// Puts Falco there as its chart makes it with these tolerations.
fn install(site: &Site, tolerations: &Value) {
    let set = format!("tolerations={tolerations}");
    let arguments = [
        "upgrade",
        "--install",
        "falco",
        &chart(),
        "--namespace=falco",
        "--create-namespace",
        "--set-json",
        &set,
    ];
    site.helm.ask(&arguments).unwrap();
    assert_eq!(
        &site.tolerations(),
        if tolerations == &json!([]) {
            &Value::Null
        } else {
            tolerations
        }
    );
}

#[tokio::test]
async fn it_is_added_once_and_others_stay() {
    let site = Site::start().await;
    let foreign = json!({ "key": "dedicated", "operator": "Equal", "value": "falco", "effect": "NoSchedule" });
    // Other key, other effect, and a value that the taint might not have.
    let near = json!({ "key": "readiness.k8s.io/security-agent-ready", "operator": "Exists", "effect": "NoExecute" });
    let equal = json!({ "key": "readiness.k8s.io/security-agent-ready", "operator": "Equal", "value": "pending", "effect": "NoSchedule" });
    for there in [json!([]), json!([foreign]), json!([foreign, near, equal])] {
        install(&site, &there);
        let done = site.run(TOLERATION, &[]);
        assert_eq!(
            (done.status, done.stderr.as_str()),
            (Some(0), ""),
            "{done:?}"
        );
        assert_eq!(done.stdout, "daemonset.apps/falco patched\n");
        let mut expected = there.as_array().unwrap().clone();
        expected.push(ours());
        assert_eq!(site.tolerations(), json!(expected));

        let state = site.state();
        let again = site.run(TOLERATION, &[]);
        assert_eq!(
            (again.status, again.stderr.as_str()),
            (Some(0), ""),
            "{again:?}"
        );
        assert!(again.stdout.contains("tolerates"), "{}", again.stdout);
        assert_eq!(site.state(), state);
        site.helm
            .ask(&["uninstall", "falco", "--namespace=falco"])
            .unwrap();
    }
}

#[tokio::test]
async fn what_tolerates_it_already_is_enough() {
    let site = Site::start().await;
    for there in [
        json!([{ "operator": "Exists" }]),
        json!([{ "operator": "Exists", "effect": "NoSchedule" }]),
        json!([{ "key": "readiness.k8s.io/security-agent-ready", "operator": "Exists" }]),
    ] {
        install(&site, &there);
        let state = site.state();
        let done = site.run(TOLERATION, &[]);
        assert_eq!(
            (done.status, done.stderr.as_str()),
            (Some(0), ""),
            "{done:?}"
        );
        assert_eq!(site.state(), state);
        site.helm
            .ask(&["uninstall", "falco", "--namespace=falco"])
            .unwrap();
    }
}

/// Sets up one option and applies the rule of the other; what is said about it. Nothing is changed.
async fn refused(option: &str, rule: &str) -> (Site, String) {
    let site = Site::start().await;
    set_up(&site, option);
    // Rules with another condition are somebody else's business.
    let other = cluster_tests::agent_rule("other", "continuous");
    site.cluster.apply(&other).unwrap();
    let file = example(rule).display().to_string();
    let apply = ["apply", "-f", &file];
    site.cluster.plane.kubectl_ok(&apply).unwrap();
    let state = site.state();
    let done = site.run(TOLERATION, &[]);
    assert_eq!(
        (done.status, done.stdout.as_str()),
        (Some(1), ""),
        "{done:?}"
    );
    assert_eq!(site.state(), state);
    (site, done.stderr)
}

fn set_up(site: &Site, option: &str) {
    let done = site.run(SETUP, &[(option, "true"), ("FALCO_CHART", &chart())]);
    assert_eq!(done.status, Some(0), "{done:?}");
}

#[tokio::test]
async fn with_a_rule_of_the_other_option_nothing_is_changed_and_it_says_what_to_do() {
    let (npd, nrr) = (
        "npd-variant/security-agent-readiness-rule-npd.yaml",
        "nrr-variant/security-agent-readiness-rule.yaml",
    );
    let (site, said) = refused("USE_NRR", npd).await;
    assert_eq!(
        said,
        "error: rule security-agent-readiness-rule-npd waits for falco.org/FalcoNotReady, and nothing in namespace \
         falco reports it: nothing was changed. Apply the rule that setup-falco.sh named, with 'replaces: \
         security-agent-readiness-rule-npd' in its spec, and delete this one when that is Ready; or run setup-falco.sh \
         for the option of this rule. Then run this script again.\n"
    );
    let is_done = |site: &Site| {
        let done = site.run(TOLERATION, &[]);
        assert_eq!(
            (done.status, done.stderr.as_str()),
            (Some(0), ""),
            "{done:?}"
        );
        assert!(site.tolerations().as_array().unwrap().contains(&ours()));
    };
    // What it says helps, while the old rule is still there.
    let mut rule = std::fs::read_to_string(example(nrr)).unwrap();
    rule.push_str("  replaces: security-agent-readiness-rule-npd\n");
    site.cluster.apply(&rule).unwrap();
    is_done(&site);

    let (site, said) = refused("USE_NPD", nrr).await;
    let start =
        "error: rule security-agent-readiness-rule waits for falco.org/FalcoReady, and nothing";
    assert!(said.starts_with(start), "{said}");
    // So does its reporter.
    set_up(&site, "USE_NRR");
    is_done(&site);
}

/// Helm owns the list of tolerations where the chart has one.
#[tokio::test]
async fn an_upgrade_of_falco_keeps_the_reporter_and_loses_the_toleration_unless_it_is_a_value() {
    let site = Site::start().await;
    set_up(&site, "USE_NRR");
    assert_eq!(site.run(TOLERATION, &[]).status, Some(0));
    let tolerated = site.falco()["spec"].clone();
    let chart = chart();
    let mut upgrade = vec![
        "upgrade",
        "falco",
        &chart,
        "--namespace=falco",
        "--reuse-values",
    ];
    let error = site.helm.ask(&upgrade).unwrap_err().to_string();
    assert!(error.contains("conflict with \"kubectl-patch\""), "{error}");
    upgrade.push("--force-conflicts");
    site.helm.ask(&upgrade).unwrap();
    assert_eq!(site.tolerations().as_array().unwrap().len(), 2);
    assert_eq!(site.run(TOLERATION, &[]).status, Some(0));
    assert_eq!(site.falco()["spec"], tolerated);
    site.helm
        .ask(&["uninstall", "falco", "--namespace=falco"])
        .unwrap();

    let values = site.cluster.plane.folder().join("values.yaml");
    std::fs::write(&values, json!({ "tolerations": [ours()] }).to_string()).unwrap();
    let values = ("FALCO_VALUES", values.to_str().unwrap());
    for option in ["USE_NRR", "USE_NPD"] {
        let done = site.run(SETUP, &[(option, "true"), ("FALCO_CHART", &chart), values]);
        assert_eq!(done.status, Some(0), "{done:?}");
        assert_eq!(site.run(TOLERATION, &[]).status, Some(0));
        assert_eq!(site.tolerations(), json!([ours()]));
        let spec = site.falco()["spec"].clone();
        upgrade.retain(|argument| *argument != "--force-conflicts");
        site.helm.ask(&upgrade).unwrap();
        assert_eq!(site.falco()["spec"], spec);
        site.helm
            .ask(&["uninstall", "falco", "--namespace=falco"])
            .unwrap();
    }
}
