//! The start: ports, keys, flags, and waiting until the API server is ready.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::kubeconfig;
use super::run_folder::RunFolder;
use super::{ControlPlane, Options, User};
use crate::assets::Assets;
use crate::components::{CONTROLLER_MANAGER, SCHEDULER};
use crate::ports::on_free_ports;
use crate::process::{Lifetime, Process, server_command};

/// Generous: a ready API server needs two seconds here, and much more on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn start(assets: &Assets, options: &Options) -> anyhow::Result<ControlPlane> {
    on_free_ports(|addresses| start_once(assets, options, addresses))
}

fn start_once(
    assets: &Assets,
    options: &Options,
    [etcd_address, apiserver_address]: [SocketAddr; 2],
) -> anyhow::Result<ControlPlane> {
    let Options {
        audit_policy,
        users,
        service_accounts,
        apiserver_args,
        keep,
    } = options;
    let users = [users.clone(), components()].concat();
    let lifetime = if *keep {
        Lifetime::Unbound
    } else {
        Lifetime::OfThisProcess
    };
    let deadline = Instant::now() + DEADLINE;
    let folder = RunFolder::new()?;
    let url = format!("https://{apiserver_address}");
    kubeconfig::write(&folder, &url, &users)?;

    let mut server = server_command(&assets.etcd(), lifetime);
    server.args(etcd_flags(&folder, etcd_address));
    let mut etcd = Process::spawn("etcd", server, &folder.path().join("etcd.log"))?;
    // The API server waits a whole second before it asks an absent etcd again.
    wait_for_port(&mut etcd, etcd_address, deadline)?;

    let mut server = server_command(&assets.kube_apiserver(), lifetime);
    server
        .args(apiserver_flags(&folder, etcd_address, apiserver_address)?)
        .args(audit_flags(&folder, audit_policy.as_deref())?)
        .args(admission_flags(*service_accounts))
        .args(apiserver_args);
    let log = folder.path().join("kube-apiserver.log");
    let apiserver = Process::spawn("kube-apiserver", server, &log)?;

    let mut control_plane = ControlPlane {
        apiserver,
        etcd,
        folder,
        url,
        kubectl: assets.kubectl(),
        users,
        may_be_kept: *keep,
    };
    wait_until_ready(&mut control_plane, deadline)?;
    Ok(control_plane)
}

/// Who schedules and controls is known by the names that the API server has roles for.
fn components() -> Vec<User> {
    [SCHEDULER, CONTROLLER_MANAGER].map(User::new).to_vec()
}

fn etcd_flags(folder: &RunFolder, address: SocketAddr) -> Vec<String> {
    // A single member has no peers; port 0 lets it listen anywhere.
    let peer = "http://127.0.0.1:0";
    vec![
        format!("--data-dir={}", folder.path().join("etcd").display()),
        // The data live as long as the process: a power cut loses nothing that matters.
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls=http://{address}"),
        format!("--advertise-client-urls=http://{address}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

fn apiserver_flags(
    folder: &RunFolder,
    etcd: SocketAddr,
    address: SocketAddr,
) -> anyhow::Result<Vec<String>> {
    let service_account = rcgen::KeyPair::generate().context("cannot generate a key")?;
    let signing_key = folder.path().join("service-account.key");
    let public_key = folder.path().join("service-account.pub");
    kubeconfig::save(&signing_key, &service_account.serialize_pem())?;
    kubeconfig::save(&public_key, &service_account.public_key_pem())?;
    Ok(vec![
        format!("--etcd-servers=http://{etcd}"),
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        // Without these it looks for a network interface that other machines can reach.
        format!("--advertise-address={}", address.ip()),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        format!("--cert-dir={}", folder.certificates().display()),
        format!("--token-auth-file={}", folder.tokens().display()),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-signing-key-file={}",
            signing_key.display()
        ),
        format!("--service-account-key-file={}", public_key.display()),
        // Security agents, whose readiness all this is about, are privileged pods.
        "--allow-privileged=true".to_owned(),
    ])
}

fn audit_flags(folder: &RunFolder, policy: Option<&str>) -> anyhow::Result<Vec<String>> {
    let Some(policy) = policy else {
        return Ok(Vec::new());
    };
    let path = folder.path().join("audit-policy.yaml");
    kubeconfig::save(&path, policy)?;
    Ok(vec![
        format!("--audit-policy-file={}", path.display()),
        format!("--audit-log-path={}", folder.audit_log().display()),
    ])
}

/// Without a controller nothing creates the default service accounts that this plugin waits for.
fn admission_flags(service_accounts: bool) -> Option<&'static str> {
    (!service_accounts).then_some("--disable-admission-plugins=ServiceAccount")
}

fn wait_for_port(
    server: &mut Process,
    address: SocketAddr,
    deadline: Instant,
) -> anyhow::Result<()> {
    while TcpStream::connect(address).is_err() {
        server.check_running()?;
        if Instant::now() >= deadline {
            bail!(
                "etcd does not listen on {address} after {} s. The end of its log:\n{}",
                DEADLINE.as_secs(),
                server.log_tail(),
            );
        }
        sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Asks by kubectl, which is there anyway: an HTTP client with TLS would be one more dependency.
fn wait_until_ready(control_plane: &mut ControlPlane, deadline: Instant) -> anyhow::Result<()> {
    // The API server opens its port long before it answers, and a request waits meanwhile.
    let ask = ["get", "--raw=/readyz", "--request-timeout=3s"];
    loop {
        // The certificate is written at once with the port; before, kubectl has nothing to trust.
        let answer = control_plane.kubectl(&ask)?;
        // Ours must be alive, or it is another server that answered on our port.
        control_plane.etcd.check_running()?;
        control_plane.apiserver.check_running()?;
        if answer.status.success() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "kube-apiserver is not ready after {} s. It answered: {}\nThe end of its log:\n{}",
                DEADLINE.as_secs(),
                String::from_utf8_lossy(&answer.stderr).trim(),
                control_plane.apiserver.log_tail(),
            );
        }
        sleep(POLL_INTERVAL);
    }
}
