use super::*;

const START: u64 = 5_000_000;

/// Opus in 20 ms frames, packet `number` of a stream that begins shortly before its numbers and its timestamps wrap.
fn packet(number: u32) -> [u8; 20] {
    stamped(number, number.wrapping_mul(960))
}

fn stamped(number: u32, timestamp: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    (bytes[0], bytes[1]) = (0x80, 111);
    bytes[2..4].copy_from_slice(&(65_530 + number).to_be_bytes()[2..]);
    bytes[4..8].copy_from_slice(&timestamp.wrapping_sub(20_000).to_be_bytes());
    bytes
}

/// Packets by number, and when they come, in milliseconds.
fn listen(packets: impl Iterator<Item = (u32, u64)>) -> Media {
    let mut ear = Ear::default();
    packets.for_each(|(number, at)| {
        ear.hear(START + at * 1_000, &packet(number));
    });
    ear.heard()
}

fn evenly(numbers: impl Iterator<Item = u32>) -> Media {
    listen(numbers.map(|number| (number, u64::from(number) * 20)))
}

#[test]
fn a_whole_stream_is_whole_across_the_wrap_of_its_numbers() {
    let whole =
        Media { since: Some(Millis(5_000)), expected: 100, received: 100, spoken_ms: 2_000, ..Media::default() };
    assert_eq!(evenly(0..100), whole);
}

#[test]
fn what_is_missing_is_counted_and_what_comes_late_is_not() {
    let gaps = evenly((0..100).filter(|number| number % 10 != 5));
    assert_eq!((gaps.expected, gaps.received, gaps.lost()), (100, 90, 10));
    let swapped = listen((0..100).map(|number| (number ^ 1, u64::from(number) * 20)));
    assert_eq!(
        (swapped.expected, swapped.received, swapped.reordered),
        (100, 100, 50),
        "the very first one came second"
    );
}

#[test]
fn a_packet_that_comes_twice_hides_no_loss() {
    let doubled = (0..100).filter(|number| number % 10 != 5).flat_map(|number| [number; 2]);
    let media = evenly(doubled);
    assert_eq!((media.expected, media.received, media.duplicates, media.reordered), (100, 90, 90, 0));
}

#[test]
fn a_duplicate_is_told_from_a_late_packet_64_numbers_back() {
    let late = |back: u32| evenly((0..200).filter(|number| *number != 100).chain([199 - back, 199 - back]));
    let media = late(63);
    assert_eq!((media.received, media.reordered, media.duplicates), (199, 0, 2));
    let media = late(99);
    assert_eq!((media.received, media.lost(), media.reordered, media.duplicates), (200, 0, 1, 1));
}

#[test]
fn what_overtook_the_first_packet_is_no_loss() {
    let media = evenly([5, 6, 3, 7, 4].into_iter());
    assert_eq!((media.expected, media.received, media.reordered), (5, 5, 2));
    let media = evenly([5, 6, 2].into_iter());
    assert_eq!((media.expected, media.lost()), (5, 2), "3 and 4 are to come");
}

#[test]
fn uneven_arrival_is_jitter() {
    let media = listen((0..500).map(|number| (number, u64::from(number) * 20 + u64::from(number % 2) * 40)));
    assert!((38_000..=40_000).contains(&media.jitter_micros), "{}", media.jitter_micros);
}

#[test]
fn jitter_is_that_of_rfc_3550_on_every_packet_in_order_of_arrival() {
    let mut random = 1u64;
    let mut next = |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % most
    };
    let (mut ear, mut jitter, mut last) = (Ear::default(), 0.0, None);
    let mut arrivals: Vec<(u64, u32)> = (0..2_000).map(|n| (START + u64::from(n) * 20_000 + next(60_000), n)).collect();
    arrivals.sort_unstable();
    for (at, number) in arrivals.into_iter().filter(|(_, number)| number % 17 != 3) {
        ear.hear(at, &packet(number));
        let transit = at as f64 - f64::from(number) * 20_000.0;
        if let Some(last) = last.replace(transit) {
            jitter += (f64::abs(transit - last) - jitter) / 16.0;
        }
    }
    let heard = f64::from(ear.heard().jitter_micros);
    assert!((heard - jitter).abs() < 2.0, "{heard} is not {jitter}");
}

#[test]
fn half_a_millisecond_is_jitter_too() {
    let mut ear = Ear::default();
    (0..500).for_each(|n| {
        ear.hear(START + u64::from(n) * 20_000 + u64::from(n % 2) * 500, &packet(n));
    });
    assert!((480..=500).contains(&ear.heard().jitter_micros), "{}", ear.heard().jitter_micros);
}

#[test]
fn silence_is_where_timestamps_go_on_without_packets() {
    // A second of speech, then a second in which Opus says every 400 ms that there is nothing to say (RFC 6716 §2.1.9).
    let talk = (0..50u32).map(|n| (n, n * 20));
    let hush = (50..53u32).map(|n| (n, 980 + (n - 49) * 400));
    let mut ear = Ear::default();
    for (number, at) in talk.chain(hush) {
        ear.hear(START + u64::from(at) * 1_000, &stamped(number, at * 48));
    }
    let media = ear.heard();
    assert_eq!((media.silent_ms, media.spoken_ms, media.jitter_micros), (3 * 380, 53 * 20, 0));
    assert_eq!((media.lost(), media.silent_percent()), (0, Some(51)));
}

#[test]
fn neither_loss_nor_longer_frames_nor_late_packets_are_silence() {
    let lossy = evenly((0..500).filter(|number| number % 50 > 10));
    let longer = |n: u32| if n < 50 { n * 960 } else { 50 * 960 + (n - 50) * 2_880 };
    let mut ear = Ear::default();
    (0..100).for_each(|n| {
        ear.hear(START + u64::from(longer(n)) * 1_000 / 48, &stamped(n, longer(n)));
    });
    let late =
        evenly((0..100).filter(|number| *number != 40).flat_map(|n| if n == 60 { vec![n, 40] } else { vec![n] }));
    assert_eq!((lossy.silent_ms, ear.heard().silent_ms, late.silent_ms, late.lost()), (0, 0, 0, 0));
}

#[test]
fn a_new_source_or_a_leap_begins_anew_and_loses_nothing() {
    let mut ear = Ear::default();
    (0..10).for_each(|number| {
        ear.hear(START + u64::from(number) * 20_000, &packet(number));
    });
    let mut other = packet(40_000);
    ear.hear(START + 300_000, &other);
    other[11] = 1;
    ear.hear(START + 320_000, &other);
    assert_eq!((ear.heard().expected, ear.heard().received), (12, 12));
}

#[test]
fn two_sources_that_take_turns_are_counted_each_by_itself() {
    let mut ear = Ear::default();
    for number in (0..100).filter(|number| number % 10 != 5) {
        for source in 0..2 {
            let mut bytes = packet(number);
            bytes[11] = source;
            ear.hear(START + u64::from(number) * 20_000, &bytes);
        }
    }
    let media = ear.heard();
    assert_eq!((media.expected, media.received, media.jitter_micros), (200, 180, 0));
}

/// RFC 9335 encrypts extensions and CSRCs and marks that in the extension's profile; RFC 6904 encrypts some of the extensions' bytes.
#[test]
fn encrypted_header_extensions_change_nothing() {
    let hear_all = |profile: Option<[u8; 2]>| {
        let mut ear = Ear::default();
        for number in (0..300u32).filter(|number| number % 7 != 3) {
            let mut bytes = packet(number).to_vec();
            if let Some(profile) = profile {
                bytes[0] |= 0x10 | 2; // X, and two CSRCs
                let noise = number.wrapping_mul(0x9E37_79B9).to_be_bytes();
                let words = [noise, noise, [profile[0], profile[1], 0, 1], noise];
                bytes.splice(12..12, words.concat());
            }
            ear.hear(START + u64::from(number) * 20_000 + u64::from(number % 5) * 1_300, &bytes);
        }
        ear.heard()
    };
    let plain = hear_all(None);
    assert!(plain.lost() > 40 && plain.jitter_micros > 1_000);
    for profile in [[0xBE, 0xDE], [0xC0, 0xDE], [0xC2, 0xDE]] {
        assert_eq!(hear_all(Some(profile)), plain, "{profile:x?}");
    }
}

#[test]
fn only_rtp_is_media() {
    let mut ear = Ear::default();
    let rtcp = [0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (stun, dtls) = ([0; 20], [22; 60]);
    for bytes in [&rtcp[..], &stun, &dtls, &packet(0)[..11], &[]] {
        ear.hear(START, bytes);
    }
    assert_eq!(ear.heard(), Media::default());
}

#[test]
fn an_ear_for_the_first_packet_hears_no_more_than_that_it_came() {
    let mut ear = Ear::for_the_first_packet();
    (0..100).for_each(|number| {
        ear.hear(START + u64::from(number) * 20_000, &packet(number));
    });
    assert_eq!(ear.heard(), Media { since: Some(Millis(5_000)), ..Media::default() });
}

#[test]
fn what_an_ordinary_packet_touches_is_one_cache_line() {
    assert_eq!((size_of::<Stream>(), std::mem::offset_of!(Ear, streams)), (64, 0));
    assert!(size_of::<Ear>() <= 256, "{}", size_of::<Ear>());
}
