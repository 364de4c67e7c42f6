//! What is said where an API server answers, and the host cannot use it.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::path::{Path, PathBuf};

use cli_tests::program::host;
use cluster_tests::{Cluster, Host, agent_rule};
use control_plane::{Lifetime, Options, User};
use serde_json::{Value, json};

const NOBODY: &str = "nobody";

async fn cluster() -> Cluster {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: vec![User::new(NOBODY)],
        ..Options::default()
    };
    Cluster::start_with(&assets, &options).await.unwrap()
}

/// The administrator's kubeconfig with something changed in it.
fn changed(cluster: &Cluster, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config = serde_json::from_str(&text).unwrap();
    change(&mut config);
    let path = cluster.plane.folder().join(name);
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn eval(cluster: &Cluster, kubeconfig: &Path) -> String {
    let rule = cluster.plane.folder().join("rule.yaml");
    std::fs::write(&rule, agent_rule("agent", "continuous")).unwrap();
    let arguments = ["eval".as_ref(), "--rule".as_ref(), rule.as_os_str()];
    let kubeconfig = ["--kubeconfig".as_ref(), kubeconfig.as_os_str()];
    refused(arguments.iter().chain(&kubeconfig))
}

fn run(kubeconfig: &Path) -> String {
    let arguments = ["run", "--health-probe-bind-address=0", "--kubeconfig"];
    refused(
        arguments
            .map(AsRef::as_ref)
            .iter()
            .chain(&[kubeconfig.as_os_str()]),
    )
}

fn refused<'a>(arguments: impl Iterator<Item = &'a &'a std::ffi::OsStr>) -> String {
    let output = host(arguments).unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    output.stderr
}

#[tokio::test]
async fn an_api_server_that_does_not_let_us_in() {
    let cluster = cluster().await;
    let url = cluster.plane.url();
    let said = |kubeconfig: &Path, what: &str| {
        format!(
            "error: kubeconfig {}, context 'control-plane': {what}\n",
            kubeconfig.display()
        )
    };

    let stranger = changed(&cluster, "stranger", |config| {
        config["users"][0]["user"]["token"] = json!("expired");
    });
    let not_accepted = |who: &str| {
        format!(
            "the API server at {url} does not accept {who} (401 Unauthorized): log in again, or choose another context or kubeconfig"
        )
    };
    let expected = said(&stranger, &not_accepted("user 'admin'"));
    assert_eq!(eval(&cluster, &stranger), expected);
    assert_eq!(run(&stranger), expected);

    let nobody = cluster.plane.kubeconfig_for(NOBODY).unwrap();
    let forbidden = r#"nodes is forbidden: User "nobody" cannot list resource "nodes" in API group "" at the cluster scope"#;
    assert_eq!(
        eval(&cluster, &nobody),
        said(
            &nobody,
            &format!(
                "the API server at {url} refuses: {forbidden} (403): ask for that right, or choose another context or kubeconfig"
            )
        )
    );

    // As kubectl, the host asks anonymously then.
    let no_user = changed(&cluster, "no-user", |config| {
        config["users"] = json!([]);
    });
    let message = eval(&cluster, &no_user);
    assert!(message.contains("anonymous"), "{message}");
}

#[tokio::test]
async fn an_api_server_that_cannot_be_trusted() {
    let cluster = cluster().await;
    let url = cluster.plane.url();
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let pem = cluster.plane.folder().join("other.crt");
    std::fs::write(&pem, other.cert.pem()).unwrap();
    for (name, ca) in [("other-ca", json!("other.crt")), ("no-ca", Value::Null)] {
        let kubeconfig = changed(&cluster, name, |config| {
            config["clusters"][0]["cluster"]["certificate-authority"] = ca;
        });
        let expected = format!(
            "error: kubeconfig {}, context 'control-plane': the API server at {url} shows a certificate of an unknown certificate authority: correct certificate-authority of the cluster, or the address\n",
            kubeconfig.display()
        );
        assert_eq!(eval(&cluster, &kubeconfig), expected);
        assert_eq!(run(&kubeconfig), expected);
    }
    for (name, field, value, says) in [
        (
            "other-name",
            "tls-server-name",
            json!("elsewhere.example.com"),
            "shows a certificate that cannot be trusted: ",
        ),
        (
            "no-tls",
            "server",
            json!(url.replace("https", "http")),
            "answers: Client sent an HTTP request to an HTTPS server. (400): is the address right?",
        ),
    ] {
        let kubeconfig = changed(&cluster, name, |config| {
            config["clusters"][0]["cluster"][field] = value;
        });
        let message = eval(&cluster, &kubeconfig);
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn a_host_without_rights_logs_the_server_s_words_and_no_dump() {
    let cluster = cluster().await;
    let nobody = cluster.plane.kubeconfig_for(NOBODY).unwrap();
    let log = cluster.plane.folder().join("host.log");
    let mut host = Host::spawn(&nobody, &log, Lifetime::OfThisProcess, &[]).unwrap();
    for kind in ["nodes", "rules"] {
        let text = format!("{kind} cannot be watched; trying again");
        host.until_logged(&text).await.unwrap();
    }
    let log = host.log().unwrap();
    assert!(
        log.contains(
            r#"cannot watch resource \"nodes\" in API group \"\" at the cluster scope (403)"#
        ),
        "{log}"
    );
    assert!(!log.contains("Status {"), "{log}");
    assert!(!log.contains("ApiError"), "{log}");
}
