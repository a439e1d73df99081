//! MOS-CQE: an estimate of conversational quality by the E-model (ITU-T G.107, narrow-band defaults).
//!
//! Delays are one-way and mouth to ear, loss is in percent, burst ratio is the mean run of losses relative to random loss.

use std::time::Duration;

/// Default transmission rating without delay and codec: R₀ − Iₛ.
const R_DEFAULT: f64 = 93.2;
/// mT of G.107: delay that is not noticed, ms.
const DELAY_FREE: f64 = 100.0;
/// Packetisation of the sender and the modelled jitter buffer of the receiver, both outside the network.
pub const PACKETISATION: Duration = Duration::from_millis(20);
pub const JITTER_BUFFER: Duration = Duration::from_millis(60);

/// A codec's equipment impairment and robustness to loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    pub name: &'static str,
    ie: f64,
    bpl: f64,
}

/// G.711 with packet loss concealment (ITU-T G.113 Appendix I): the score of the network alone.
pub const G711_PLC: Codec = Codec { name: "g711-plc", ie: 0.0, bpl: 25.1 };
/// G.711 without concealment (G.113 Appendix I).
pub const G711: Codec = Codec { name: "g711", ie: 0.0, bpl: 4.3 };
/// G.729A with voice activity detection (G.113 Appendix I).
pub const G729A: Codec = Codec { name: "g729a", ie: 11.0, bpl: 19.0 };

/// Categories of speech transmission quality (ITU-T G.109 §7), and one for what it does not recommend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Bad,
    Poor,
    Low,
    Medium,
    High,
    Best,
}

impl Class {
    pub const ALL: [Class; 6] = [Class::Bad, Class::Poor, Class::Low, Class::Medium, Class::High, Class::Best];

    /// The class of a rating.
    pub fn of(r: f64) -> Class {
        match r {
            r if r >= 90.0 => Class::Best,
            r if r >= 80.0 => Class::High,
            r if r >= 70.0 => Class::Medium,
            r if r >= 60.0 => Class::Low,
            r if r >= 50.0 => Class::Poor,
            _ => Class::Bad,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Class::Bad => "bad",
            Class::Poor => "poor",
            Class::Low => "low",
            Class::Medium => "medium",
            Class::High => "high",
            Class::Best => "best",
        }
    }
}

/// The rating R for mouth-to-ear delay `delay_ms`, `loss_percent` and `burst_ratio` (1: random).
pub fn rating(codec: Codec, delay_ms: f64, loss_percent: f64, burst_ratio: f64) -> f64 {
    R_DEFAULT - delay_impairment(delay_ms) - equipment_impairment(codec, loss_percent, burst_ratio)
}

/// Idd of G.107 with sT = 1; no echo.
pub fn delay_impairment(delay_ms: f64) -> f64 {
    if delay_ms <= DELAY_FREE {
        return 0.0;
    }
    let x = (delay_ms / DELAY_FREE).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// Ie,eff of G.107.
pub fn equipment_impairment(codec: Codec, loss_percent: f64, burst_ratio: f64) -> f64 {
    codec.ie + (95.0 - codec.ie) * loss_percent / (loss_percent / burst_ratio + codec.bpl)
}

/// MOS-CQE of a rating (G.107 Annex B).
pub fn mos(r: f64) -> f64 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, golden: f64, within: f64) {
        assert!((actual - golden).abs() <= within, "{actual} is not {golden}");
    }

    #[test]
    fn delay_golden_vectors() {
        for (delay, golden) in
            [(100.0, 0.0), (150.0, 0.164), (200.0, 3.044), (250.0, 8.917), (300.0, 14.761), (400.0, 24.070)]
        {
            close(delay_impairment(delay), golden, 0.0006);
        }
    }

    #[test]
    fn loss_golden_vectors() {
        let golden = [
            (0.0, (93.20, 4.409), (93.20, 4.409), (82.20, 4.104)),
            (1.0, (75.28, 3.834), (89.56, 4.328), (78.00, 3.946)),
            (2.0, (63.04, 3.256), (86.19, 4.235), (74.20, 3.787)),
            (3.0, (54.16, 2.794), (83.06, 4.134), (70.75, 3.632)),
            (5.0, (42.12, 2.169), (77.42, 3.923), (64.70, 3.340)),
            (10.0, (26.77, 1.481), (66.13, 3.411), (53.23, 2.745)),
        ];
        for (loss, plain, concealed, g729a) in golden {
            for (codec, (r, score)) in [(G711, plain), (G711_PLC, concealed), (G729A, g729a)] {
                close(rating(codec, 0.0, loss, 1.0), r, 0.006);
                close(mos(rating(codec, 0.0, loss, 1.0)), score, 0.0006);
            }
        }
    }

    #[test]
    fn the_traps_seen_elsewhere_are_not_ours() {
        close(delay_impairment(200.0), 3.044, 0.001); // 3.656 with 6 − sT for 6·sT
        assert!(rating(G711_PLC, 160.0, 0.0, 1.0) < R_DEFAULT); // not raised by delay
        assert!(mos(R_DEFAULT) < 4.5); // no flattering default
        assert!(rating(G711_PLC, 0.0, 5.0, 2.0) < rating(G711_PLC, 0.0, 5.0, 1.0)); // bursts hurt
    }

    #[test]
    fn classes_are_those_of_g_109() {
        let satisfied = [(49.9, Class::Bad), (50.0, Class::Poor), (60.0, Class::Low), (70.0, Class::Medium)];
        for (r, class) in satisfied.into_iter().chain([(80.0, Class::High), (89.9, Class::High), (93.2, Class::Best)]) {
            assert_eq!(Class::of(r), class, "{r}");
        }
        assert!(Class::ALL.is_sorted());
    }

    #[test]
    fn the_scale_is_bounded() {
        assert_eq!(mos(-5.0), 1.0);
        assert_eq!(mos(120.0), 4.5);
    }
}
