//! Each way in which no cluster can be used: one sentence that says which file, context and server,
//! what is wrong there and what to do. What a real API server answers is in the cluster tests.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;

use cli_tests::program::host_in;
use common::{RULE, folder_with};

const NAME_ANOTHER: &str = "name another file with --kubeconfig or KUBECONFIG";
const CORRECT: &str = "correct it, or name another file with --kubeconfig or KUBECONFIG";

/// What `eval` and `run` say alike of a kubeconfig with this content.
#[track_caller]
fn refused(kubeconfig: &str, expected: &str) {
    let folder = folder_with(&[("rule.yaml", RULE), ("config", kubeconfig)]);
    for arguments in [EVAL, RUN] {
        let arguments = [arguments, &["--kubeconfig", "config"]].concat();
        let output = host_in(folder.path(), &arguments, &[]).unwrap();
        assert_eq!(
            output.stderr,
            format!("error: kubeconfig config{expected}\n")
        );
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    }
}

const EVAL: &[&str] = &["eval", "--rule", "rule.yaml"];
const RUN: &[&str] = &["run", "--health-probe-bind-address=0"];

/// A kubeconfig whose API server nobody serves: no test is ever given a port of the system's own.
fn config() -> String {
    with_cluster("server: \"https://127.0.0.1:1\"")
}

fn with_cluster(cluster: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n"
    )
}

fn with_user(user: &str) -> String {
    config().replace("token: t", user)
}

#[test]
fn a_kubeconfig_that_is_not_there_or_no_file() {
    let folder = folder_with(&[("rule.yaml", RULE)]);
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("binary"), [0x7f, 0xff]).unwrap();
    for (name, what) in [
        ("missing", "there is no such file"),
        ("folder", "it is a folder, and a file is needed"),
        ("binary", "it is not text in UTF-8"),
    ] {
        let expected = format!("error: kubeconfig {name}: {what}: {NAME_ANOTHER}\n");
        for arguments in [EVAL, RUN] {
            let by_flag = [arguments, &["-kubeconfig", name]].concat();
            let by_flag = if arguments == EVAL {
                [arguments, &["--kubeconfig", name]].concat()
            } else {
                by_flag
            };
            let output = host_in(folder.path(), &by_flag, &[]).unwrap();
            assert_eq!(
                (output.status, output.stderr.as_str()),
                (2, expected.as_str())
            );
            let output = host_in(folder.path(), arguments, &[("KUBECONFIG", name)]).unwrap();
            assert_eq!(
                (output.status, output.stderr.as_str()),
                (2, expected.as_str())
            );
        }
    }
}

#[test]
fn no_kubeconfig_at_all() {
    let folder = folder_with(&[("rule.yaml", RULE)]);
    let home = folder.path().display().to_string();
    for arguments in [EVAL, RUN] {
        let output = host_in(folder.path(), arguments, &[("HOME", &home)]).unwrap();
        let expected = format!(
            "error: no cluster: there is no {home}/.kube/config: give --kubeconfig, set KUBECONFIG, or run in a cluster\n"
        );
        assert_eq!((output.status, output.stderr), (2, expected));
        let pod = [
            ("HOME", home.as_str()),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ];
        let output = host_in(folder.path(), arguments, &pod).unwrap();
        assert_eq!(
            output.stderr,
            "error: no cluster: the service account of this pod, in /var/run/secrets/kubernetes.io/serviceaccount, cannot be used: KUBERNETES_SERVICE_PORT is not set: mount it (automountServiceAccountToken: true), or give --kubeconfig\n"
        );
    }
}

#[test]
fn a_file_that_is_no_kubeconfig() {
    for (text, what) in [
        ("", format!(": there is no context in it: {CORRECT}")),
        (
            "only words\n",
            format!(":1:1: this is no kubeconfig: a map of fields is expected here: {CORRECT}"),
        ),
        (
            "contexts: c\n",
            format!(":1:11: this is no kubeconfig: a list is expected here: {CORRECT}"),
        ),
        (
            "a: [1\nb: }\n",
            format!(":2:2: this is no kubeconfig: illegal placement of ':' indicator: {CORRECT}"),
        ),
        (
            RULE,
            format!(
                ": this is a NodeReadinessRule, and a kubeconfig has `kind: Config`: {NAME_ANOTHER}"
            ),
        ),
    ] {
        refused(text, &what);
    }
}

#[test]
fn a_context_that_does_not_fit() {
    let choose = "choose one with `kubectl config use-context NAME`; it has c";
    for (from, to, what) in [
        (
            "current-context: c",
            "current-context: x",
            format!(": there is no context 'x' in it, which is its current-context: {choose}"),
        ),
        (
            "current-context: c\n",
            "",
            format!(": it has no current-context: {choose}"),
        ),
        (
            "cluster: k",
            "cluster: x",
            format!(", context 'c': there is no cluster 'x' in it: {CORRECT}"),
        ),
    ] {
        refused(&config().replace(from, to), &what);
    }
}

#[test]
fn a_cluster_that_cannot_be_one() {
    let server = "server: \"https://127.0.0.1:1\"";
    let ca = |what: &str| format!("the certificate authority of cluster 'k' {what}");
    let garbage =
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmFHVnNiRzhLCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";
    for (cluster, what) in [
        ("certificate-authority: ca.crt".to_owned(), "cluster 'k' has no server".to_owned()),
        ("server: \"no url\"".to_owned(), "the server of cluster 'k' is no URL: invalid uri character".to_owned()),
        (
            "server: \"127.0.0.1:1\"".to_owned(),
            "the server of cluster 'k' is 127.0.0.1:1, which does not begin with https:// or http://".to_owned(),
        ),
        (
            format!("{server}, certificate-authority: no-such-ca.crt"),
            "certificate-authority of cluster 'k' names no-such-ca.crt: there is no such file".to_owned(),
        ),
        (
            format!("{server}, certificate-authority-data: \"!\""),
            "certificate-authority-data of cluster 'k' is not base64".to_owned(),
        ),
        (format!("{server}, certificate-authority-data: aGVsbG8K"), ca("has no certificate in it")),
    ] {
        refused(&with_cluster(&cluster), &format!(", context 'c': {what}: {CORRECT}"));
    }
    refused(
        &with_cluster(&format!("{server}, certificate-authority-data: {garbage}")),
        ", context 'c': the certificate authority of the cluster holds something that is no certificate: correct certificate-authority or certificate-authority-data",
    );
    refused(
        &with_cluster(&format!(
            "{server}, proxy-url: \"http://me:secret@proxy.example.com:1\""
        )),
        ", context 'c': there is a proxy on the way, proxy.example.com, and this version uses none: take proxy-url out of the kubeconfig, or unset HTTPS_PROXY, and reach https://127.0.0.1:1 directly",
    );
}

#[test]
fn credentials_that_cannot_be_had() {
    let exec = |command: &str| {
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, {command}}}"
        )
    };
    let had = "the credentials of user 'u' cannot be had";
    for (user, what) in [
        (
            "token: \"a\\nb\"".to_owned(),
            format!(
                "the token of user 'u' has a line break or another control character in it: {CORRECT}"
            ),
        ),
        (
            "tokenFile: no-such-token".to_owned(),
            format!(
                "{had}: the token file no-such-token: there is no such file: correct tokenFile"
            ),
        ),
        (
            "client-certificate: no.crt, client-key: no.key".to_owned(),
            "client-certificate of user 'u' names no.crt: there is no such file: correct it"
                .to_owned(),
        ),
        (
            exec("command: no-such-plugin"),
            format!(
                "{had}: the program no-such-plugin cannot be started: No such file or directory (os error 2): install it, or correct `exec`"
            ),
        ),
        (
            exec("command: echo, args: [hello]"),
            format!(
                "{had}: the program echo does not print an ExecCredential with a status: correct `exec`"
            ),
        ),
        // Neither its output nor its environment, which hold secrets.
        (
            exec(
                "command: sh, args: [-c, \"echo secret; echo log in first >&2; exit 3\"], env: [{name: A, value: secret}]",
            ),
            format!(
                "{had}: the program sh failed (exit status: 3): log in first: run it by hand to see why"
            ),
        ),
    ] {
        refused(&with_user(&user), &format!(", context 'c': {what}"));
    }
}

#[test]
fn an_unreachable_api_server() {
    refused(
        &config(),
        ", context 'c': the API server at https://127.0.0.1:1 cannot be reached: Connection refused (os error 111): is it running, and is the address right?",
    );
}

/// What another server than an API server answers.
#[test]
fn a_server_that_is_no_api_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    });
    for (scheme, what) in [
        (
            "http",
            "does not answer as a Kubernetes API server does: correct the address",
        ),
        (
            "https",
            "does not speak TLS: does its address begin with http://?",
        ),
    ] {
        let server = format!("{scheme}://{address}");
        refused(
            &config().replace("https://127.0.0.1:1", &server),
            &format!(", context 'c': the API server at {server} {what}"),
        );
    }
}
