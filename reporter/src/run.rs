//! The process: checks, the writer, the metrics, and the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use serve::Server;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::api::{Api, InCluster};
use crate::configuration::{Check, Configuration};
use crate::log;
use crate::metrics::Metrics;
use crate::threshold::Believed;
use crate::writer::{Said, Writer};

/// Every version of Prometheus reads it.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Before an address is tried again that somebody else has.
const PAUSE: Duration = Duration::from_secs(10);

/// Runs until it is told to end.
pub fn run(configuration: Configuration, server: InCluster) -> ExitCode {
    let runtime = Builder::new_current_thread()
        .enable_all()
        // Names are looked up on them: one that hangs must not hold up another.
        .max_blocking_threads(4)
        .thread_stack_size(256 * 1024)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!("the asynchronous runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(report(configuration, server));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    code
}

async fn report(configuration: Configuration, server: InCluster) -> ExitCode {
    let Configuration {
        node,
        checks,
        heartbeat,
        metrics: address,
        impersonate,
        unknown_on_exit,
    } = configuration;
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        log::error!("SIGTERM cannot be waited for");
        return ExitCode::FAILURE;
    };
    let metrics = match Metrics::new() {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => {
            log::error!("there can be no metrics: {error}");
            return ExitCode::FAILURE;
        }
    };
    let api = Api::new(server, &node, impersonate);
    let conditions = checks.iter().map(|check| check.condition.clone());
    let mut writer = Writer::new(
        api,
        node.clone(),
        heartbeat,
        conditions,
        Arc::clone(&metrics),
    );
    let said = Arc::new(watch::Sender::new(vec![Said::default(); checks.len()]));
    for (place, check) in checks.into_iter().enumerate() {
        let (condition, probe) = (&check.condition, &check.probe);
        let every = check.interval;
        log::info!("{condition} of node {node}: {probe}, every {every:?}");
        let (said, metrics) = (Arc::clone(&said), Arc::clone(&metrics));
        tokio::spawn(keep_asking(check, place, said, metrics));
    }
    if let Some(address) = address {
        tokio::spawn(serve(address, metrics));
    }
    tokio::select! {
        () = writer.keep(said.subscribe()) => {}
        _ = terminate.recv() => log::info!("told to end by SIGTERM"),
        _ = interrupt.recv() => log::info!("told to end by SIGINT"),
    }
    if unknown_on_exit {
        writer.set_unknown().await;
    }
    ExitCode::SUCCESS
}

async fn keep_asking(
    check: Check,
    place: usize,
    said: Arc<watch::Sender<Vec<Said>>>,
    metrics: Arc<Metrics>,
) {
    let Check {
        condition,
        mut probe,
        interval: period,
        thresholds,
    } = check;
    let mut believed = Believed::new(thresholds);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let begun = Instant::now();
        let outcome = probe.ask().await;
        metrics
            .check_duration
            .observe(begun.elapsed().as_secs_f64());
        metrics.checked(outcome.kind);
        log::detail!(4, "check of {condition}: {}", outcome.report.message);
        let report = believed.after(outcome.report).clone();
        said.send_modify(|said| {
            if let Some(said) = said.get_mut(place) {
                said.report = Some(report);
                said.times += 1;
            }
        });
    }
}

/// Serves metrics as soon as the address is free: on the network of the host, another pod may have it
/// for a while.
async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> Infallible {
    let never = watch::Sender::new(false);
    let mut is_told = false;
    loop {
        match Server::bind(address).await {
            Ok(server) => {
                let address = server.address().unwrap_or(address);
                log::info!("metrics are served at http://{address}/metrics");
                let metrics = Arc::clone(&metrics);
                let answer = move |request| answer(Arc::clone(&metrics), request);
                server.serve(answer, never.subscribe()).await;
            }
            Err(error) if !is_told => {
                is_told = true;
                log::error!(
                    "metrics cannot be served at {address} for now: {error}; \
                     METRICS_BIND_ADDRESS gives another address, 0 none"
                );
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

async fn answer(metrics: Arc<Metrics>, request: Request<Incoming>) -> Response<String> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok".to_owned()),
        "/metrics" => match metrics.print() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "not found; there are /metrics and /healthz\n".to_owned(),
        ),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, FORMAT);
    response
}
