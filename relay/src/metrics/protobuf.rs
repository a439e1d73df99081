//! Prometheus' protobuf: messages `io.prometheus.client.MetricFamily` (prometheus/client_model, metrics.proto), each behind its length.
//! Written by hand: seven small messages, and only what a scraper reads of them.

use super::{Durations, Family, Kind, Sample, Value, seconds};
use crate::exponential::{FIRST, SCHEMA, ZERO};

pub(super) fn write(families: &[Family]) -> Vec<u8> {
    let mut page = Message::default();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let mut message = Message::default();
        message.text(1, family.name);
        message.text(2, family.help);
        message.number(3, kind(family.kind));
        for sample in &family.samples {
            message.message(4, &metric(family.kind, sample));
        }
        page.varint(message.0.len() as u64);
        page.0.extend_from_slice(&message.0);
    }
    page.0
}

/// `MetricType`.
const fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    }
}

/// `Metric`.
fn metric(kind: Kind, sample: &Sample) -> Message {
    let mut message = Message::default();
    for (name, value) in &sample.labels {
        let mut pair = Message::default();
        pair.text(1, name);
        pair.text(2, value);
        message.message(1, &pair);
    }
    let (field, value) = match (&sample.value, kind) {
        (Value::Durations(durations), _) => (7, histogram(durations)),
        (Value::Count(count), Kind::Counter) => (3, number(*count as f64)),
        (Value::Seconds(seconds), Kind::Counter) => (3, number(*seconds)),
        (Value::Count(count), _) => (2, number(*count as f64)),
        (Value::Seconds(seconds), _) => (2, number(*seconds)),
    };
    message.message(field, &value);
    message
}

/// `Counter` and `Gauge` look the same.
fn number(value: f64) -> Message {
    let mut message = Message::default();
    message.double(1, value);
    message
}

/// `Histogram`: the classic buckets, and the native ones.
fn histogram(Durations { bounds_ms, counts, sum_ms, fine }: &Durations) -> Message {
    let mut message = Message::default();
    message.number(1, counts.iter().sum());
    message.double(2, seconds(*sum_ms));
    let mut below = 0;
    for (bound, count) in bounds_ms.iter().zip(counts) {
        below += count;
        let mut bucket = Message::default();
        bucket.number(1, below);
        bucket.double(2, seconds(*bound));
        message.message(3, &bucket);
    }
    let Some((none, fine)) = fine.split_first() else { return message };
    message.number(5, zigzag(SCHEMA.into()));
    message.double(6, ZERO);
    message.number(7, *none);
    let (mut spans, mut deltas, mut before) = (Vec::new(), Message::default(), 0i64);
    for (place, count) in fine.iter().enumerate().filter(|(_, count)| **count > 0) {
        match spans.last_mut() {
            Some((start, length)) if *start + *length == place => *length += 1,
            _ => spans.push((place, 1)),
        }
        deltas.varint(zigzag(*count as i64 - before));
        before = *count as i64;
    }
    let mut end = None;
    for (start, length) in &spans {
        // The first offset is a bucket's number, the others count empty buckets in between.
        let offset = end.map_or(FIRST as i64 + *start as i64, |end: usize| (*start - end) as i64);
        let mut span = Message::default();
        span.number(1, zigzag(offset));
        span.number(2, *length as u64);
        message.message(12, &span);
        end = Some(start + length);
    }
    if spans.is_empty() {
        // An empty span says that this is a native histogram in which nothing was counted yet.
        message.message(12, &Message::default());
    }
    message.bytes(13, &deltas.0);
    message
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The wire format (protobuf.dev/programming-guides/encoding).
#[derive(Default)]
struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Exposition, Format};

    #[test]
    fn a_counter_is_what_protoc_makes_of_it() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "H.").labelled(&[("l", &"v")], 300);
        page.family("empty", Kind::Gauge, "Nothing is said of a family without samples.");
        // printf 'name: "a_total" help: "H." type: COUNTER metric { label { name: "l" value: "v" } counter { value: 300 } }' |
        //   protoc --encode=io.prometheus.client.MetricFamily metrics.proto, behind its length; proto2 leaves no zero out.
        let expected = b"\x24\x0a\x07a_total\x12\x02H.\x18\x00\x22\x13\x0a\x06\x0a\x01l\x12\x01v\x1a\x09\x09\x00\x00\x00\x00\x00\xc0\x72\x40";
        assert_eq!(page.write(Format::Protobuf), expected);
    }

    #[test]
    fn runs_of_buckets_are_spans_and_counts_are_differences() {
        let mut fine = vec![0; 20];
        (fine[0], fine[3], fine[4], fine[9]) = (7, 2, 5, 1);
        let durations = Durations { bounds_ms: &[], counts: vec![15], sum_ms: 0, fine };
        let bytes = histogram(&durations).0;
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        // From bucket -77 two of them, zigzag in two bytes; four buckets further one.
        assert!(holds(&[0x62, 5, 0x08, 0x99, 0x01, 0x10, 2]), "{bytes:?}");
        assert!(holds(&[0x62, 4, 0x08, 8, 0x10, 1]), "{bytes:?}");
        // 2, then 3 more, then 4 fewer.
        assert!(bytes.ends_with(&[0x6a, 3, 4, 6, 7]), "{bytes:?}");
    }
}
