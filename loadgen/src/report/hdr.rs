//! The formats of HdrHistogram: a log of histograms (`.hlog`, for its log readers and processors) and a table of one
//! (`.hgrm`, for its plotter). Values are microseconds in the log and milliseconds in the table.

use std::{
    fmt::Write as _,
    io,
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use super::recorded::{Numbers, Phase, Recorded};
use crate::slice::Moment;

/// Rows of a table between a percentile and half of what is left above it, as HdrHistogram's own output has.
const TICKS_PER_HALF: u32 = 5;

/// Every phase of the window, tagged with its name in objectives, and `setup.second` second by second; `….from_send` counts
/// from the actual start.
pub fn log(result: &Recorded) -> io::Result<Vec<u8>> {
    let (mut out, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let started = result.started().map_or(SystemTime::UNIX_EPOCH, Moment::wall);
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Values are microseconds; interval maxima are shown in milliseconds]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1e3);
    let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
    let window = (Duration::from_secs_f64(result.warmup_secs()), Duration::from_secs_f64(result.measured_secs));
    let mut write = |numbers: &Numbers, at: (Duration, Duration), tag: &str| {
        let tag = Tag::new(tag);
        log.write_histogram(numbers.distribution().histogram(), at.0, at.1, tag).map_err(|error| match error {
            hdrhistogram::serialization::interval_log::IntervalLogWriterError::IoError(error) => error,
            other => io::Error::other(other.to_string()),
        })
    };
    let mut seconds = result.by_start.iter().filter_map(|due| Some((due.t, due.setup.as_ref()?))).peekable();
    // Readers expect the lines in the order of time.
    while let Some((t, setup)) = seconds.next_if(|(t, _)| Duration::from_secs(*t) < window.0) {
        write(setup, (Duration::from_secs(t), Duration::from_secs(1)), "setup.second")?;
    }
    for phase in result.phases() {
        write(phase.corrected, window, phase.key)?;
        write(phase.uncorrected, window, &format!("{}.from_send", phase.key))?;
    }
    for (t, setup) in seconds {
        write(setup, (Duration::from_secs(t), Duration::from_secs(1)), "setup.second")?;
    }
    Ok(out)
}

/// The percentile distribution of one phase, from the intended start.
pub fn table(phase: &Phase) -> String {
    let distribution = phase.corrected.distribution();
    let histogram = distribution.histogram();
    let mut out = format!("#[{}, milliseconds, from the intended start]\n", phase.name);
    let _ = writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        let count = histogram.count_between(0, step.value_iterated_to());
        let _ = match quantile {
            quantile if quantile < 1.0 => {
                writeln!(out, "{value:12.3} {quantile:2.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))
            }
            _ => writeln!(out, "{value:12.3} {quantile:2.12} {count:10} {:>14}", "inf"),
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let (max, buckets) = (histogram.max() as f64 / 1e3, histogram.buckets());
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", 2048);
    out
}
