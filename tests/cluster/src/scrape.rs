//! The metrics of a host, read as a scraper reads them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::wait;

/// One scrape.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// `Content-Type` of the answer.
    pub content_type: String,
    /// The answer.
    pub text: String,
    kinds: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Asks `address` for `/metrics`.
    ///
    /// # Errors
    /// Nobody answers, or not with metrics.
    pub async fn of(address: &str) -> anyhow::Result<Self> {
        let connection = TcpStream::connect(address).await?;
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
        tokio::spawn(connection);
        let request = http::Request::get("/metrics")
            .header(http::header::HOST, address)
            .body(Empty::<Bytes>::new())?;
        let response = send.send_request(request).await?;
        ensure!(response.status() == 200, "answered {}", response.status());
        let content_type = response.headers().get(http::header::CONTENT_TYPE);
        let content_type = content_type
            .context("no Content-Type")?
            .to_str()?
            .to_owned();
        let body = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.to_vec())?;
        let mut scrape = Self {
            content_type,
            kinds: BTreeMap::new(),
            values: BTreeMap::new(),
            text: String::new(),
        };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a TYPE without a type")?;
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').context("a line without a value")?;
                scrape.values.insert(series.to_owned(), value.parse()?);
            }
        }
        scrape.text = text;
        Ok(scrape)
    }

    /// The value of a series, once that changes no more: what there was to be done is done.
    ///
    /// # Errors
    /// As [`Scrape::of`]; or it went on changing for a minute.
    pub async fn settled(address: &str, series: &str) -> anyhow::Result<f64> {
        let last = Mutex::new((f64::NAN, 0));
        wait::until(&format!("{series} changes no more"), || async {
            let now = Self::of(address).await?.get(series).unwrap_or_default();
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let (value, times) = &mut *last;
            *times = if *value == now { *times + 1 } else { 0 };
            *value = now;
            Ok(match *times {
                10.. => Ok(now),
                _ => Err(now.to_string()),
            })
        })
        .await
    }

    /// The value of a series, written as it is printed: labels sorted by name.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// All series.
    pub fn series(&self) -> impl Iterator<Item = &String> {
        self.values.keys()
    }

    /// The type of a family.
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.kinds.get(family).map(String::as_str)
    }
}
