//! The process: its flags, its probes, and what it needs of a machine.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use cluster_tests::{Cluster, Host, agent_rule, host_program, worker};
use control_plane::{Lifetime, command};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// As a Deployment of the Go controller has them: each in another of the forms that Go takes.
const FLAGS: [&str; 26] = [
    "-metrics-bind-address=127.0.0.1:0",
    "--metrics-secure=false",
    "-metrics-cert-dir",
    "",
    "--health-probe-bind-address",
    "127.0.0.1:0",
    "-leader-elect=0",
    "--leader-election-namespace=kube-system",
    "-enable-webhook=F",
    "--enable-node-state-metrics",
    "-kube-api-qps=-1",
    "--kube-api-burst",
    "-1",
    "-node-concurrent-reconciles",
    "2",
    "--rule-concurrent-reconciles=1",
    "--pprof-bind-address=127.0.0.1:6060",
    "-zap-devel=false",
    "--zap-encoder",
    "json",
    "-zap-log-level=info",
    "--zap-stacktrace-level=panic",
    "-zap-time-encoding",
    "rfc3339",
    "-kubeconfig",
    "",
];

async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The files on a disk that a process has open for writing. What has no path is none: pipes, sockets,
/// and the memory in which the engine keeps images of its guests.
fn written_files(pid: u32) -> Vec<String> {
    let flags = |number: &str| {
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(Result::unwrap);
    let written = open.filter_map(|entry| {
        let path = std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned();
        let on_disk =
            path.starts_with('/') && !path.starts_with("/dev/") && !path.starts_with("/memfd:");
        // O_WRONLY is 1, O_RDWR 2.
        (on_disk && flags(entry.file_name().to_str()?)? & 3 != 0).then_some(path)
    });
    written.collect()
}

/// Every flag, a home and a temporary folder that do not exist, and no file open for writing. The
/// kubeconfig is found by `$KUBECONFIG`, since the flag is empty.
#[tokio::test]
async fn compat_043_it_runs_with_every_flag_and_without_a_writable_disk() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let empty = cluster.plane.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut run = command(host_program().unwrap(), Lifetime::OfThisProcess);
    run.arg("run")
        .args(FLAGS)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("HOME", "/nowhere")
        .env("TMPDIR", "/nowhere")
        .current_dir(&empty)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    let (said, log) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| said.send(line))
    });
    let until = |words: &str| loop {
        let line = log.recv().unwrap();
        if line.contains(words) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            return line["address"].as_str().unwrap_or_default().to_owned();
        }
    };
    until("--pprof-bind-address has no effect");
    let probes = until("health probes are served");
    let metrics = until("metrics are served");
    cluster.until_held("node-1").await;
    for path in ["/healthz", "/readyz"] {
        let answer = get(&probes, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let answer = get(&metrics, "/metrics").await;
    assert!(answer.contains("node_readiness_nodes_by_state"), "{answer}");
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    assert_eq!(written_files(child.id()), [""; 0]);
    let pid = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
}

/// The defaults are what `--help` says they are.
#[test]
fn compat_043_defaults_are_told_by_the_help() {
    let output = Command::new(host_program().unwrap())
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for (flag, default) in [
        ("metrics-bind-address", "0"),
        ("metrics-secure", "true"),
        ("health-probe-bind-address", ":8081"),
        ("leader-elect", "false"),
        ("enable-webhook", "false"),
        ("enable-node-state-metrics", "false"),
        ("kube-api-qps", "-1"),
        ("kube-api-burst", "-1"),
        ("node-concurrent-reconciles", "1"),
        ("rule-concurrent-reconciles", "1"),
    ] {
        let (_, rest) = help
            .split_once(&format!("--{flag} "))
            .or(help.split_once(&format!("--{flag}[")))
            .unwrap_or_else(|| panic!("{flag}: {help}"));
        let (_, rest) = rest.split_once("[default: ").unwrap();
        let (found, _) = rest.split_once(']').unwrap();
        assert_eq!(found, default, "{flag}");
    }
}

#[tokio::test]
async fn compat_043_a_port_in_use_is_named() {
    let cluster = Cluster::start().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (flag, what) in [
        ("--health-probe-bind-address", "health probes"),
        ("--metrics-bind-address", "metrics"),
    ] {
        let log = cluster.plane.folder().join(flag);
        let flags = [
            format!("{flag}={address}"),
            "--metrics-secure=false".to_owned(),
        ];
        let flags = [flags[0].as_str(), flags[1].as_str()];
        let host = Host::spawn(&cluster.kubeconfig(), &log, Lifetime::OfThisProcess, &flags);
        let (status, log) = host.unwrap().until_ended().await.unwrap();
        assert_eq!(status, Some(2), "{log}");
        let expected =
            format!("error: {what} cannot be served at {address}: Address already in use");
        assert!(log.contains(&expected), "{log}");
    }
}
