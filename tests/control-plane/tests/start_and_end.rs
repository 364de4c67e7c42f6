//! The control plane as its users have it: started, used, ended, with nothing left behind.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{park, sleep};
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, Options, User, assets};

/// A process that nobody has waited for yet (`Z`) does not run any more.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// For processes that are not our children any more.
fn wait_for_end_of(pids: [u32; 2]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while pids.into_iter().any(is_running) {
        assert!(Instant::now() < deadline, "{pids:?} still run");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn it_starts_serves_and_leaves_nothing_behind() {
    let assets = assets(&mut |line| println!("{line}")).unwrap();
    let options = Options {
        audit_policy: Some(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n".to_owned(),
        ),
        users: vec![User::new("system:nobody: \"quoted\"")],
        ..Options::default()
    };
    let plane = ControlPlane::start_with(&assets, &options).unwrap();
    let (pids, folder) = (plane.pids(), plane.folder().to_path_buf());
    assert!(is_running(pids.apiserver) && is_running(pids.etcd));

    assert_eq!(plane.kubectl_ok(&["get", "--raw=/readyz"]).unwrap(), "ok");
    let version = plane.kubectl_ok(&["version", "--output=json"]).unwrap();
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    let number = &version["serverVersion"]["gitVersion"];
    assert_eq!(*number, version["clientVersion"]["gitVersion"]);
    assert!(number.as_str().unwrap().starts_with("v1."), "{version}");

    plane
        .kubectl_ok(&["create", "namespace", "agents"])
        .unwrap();
    let node = folder.join("node.yaml");
    std::fs::write(&node, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n").unwrap();
    plane
        .kubectl_ok(&["create", "--filename", node.to_str().unwrap()])
        .unwrap();
    let taints = plane
        .kubectl_ok(&[
            "get",
            "node",
            "n1",
            "--output=jsonpath={.spec.taints[*].key}",
        ])
        .unwrap();
    assert_eq!(
        taints, "node.kubernetes.io/not-ready",
        "admission is at work"
    );

    // RBAC is on: a user without a role is known and refused.
    let nobody = plane.kubeconfig_for(&options.users[0].name).unwrap();
    let refused = plane
        .kubectl_command()
        .env("KUBECONFIG", nobody)
        .args(["get", "nodes"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        stderr.contains("Forbidden") && stderr.contains("system:nobody"),
        "{stderr}"
    );
    let unknown = plane.kubeconfig_for("somebody").unwrap_err().to_string();
    assert!(unknown.contains("no user `somebody`"), "{unknown}");

    let audit = std::fs::read_to_string(plane.audit_log()).unwrap();
    assert!(
        audit.contains(r#""verb":"create""#),
        "the audit log has our writes"
    );
    let cpu = plane.cpu_seconds().unwrap();
    assert!(cpu.apiserver > cpu.etcd && cpu.etcd > 0.0, "{cpu:?}");

    // A watch that is open must not keep the API server from ending.
    let mut watch = plane
        .kubectl_command()
        .args(["get", "nodes", "--watch"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(plane);
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(!is_running(pids.apiserver) && !is_running(pids.etcd));
    assert!(!folder.exists());
}

#[test]
fn a_flag_that_the_server_refuses_is_reported_at_once() {
    let assets = assets(&mut |line| println!("{line}")).unwrap();
    let options = Options {
        apiserver_args: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    };
    let error = ControlPlane::start_with(&assets, &options)
        .unwrap_err()
        .to_string();
    assert!(error.contains("kube-apiserver ended by itself"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

#[test]
fn a_port_that_stays_taken_is_reported_after_a_few_attempts() {
    let assets = assets(&mut |line| println!("{line}")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = Options {
        apiserver_args: vec![format!("--secure-port={port}")],
        ..Options::default()
    };
    let error = ControlPlane::start_with(&assets, &options)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no free port"), "{error}");
    assert!(error.contains("address already in use"), "{error}");
}

#[test]
fn only_what_was_meant_to_be_kept_outlives_its_owner() {
    let assets = assets(&mut |line| println!("{line}")).unwrap();
    let plane = ControlPlane::start(&assets).unwrap();
    let pids = plane.pids();
    let error = plane.keep().unwrap_err().to_string();
    assert!(error.contains("Options::keep"), "{error}");
    assert!(!is_running(pids.apiserver) && !is_running(pids.etcd));

    let options = Options {
        keep: true,
        ..Options::default()
    };
    let kept = ControlPlane::start_with(&assets, &options)
        .unwrap()
        .keep()
        .unwrap();
    let answer = Command::new(&kept.kubectl)
        .arg("--kubeconfig")
        .arg(&kept.kubeconfig)
        .args(["get", "--raw=/readyz"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "ok");
    let ended = Command::new("sh")
        .arg("-c")
        .arg(kept.how_to_end())
        .status()
        .unwrap();
    assert!(ended.success());
    wait_for_end_of([kept.pids.apiserver, kept.pids.etcd]);
    assert!(!kept.folder.exists());
}

/// Set in the process that the test below starts and kills.
const OWNER: &str = "CONTROL_PLANE_TEST_OWNER";

/// A test that is nothing by itself: in its own process, the owner of a control plane who never ends it.
#[test]
fn owner_that_waits_to_be_killed() {
    if env::var_os(OWNER).is_none() {
        return;
    }
    let plane = ControlPlane::start(&assets(&mut |_| ()).unwrap()).unwrap();
    let pids = plane.pids();
    println!(
        "\nowner: {} {} {}",
        pids.apiserver,
        pids.etcd,
        plane.folder().display()
    );
    loop {
        park();
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs the parent death signal")]
fn a_killed_owner_takes_its_servers_along() {
    let assets = assets(&mut |line| println!("{line}")).unwrap();
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", "owner_that_waits_to_be_killed", "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("owner: ").map(str::to_owned))
        .expect("the owner says what it started");
    let [apiserver, etcd, folder] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let servers = [apiserver, etcd].map(|pid| pid.parse().unwrap());
    assert!(servers.iter().all(|pid| is_running(*pid)));

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for_end_of(servers);

    assert!(Path::new(folder).exists(), "nobody was left to remove it");
    drop(ControlPlane::start(&assets).unwrap());
    assert!(!Path::new(folder).exists(), "the next start removes it");
}
