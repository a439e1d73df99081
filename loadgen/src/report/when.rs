//! Moments of the wall clock as people and other programs read them.

use crate::slice::Moment;

/// RFC 3339, UTC, milliseconds.
pub fn rfc3339(moment: Moment) -> String {
    let (days, millis) = (moment.0 / 86_400_000, moment.0 % 86_400_000);
    let (year, month, day) = civil(days as i64);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// What [`rfc3339`] wrote, with or without its milliseconds.
pub fn parse(text: &str) -> Option<Moment> {
    let text = text.strip_suffix('Z')?;
    let (seconds, millis) = text.split_once('.').unwrap_or((text, "0"));
    let whole: Moment = format!("{seconds}Z").parse().ok().filter(|_| seconds.contains('T'))?;
    Some(Moment(whole.0 + millis.parse::<u64>().ok().filter(|millis| *millis < 1000)?))
}

/// Year, month and day of a number of days after 1970-01-01 (proleptic Gregorian calendar, eras of 400 years from March).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moment_reads_as_it_was_written() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-11-22T02:30:00Z", "2100-03-01T12:00:00Z"] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(rfc3339(moment), text.replace('Z', ".000Z"));
            assert_eq!(parse(text), Some(moment));
        }
        assert_eq!(parse("2026-11-22T02:30:00.250Z"), Some(Moment(1_795_314_600_250)));
        assert!(["", "Z", "17", "17Z", "2026-11-22T02:30:00.x", "<script>Z"].iter().all(|text| parse(text).is_none()));
    }
}
