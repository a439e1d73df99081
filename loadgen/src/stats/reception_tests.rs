use super::*;

const TICK: u64 = 20_000_000;

fn feed(reception: &mut Reception, packets: &[(u16, u64)]) {
    for (sequence, delay) in packets {
        let sent = u64::from(*sequence) * TICK;
        reception.handle(*sequence, sent, sent + delay);
    }
}

#[test]
fn a_perfect_stream_has_no_loss_and_no_jitter() {
    let mut reception = Reception::default();
    feed(&mut reception, &(0..500).map(|i| (i, 1_000_000)).collect::<Vec<_>>());
    let summary = reception.summary();
    assert_eq!((summary.expected, summary.received, summary.lost), (500, 500, 0));
    assert_eq!(summary.jitter, Duration::ZERO);
    assert_eq!(summary.delay, Duration::from_millis(1));
    assert!((summary.rating(emodel::G711_PLC).unwrap_or(0.0) - 93.2).abs() < 0.001);
}

#[test]
fn delay_variation_counts_from_the_fastest_packet_so_far() {
    let mut reception = Reception::default();
    let varied: Vec<u64> = [(0, 5), (1, 9), (2, 3), (2, 7), (3, 3)]
        .map(|(number, millis): (u16, u64)| {
            let sent = u64::from(number) * TICK;
            reception.handle(number, sent, sent + millis * 1_000_000).as_millis() as u64
        })
        .to_vec();
    assert_eq!(varied, [0, 4, 0, 4, 0]);
}

#[test]
fn jitter_follows_the_sixteenth_rule_in_order_of_arrival() {
    let mut reception = Reception::default();
    feed(&mut reception, &[(0, 0), (1, 16_000_000), (2, 0)]);
    // 0 + 16/16 = 1 ms, then 1 + (16 − 1)/16 = 1.9375 ms
    assert_eq!(reception.summary().jitter, Duration::from_nanos(1_937_500));
}

#[test]
fn alternating_delay_converges_on_its_step() {
    let mut reception = Reception::default();
    feed(&mut reception, &(0..2000).map(|i| (i, u64::from(i % 2) * 5_000_000)).collect::<Vec<_>>());
    assert!(reception.summary().jitter.abs_diff(Duration::from_millis(5)) < Duration::from_micros(1));
}

#[test]
fn loss_reorder_and_duplicates_are_told_apart() {
    let mut reception = Reception::default();
    feed(&mut reception, &[(10, 0), (11, 0), (13, 0), (12, 0), (13, 0), (16, 0)]);
    let summary = reception.summary();
    assert_eq!((summary.expected, summary.received, summary.lost), (7, 5, 2));
    assert_eq!((summary.reordered, summary.duplicates), (1, 1));
}

#[test]
fn a_duplicate_does_not_hide_a_loss() {
    let mut reception = Reception::default();
    feed(&mut reception, &[(0, 0), (0, 0), (2, 0)]);
    assert_eq!(reception.summary().lost, 1);
}

#[test]
fn numbers_wrap_without_loss() {
    let mut reception = Reception::default();
    for step in 0..70_000u64 {
        let sequence = (65_000 + step) as u16;
        reception.handle(sequence, step * TICK, step * TICK);
    }
    let summary = reception.summary();
    assert_eq!((summary.expected, summary.lost, summary.duplicates), (70_000, 0, 0));
}

#[test]
fn a_packet_overtaken_by_the_first_is_not_a_wrap() {
    let mut reception = Reception::default();
    feed(&mut reception, &[(1, 0), (0, 0), (2, 0)]);
    let summary = reception.summary();
    assert_eq!((summary.expected, summary.received, summary.reordered), (3, 3, 1));
}

#[test]
fn a_burst_has_a_higher_burst_ratio_than_single_losses() {
    let lossy = |lost: &dyn Fn(u16) -> bool| {
        let mut reception = Reception::default();
        feed(&mut reception, &(0..1000).filter(|i| !lost(*i)).map(|i| (i, 0)).collect::<Vec<_>>());
        reception.summary()
    };
    let single = lossy(&|i| i % 20 == 10);
    let burst = lossy(&|i| i % 100 >= 50 && i % 100 < 55);
    assert_eq!(single.lost, burst.lost);
    assert!((single.burst_ratio - 1.0).abs() < 1e-9);
    assert!((burst.burst_ratio - 4.75).abs() < 1e-9, "{}", burst.burst_ratio);
}

#[test]
fn bursts_are_those_of_the_order_of_sending_whatever_overtakes_what() {
    // Lost: 50, 52, 53 and 400; 200 and 201 swapped on their way; 300 too late.
    let mut order: Vec<u16> = (0..600).filter(|number| ![50, 52, 53, 400].contains(number)).collect();
    let swapped = order.iter().position(|number| *number == 200).unwrap_or_default();
    order.swap(swapped, swapped + 1);
    let mut reception = Reception::default();
    feed(&mut reception, &order.iter().map(|i| (*i, if *i == 300 { 70_000_000 } else { 0 })).collect::<Vec<_>>());
    let bursts = reception.summary().bursts;
    assert_eq!((bursts.packets, bursts.bad), (600, 5), "{bursts:?}");
    assert_eq!((bursts.bursts, bursts.burst_packets, bursts.burst_bad), (1, 4, 3), "{bursts:?}");
    assert_eq!(bursts.runs[..3], [3, 1, 0], "{bursts:?}");
}

#[test]
fn a_gap_longer_than_the_window_is_one_run() {
    let mut reception = Reception::default();
    feed(&mut reception, &(0..700).filter(|i| !(100..400).contains(i)).map(|i| (i, 0)).collect::<Vec<_>>());
    let bursts = reception.summary().bursts;
    assert_eq!((bursts.packets, bursts.bad, bursts.bursts, bursts.runs[9]), (700, 300, 1, 1), "{bursts:?}");
}

#[test]
fn what_comes_behind_the_jitter_buffer_is_late() {
    let mut reception = Reception::default();
    feed(&mut reception, &[(0, 1_000_000), (1, 60_000_000), (2, 62_000_000)]);
    assert_eq!(reception.summary().late, 1);
}

#[test]
fn a_stream_nobody_heard_has_no_rating() {
    assert_eq!(Reception::default().summary().rating(emodel::G711_PLC), None);
}
