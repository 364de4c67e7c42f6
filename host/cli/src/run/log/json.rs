//! JSON lines with the keys of zap, as the Go controller logs: what reads its log reads ours.

use std::fmt;
use std::io;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// How a time is written, in the words of zap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TimeEncoding {
    /// Seconds since 1970, with a fraction.
    Epoch,
    /// Milliseconds since 1970.
    Millis,
    /// Nanoseconds since 1970.
    Nano,
    /// To the millisecond.
    Iso8601,
    /// To the second.
    Rfc3339,
    /// To the nanosecond.
    #[default]
    Rfc3339nano,
}

impl TimeEncoding {
    fn encode(self, now: Timestamp) -> Value {
        match self {
            Self::Epoch => Value::from(now.as_duration().as_secs_f64()),
            Self::Millis => Value::from(now.as_duration().as_millis_f64()),
            Self::Nano => i64::try_from(now.as_nanosecond()).map_or(Value::Null, Value::from),
            Self::Iso8601 => Value::from(format!("{now:.3}")),
            Self::Rfc3339 => Value::from(format!("{now:.0}")),
            Self::Rfc3339nano => Value::from(now.to_string()),
        }
    }
}

/// Writes an event as one line.
#[derive(Debug)]
pub struct Json {
    pub times: TimeEncoding,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.lookup_current().and_then(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>()?;
            Some(format!("{}{{{}}}", span.name(), fields.fields))
        });
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let logger = event.metadata().target();
        let line = fields.line(level, &self.times.encode(Timestamp::now()), logger, span);
        let line = line.map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    /// Where the event comes from another logger.
    logger: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn line(
        &self,
        level: &str,
        time: &Value,
        logger: &str,
        span: Option<String>,
    ) -> io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(256);
        let mut json = serde_json::Serializer::new(&mut line);
        let mut map = json.serialize_map(None)?;
        map.serialize_entry("level", level)?;
        map.serialize_entry("ts", time)?;
        map.serialize_entry("logger", self.logger.as_deref().unwrap_or(logger))?;
        map.serialize_entry("msg", &self.message)?;
        for (name, value) in &self.others {
            map.serialize_entry(name, value)?;
        }
        if let Some(span) = span {
            map.serialize_entry("span", &span)?;
        }
        map.end()?;
        Ok(line)
    }

    fn take(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                self.message = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
            }
            "log.target" => self.logger = value.as_str().map(str::to_owned),
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged while `log` runs.
    fn logged(times: TimeEncoding, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Json { times })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_the_keys_of_zap() {
        let line = logged(TimeEncoding::Nano, || {
            let taint = format_args!("a/b:NoSchedule").to_string();
            tracing::warn!(node = "n\"1", %taint, done = true, number = 2, "taint {}", "added");
        });
        assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        let start = r#"{"level":"warn","ts":"#;
        assert!(line.starts_with(start), "{line}");
        let end = r#","logger":"host::run::log::json::tests","msg":"taint added","node":"n\"1","taint":"a/b:NoSchedule","done":true,"number":2}"#;
        assert!(line.trim_end().ends_with(end), "{line}");
    }

    #[test]
    fn what_happens_in_a_span_says_so() {
        let line = logged(TimeEncoding::default(), || {
            let span = tracing::debug_span!("HTTP", method = "GET");
            span.in_scope(|| tracing::debug!("requesting"));
        });
        assert!(line.contains(r#""span":"HTTP{method=\"GET\"}""#), "{line}");
    }

    #[test]
    fn times_are_encoded_as_zap_does_it() {
        let now: Timestamp = "2026-01-02T03:04:05.75Z".parse().unwrap();
        for (encoding, expected) in [
            (TimeEncoding::Epoch, "1767323045.75"),
            (TimeEncoding::Millis, "1767323045750.0"),
            (TimeEncoding::Nano, "1767323045750000000"),
            (TimeEncoding::Iso8601, "\"2026-01-02T03:04:05.750Z\""),
            (TimeEncoding::Rfc3339, "\"2026-01-02T03:04:05Z\""),
            (TimeEncoding::Rfc3339nano, "\"2026-01-02T03:04:05.75Z\""),
        ] {
            assert_eq!(encoding.encode(now).to_string(), expected);
        }
    }
}
