//! What the reporter takes of its node, beside a plain client that makes the same requests.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a benchmark is for"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use cluster_tests::reporter::{ACCOUNT, documented_rights};
use cluster_tests::scale::{images, node_json};
use cluster_tests::{Cluster, Endpoint, Reporter, Settings, audit, reporter_program};
use control_plane::{Lifetime, Options, Process, User, command, peak_memory_kib};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, GetParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};

const CONDITION: &str = "example.com/AgentReady";
/// The user of the plain client, and its node.
const PLAIN: &str = "plain";
/// As often as the reporter looks whether somebody else changed the node.
const LOOK: Duration = Duration::from_secs(10);

/// Lets a reporter and a plain client watch an endpoint for a while.
#[derive(Parser)]
struct Arguments {
    /// From one check to the next, in seconds.
    #[arg(long, default_value_t = 5.0)]
    interval: f64,
    /// From one heartbeat to the next, in seconds.
    #[arg(long, default_value_t = 300)]
    heartbeat: u64,
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many images each node lists.
    #[arg(long, default_value_t = 40)]
    images: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Be the plain client.
    #[command(hide = true)]
    Plain {
        kubeconfig: PathBuf,
        endpoint: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::Plain {
        kubeconfig,
        endpoint,
    }) = &arguments.role
    {
        return plain(&arguments, kubeconfig, endpoint).await;
    }
    let result = measure(&arguments).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    println!(
        "{:<34} {:>12} {:>12} {:>8}",
        "", "reporter", "plain client", "ratio"
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let cell = |name: &str| row[name].as_f64().unwrap_or_default();
        let (ours, theirs) = (cell("reporter"), cell("plain client"));
        let what = row["what"].as_str().unwrap_or_default();
        println!(
            "{what:<34} {ours:>12.2} {theirs:>12.2} {:>8.2}",
            ours / theirs
        );
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        users: vec![User {
            name: PLAIN.to_owned(),
            groups: vec!["system:masters".to_owned()],
        }],
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |line| eprintln!("{line}"))?;
    let cluster = Cluster::start_with(&assets, &options).await?;
    cluster.apply(&documented_rights()?)?;
    for name in [ACCOUNT, PLAIN] {
        let node: Node = serde_json::from_value(node_json(name, &images(arguments.images)))?;
        cluster
            .nodes()
            .create(&PostParams::default(), &node)
            .await?;
        // A creation stores no status.
        cluster
            .nodes()
            .replace_status(name, &PostParams::default(), &{
                let mut stored = cluster.nodes().get(name).await?;
                stored.status = node.status;
                stored
            })
            .await?;
    }
    let endpoints = (Endpoint::start().await?, Endpoint::start().await?);
    for endpoint in [&endpoints.0, &endpoints.1] {
        endpoint.set_ready(true);
    }
    let Arguments {
        interval,
        heartbeat,
        seconds,
        ..
    } = arguments;
    let settings = Settings::new(ACCOUNT, &endpoints.0.url("/healthz"), CONDITION)
        .set("CHECK_INTERVAL", format!("{interval}s"))
        .set("HEARTBEAT_PERIOD", format!("{heartbeat}s"));
    let reporter = Reporter::start(&cluster, &settings)?;
    let this = std::env::current_exe()?;
    let mut other = command(&this, Lifetime::OfThisProcess);
    other
        .args(["--interval", &interval.to_string()])
        .args(["--heartbeat", &heartbeat.to_string()])
        .arg("plain")
        .arg(cluster.plane.kubeconfig_for(PLAIN)?)
        .arg(endpoints.1.url("/healthz"));
    let mut other = Process::spawn("the plain client", other, &cluster.new_log())?;
    for name in [ACCOUNT, PLAIN] {
        cluster.until_condition(name, CONDITION, "True").await?;
    }

    eprintln!("both have written; now {seconds} s");
    let pids = [reporter.pid(), other.pid()];
    let begun = Instant::now();
    let before = [cpu(pids[0])?, cpu(pids[1])?];
    sleep(Duration::from_secs(*seconds)).await;
    let used = [cpu(pids[0])? - before[0], cpu(pids[1])? - before[1]];
    let elapsed = begun.elapsed();
    ensure!(other.exit_status()?.is_none(), "{}", other.log_tail());
    let memory = [peak_memory_kib(pids[0])?, peak_memory_kib(pids[1])?];
    let checks = [endpoints.0.asked().len(), endpoints.1.asked().len()];
    reporter.terminate().await?;
    drop(other);
    let account = format!("system:serviceaccount:{ACCOUNT}:{ACCOUNT}");
    let count = |user: &str, verb: &str| -> anyhow::Result<usize> {
        let requests = audit::read(&cluster.plane.audit_log(), &[user])?;
        let counts =
            |request: &&audit::Request| request.verb == verb && request.resource == "nodes";
        Ok(requests.iter().filter(counts).count())
    };
    let size = |path: &Path| anyhow::Ok(std::fs::metadata(path)?.len() as f64 / 1e6);
    let row = |what: &str, ours: f64, theirs: f64| json!({ "what": what, "reporter": ours, "plain client": theirs });
    let load = |used: Duration| used.as_secs_f64() / elapsed.as_secs_f64() * 1000.0;
    Ok(json!({
        "seconds": elapsed.as_secs_f64(),
        "rows": [
            row("program, MB", size(reporter_program()?)?, size(&this)?),
            row("peak memory in RAM, MiB", memory[0] as f64 / 1024.0, memory[1] as f64 / 1024.0),
            row("CPU, thousandths of a core", load(used[0]), load(used[1])),
            row("checks of the endpoint", checks[0] as f64, checks[1] as f64),
            row("GET of the node", count(&account, "get")? as f64, count(PLAIN, "get")? as f64),
            row("PUT of its status", count(&account, "update")? as f64, count(PLAIN, "update")? as f64),
        ],
    }))
}

/// The time that the threads of a process were on a processor; by proc(5)'s `schedstat`, in nanoseconds
/// where `stat` counts hundredths of a second.
fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let time = text.split(' ').next().context("an empty schedstat")?;
        sum += Duration::from_nanos(time.parse()?);
    }
    Ok(sum)
}

/// As one would write it with the client library of the field: typed objects, and no thought of size.
async fn plain(arguments: &Arguments, kubeconfig: &Path, endpoint: &str) -> anyhow::Result<()> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let nodes: Api<Node> = Api::all(Client::try_from(config)?);
    let mut ticks = interval(Duration::from_secs_f64(arguments.interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let heartbeat = Duration::from_secs(arguments.heartbeat);
    let (mut looked, mut written): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        ticks.tick().await;
        let ready = check(endpoint).await.unwrap_or(false);
        let is_old = |time: Option<Instant>, age| time.is_none_or(|time| time.elapsed() >= age);
        if !is_old(looked, LOOK) && !is_old(written, heartbeat) {
            continue;
        }
        let mut node = nodes.get_with(PLAIN, &GetParams::any()).await?;
        looked = Some(Instant::now());
        if is_old(written, heartbeat) {
            set(&mut node, ready);
            nodes
                .replace_status(PLAIN, &PostParams::default(), &node)
                .await?;
            written = Some(Instant::now());
        }
    }
}

async fn check(endpoint: &str) -> anyhow::Result<bool> {
    let uri: http::Uri = endpoint.parse()?;
    let host = uri.authority().context("no host")?.as_str();
    let connection = TcpStream::connect(host).await?;
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    let request = http::Request::get(uri.path())
        .header(http::header::HOST, host)
        .body(Empty::<Bytes>::new())?;
    let response = send.send_request(request).await?;
    let ready = response.status().is_success();
    response.into_body().collect().await?;
    Ok(ready)
}

fn set(node: &mut Node, ready: bool) {
    let now = Some(Time(Timestamp::now()));
    let status = node.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != CONDITION);
    conditions.push(NodeCondition {
        type_: CONDITION.to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        reason: Some("EndpointOK".to_owned()),
        last_heartbeat_time: now.clone(),
        last_transition_time: now,
        ..NodeCondition::default()
    });
}
