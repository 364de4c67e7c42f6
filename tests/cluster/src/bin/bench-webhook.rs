//! How long the webhook thinks about a rule when there are many others with the same taint.
#![expect(clippy::print_stderr, reason = "what a benchmark is for")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use api::NodeReadinessRule;
use clap::Parser;
use cluster_tests::scale::percentile;
use cluster_tests::webhook::{Authority, Folder};
use cluster_tests::{Cluster, bench, wait};
use control_plane::cpu_seconds;
use http::Request;
use k8s_openapi::ByteString;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};

/// Asks for a rule whose selector must be compared with that of every other.
#[derive(Parser)]
struct Arguments {
    /// How many rules there are, all with one taint.
    #[arg(long, default_value_t = 1000)]
    rules: usize,
    /// How many expressions each selector has.
    #[arg(long, default_value_t = 32)]
    expressions: usize,
    /// How often it is asked, one after the other.
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    bench::print(&measure(&arguments).await?, arguments.json)
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments {
        rules,
        expressions,
        requests,
        json: _,
    } = *arguments;
    let cluster = Cluster::start().await?;
    bench::create_rules(&cluster, 0..rules, |number| rule(number, expressions)).await?;
    let authority = Authority::new()?;
    let folder = Folder::with(&authority.sign(90)?)?;
    let (host, address) = cluster
        .start_webhook(&cluster.kubeconfig(), &folder, &[])
        .await?;
    wait::until_true("the host knows every rule", || async {
        let listed = cluster.rules().list(&Default::default()).await?;
        Ok(listed.iter().all(|rule| !rule.finalizers().is_empty()))
    })
    .await?;
    cluster
        .configure_webhook(address, Some(&authority.pem))
        .await?;
    cluster.until_asked().await?;
    eprintln!("{rules} rules are there; asking");

    let new = rule(rules, expressions)?;
    let client = client(address, &authority.pem).await?;
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "a-benchmark", "operation": "CREATE", "name": new.name_any(), "userInfo": {},
            "kind": {"group": "readiness.node.x-k8s.io", "version": "v1alpha1", "kind": "NodeReadinessRule"},
            "resource": {"group": "readiness.node.x-k8s.io", "version": "v1alpha1", "resource": "nodereadinessrules"},
            "object": new,
        },
    });
    let body = serde_json::to_vec(&review)?;
    let cpu = cpu_seconds(host.pid())?;
    let direct = times(requests, async || {
        let request = Request::post(api::webhook::PATH).body(body.clone())?;
        let answer: Value = client.request(request).await?;
        ensure!(answer["response"]["allowed"] == true, "{answer}");
        Ok(())
    })
    .await?;
    let cpu = cpu_seconds(host.pid())? - cpu;
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = cluster.rules();
    let whole = times(requests, async || {
        api.create(&parameters, &new).await?;
        Ok(())
    })
    .await?;
    host.terminate().await?;
    Ok(json!({
        "rules with the same taint": rules,
        "expressions in each selector": expressions,
        "requests": requests,
        "answer of the webhook, p50, ms": milliseconds(&direct, 50),
        "answer of the webhook, p99, ms": milliseconds(&direct, 99),
        "host CPU for one answer, ms": format!("{:.2}", cpu * 1000.0 / requests.max(1) as f64),
        "dry-run create through the API server, p50, ms": milliseconds(&whole, 50),
        "dry-run create through the API server, p99, ms": milliseconds(&whole, 99),
    }))
}

/// A rule that must be compared to the last expression with every other, and overlaps with none.
fn rule(number: usize, expressions: usize) -> anyhow::Result<NodeReadinessRule> {
    let others = (1..expressions).map(|index| {
        json!({"key": format!("example.com/label-{index:02}"), "operator": "In", "values": ["one", "two", "three"]})
    });
    let last =
        json!({"key": "example.com/pool", "operator": "In", "values": [format!("pool-{number}")]});
    let expressions: Vec<Value> = others.chain([last]).collect();
    let taint = json!({ "key": "readiness.k8s.io/agent", "effect": "NoSchedule" });
    bench::rule(number, &taint, &json!({ "matchExpressions": expressions }))
}

/// A client as the API server is one: it keeps its connection.
async fn client(address: SocketAddr, authority: &str) -> anyhow::Result<Client> {
    let cluster = json!({
        "server": format!("https://{address}"),
        "certificate-authority-data": ByteString(authority.into()),
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "host", "cluster": cluster}],
        "contexts": [{"name": "host", "context": {"cluster": "host", "user": ""}}],
        "current-context": "host",
    }))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// How long each took, sorted; the first ones are not counted.
async fn times(
    count: usize,
    ask: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    const WARM_UP: usize = 50;
    let mut times = Vec::with_capacity(count);
    for number in 0..count + WARM_UP {
        let started = Instant::now();
        ask().await?;
        if number >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn milliseconds(times: &[Duration], percent: usize) -> String {
    format!("{:.2}", percentile(times, percent).as_secs_f64() * 1000.0)
}
