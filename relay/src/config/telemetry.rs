//! The `[telemetry]` section: where metrics are pushed to, beside the listener they are fetched from.

use std::path::Path;

use super::backend;
use super::problems::{Collector, quoted};
use super::secret::Secret;
use super::settings::Backend;
use super::table::{At, Table};

/// Where metrics go, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Takes OTLP over HTTP, in JSON. It is told no secret: `secret` is empty.
    pub otlp: Option<Backend>,
    pub interval_secs: u32,
}

impl Default for Telemetry {
    /// As often as Prometheus usually asks.
    fn default() -> Telemetry {
        Telemetry { otlp: None, interval_secs: 15 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Written {
    otlp_url: Option<At<String>>,
    ca: Option<At<String>>,
    interval_secs: Option<At<u64>>,
}

pub(super) fn read(table: &Table<'_>, found: &mut Collector) -> Written {
    Written {
        otlp_url: table.string("otlp_url", found),
        ca: table.string("ca", found),
        interval_secs: table.number("interval_secs", found),
    }
}

pub(super) fn telemetry(written: &Written, base_dir: &Path, found: &mut Collector) -> Telemetry {
    let default = Telemetry::default();
    if let Some(zero) = written.interval_secs.as_ref().filter(|it| it.value == 0) {
        found.value(zero.at, "telemetry.interval_secs is at least 1".to_owned());
    }
    let interval = written.interval_secs.as_ref().and_then(|it| u32::try_from(it.value).ok());
    Telemetry {
        otlp: written.otlp_url.as_ref().and_then(|url| collector(url, written, base_dir, found)),
        interval_secs: interval.unwrap_or(default.interval_secs).max(1),
    }
}

/// Numbers about nobody may travel in the open: collectors stand in one's own network.
fn collector(url: &At<String>, written: &Written, base_dir: &Path, found: &mut Collector) -> Option<Backend> {
    let Some((https, host, port, path)) = backend::parts(&url.value) else {
        found.value(url.at, format!("telemetry.otlp_url: {} is not https://host/v1/metrics", quoted(&url.value)));
        return None;
    };
    let ca = written.ca.as_ref().map(|ca| base_dir.join(&ca.value));
    Some(Backend { https, host, port, path, secret: Secret::new(""), ca })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::parse;
    use std::path::Path;

    #[test]
    fn a_collector_is_found_by_its_url_and_asked_as_often_as_written() {
        let settings =
            parse("telemetry.otlp_url = 'http://collector:4318/v1/metrics'", Path::new("")).unwrap().telemetry;
        let otlp = settings.otlp.unwrap();
        assert_eq!(
            (otlp.https, otlp.host.as_str(), otlp.port, otlp.path.as_str()),
            (false, "collector", 4318, "/v1/metrics")
        );
        assert_eq!(settings.interval_secs, 15);
        for wrong in
            ["telemetry.otlp_url = 'collector'", "telemetry.interval_secs = 0", "telemetry.interval_secs = 3601"]
        {
            assert!(parse(wrong, Path::new("")).is_err(), "{wrong}");
        }
    }
}
