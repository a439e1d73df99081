//! A page as OTLP says it, in JSON: `ExportMetricsServiceRequest` (opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding: 64-bit
//! integers are strings, enumerations numbers).

use serde_json::{Value as Json, json};

use super::{Durations, Exposition, Family, Kind, Sample, Value, seconds};
use crate::exponential::{FIRST, SCHEMA, ZERO};

/// AGGREGATION_TEMPORALITY_CUMULATIVE.
const CUMULATIVE: u32 = 2;

/// When the counting began and now, in nanoseconds of Unix time.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub start: u64,
    pub now: u64,
}

/// The whole request, as one line.
pub fn request(page: &Exposition, times: Times) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let resource = json!({ "attributes": [attribute("service.name", "relay"), attribute("service.version", version)] });
    let families = page.families.iter().filter(|family| !family.samples.is_empty());
    let metrics: Vec<Json> = families.map(|family| metric(family, times)).collect();
    let scope = json!({ "scope": { "name": "relay", "version": version }, "metrics": metrics });
    json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [scope] }] }).to_string()
}

fn attribute(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn metric(family: &Family, times: Times) -> Json {
    let points: Vec<Json> = family.samples.iter().map(|sample| point(family.kind, sample, times)).collect();
    let mut metric = json!({ "name": family.name, "description": family.help });
    let unit = if family.name.contains("_seconds") { "s" } else { "1" };
    metric["unit"] = unit.into();
    match family.kind {
        Kind::Counter => {
            metric["sum"] = json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true });
        }
        Kind::Gauge => metric["gauge"] = json!({ "dataPoints": points }),
        Kind::Histogram => {
            metric["exponentialHistogram"] = json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE });
        }
    }
    metric
}

fn point(kind: Kind, sample: &Sample, Times { start, now }: Times) -> Json {
    let attributes: Vec<Json> = sample.labels.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut point = json!({ "attributes": attributes, "timeUnixNano": now.to_string() });
    if kind != Kind::Gauge {
        point["startTimeUnixNano"] = start.to_string().into();
    }
    match &sample.value {
        Value::Count(count) => point["asInt"] = count.to_string().into(),
        Value::Seconds(seconds) => point["asDouble"] = (*seconds).into(),
        Value::Durations(durations) => add_durations(&mut point, durations),
    }
    point
}

fn add_durations(point: &mut Json, Durations { counts, sum_ms, fine, .. }: &Durations) {
    let (none, fine) = fine.split_first().map_or((0, &[][..]), |(none, fine)| (*none, fine));
    let first = fine.iter().position(|count| *count > 0).unwrap_or(0);
    let end = fine.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
    let buckets: Vec<String> = fine[first..end].iter().map(u64::to_string).collect();
    point["count"] = counts.iter().sum::<u64>().to_string().into();
    point["sum"] = seconds(*sum_ms).into();
    point["scale"] = SCHEMA.into();
    point["zeroCount"] = none.to_string().into();
    point["zeroThreshold"] = ZERO.into();
    // A bucket is known by its lower bound here, and by its upper one to Prometheus.
    point["positive"] = json!({ "offset": FIRST - 1 + first as i32, "bucketCounts": buckets });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn families_become_sums_gauges_and_exponential_histograms() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "A.").labelled(&[("worker", &1)], 3);
        page.family("b", Kind::Gauge, "B.").value(4);
        let mut fine = vec![0; 20];
        (fine[0], fine[3], fine[5]) = (1, 2, 1);
        let durations = Durations { bounds_ms: &[5], counts: vec![3, 1], sum_ms: 1_500, fine };
        page.family("c_seconds", Kind::Histogram, "C.").durations(durations);
        page.family("empty", Kind::Gauge, "Nothing.");
        let said: Json = serde_json::from_str(&request(&page, Times { start: 1, now: 2 })).unwrap();
        let metrics = &said["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(metrics.as_array().unwrap().len(), 3);
        assert_eq!(
            metrics[0]["sum"],
            json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{
                "attributes": [{ "key": "worker", "value": { "stringValue": "1" } }],
                "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3" }] })
        );
        assert_eq!(metrics[1]["gauge"]["dataPoints"][0]["asInt"], "4");
        let point = &metrics[2]["exponentialHistogram"]["dataPoints"][0];
        assert_eq!((&point["count"], &point["sum"], &point["zeroCount"]), (&json!("4"), &json!(1.5), &json!("1")));
        assert_eq!(point["positive"], json!({ "offset": FIRST + 1, "bucketCounts": ["2", "0", "1"] }));
    }
}
