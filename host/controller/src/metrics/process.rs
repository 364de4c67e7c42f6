//! `process_…`: what the kernel knows about this process, with the names of the Prometheus clients.
//! None where there is no `/proc`.

use std::fs;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Error, Gauge};
use rustix::process::{Resource, getrlimit};

pub(super) fn collect() -> Result<Vec<MetricFamily>, Error> {
    let mut families = Vec::new();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| -> Result<(), Error> {
        if let Some(value) = value {
            let gauge = Gauge::new(name, help)?;
            gauge.set(value);
            families.extend(gauge.collect());
        }
        Ok(())
    };
    let stat = Stat::read();
    let stat = stat.as_ref();
    gauge(
        "process_open_fds",
        "Open file descriptors.",
        fs::read_dir("/proc/self/fd")
            .ok()
            .map(|open| to_f64(open.count() as u64)),
    )?;
    gauge(
        "process_max_fds",
        "The most file descriptors that may be open.",
        getrlimit(Resource::Nofile).current.map(to_f64),
    )?;
    gauge(
        "process_virtual_memory_bytes",
        "Size of the address space that is in use.",
        stat.map(|stat| stat.virtual_bytes),
    )?;
    gauge(
        "process_virtual_memory_max_bytes",
        "The most address space that may be used; -1: no limit.",
        Some(getrlimit(Resource::As).current.map_or(-1.0, to_f64)),
    )?;
    gauge(
        "process_resident_memory_bytes",
        "Memory that is in RAM.",
        stat.map(|stat| stat.resident_bytes),
    )?;
    gauge(
        "process_start_time_seconds",
        "When the process started, as Unix time.",
        stat.and_then(|stat| Some(boot_time()? + stat.started)),
    )?;
    let mut counter = |name: &str, help: &str, value: Option<f64>| -> Result<(), Error> {
        if let Some(value) = value {
            let counter = Counter::new(name, help)?;
            counter.inc_by(value);
            families.extend(counter.collect());
        }
        Ok(())
    };
    counter(
        "process_cpu_seconds_total",
        "CPU time, of the program and of the kernel for it.",
        stat.map(|stat| stat.cpu),
    )?;
    let traffic = traffic();
    counter(
        "process_network_receive_bytes_total",
        "Bytes that the network namespace of the process received.",
        traffic.map(|(received, _)| received),
    )?;
    counter(
        "process_network_transmit_bytes_total",
        "Bytes that the network namespace of the process sent.",
        traffic.map(|(_, sent)| sent),
    )?;
    Ok(families)
}

/// From `/proc/self/stat`, in seconds and bytes.
#[derive(Debug)]
struct Stat {
    cpu: f64,
    /// After the boot of the machine.
    started: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The fields are counted from the one after the name, which may hold anything, in brackets.
    /// proc(5) counts it as the third.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| -> Option<f64> {
            fields.get(number - 3)?.parse::<u64>().ok().map(to_f64)
        };
        let tick = to_f64(rustix::param::clock_ticks_per_second());
        Some(Self {
            cpu: (field(14)? + field(15)?) / tick,
            started: field(22)? / tick,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * to_f64(rustix::param::page_size() as u64),
        })
    }
}

/// When the machine booted, as Unix time.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// Received and sent, in bytes: two lines of names and values in `/proc/self/net/netstat`.
fn traffic() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| -> Option<f64> {
        let index = names.split_whitespace().position(|name| name == wanted)?;
        values.split_whitespace().nth(index)?.parse().ok()
    };
    Some((value("InOctets")?, value("OutOctets")?))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of this size are exact up to 2^53, and shown as such by every client"
)]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_brackets() {
        let fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        let text = format!("1 (a) b (c) {}", fields.join(" "));
        let stat = Stat::parse(&text).unwrap();
        let tick = to_f64(rustix::param::clock_ticks_per_second());
        assert!((stat.cpu - 29.0 / tick).abs() < 1e-9);
        assert!((stat.started - 22.0 / tick).abs() < 1e-9);
        assert!((stat.virtual_bytes - 23.0).abs() < 1e-9);
        assert!(Stat::parse("1 (a").is_none());
    }
}
