//! `loadgen selftest`: the formulas this program judges by, beside values known from elsewhere (loadtest.md §5).

use crate::{
    stats::{
        emodel::{self, Codec, G711, G711_PLC, G729A},
        erlang,
        reception::Reception,
    },
    time::millis,
};

/// One formula at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    pub what: String,
    pub golden: f64,
    pub ours: f64,
    /// How far apart they may be: half of the golden value's last digit, and a little for rounding.
    pub within: f64,
}

impl Vector {
    pub fn holds(&self) -> bool {
        (self.golden - self.ours).abs() <= self.within
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let Vector { what, golden, ours, .. } = self;
        format!("{} {what:<44} golden {golden:>9.4}  ours {ours:>9.4}", if self.holds() { "✓" } else { "✗" })
    }
}

/// Milliseconds mouth to ear, Idd.
const DELAY: [(f64, f64); 6] =
    [(100.0, 0.0), (150.0, 0.164), (200.0, 3.044), (250.0, 8.917), (300.0, 14.761), (400.0, 24.070)];

/// Codec, percent lost at random, R, MOS-CQE.
const LOSS: [(Codec, f64, f64, f64); 9] = [
    (G711, 0.0, 93.20, 4.409),
    (G711, 2.0, 63.04, 3.256),
    (G711, 10.0, 26.77, 1.481),
    (G711_PLC, 1.0, 89.56, 4.328),
    (G711_PLC, 5.0, 77.42, 3.923),
    (G711_PLC, 10.0, 66.13, 3.411),
    (G729A, 0.0, 82.20, 4.104),
    (G729A, 2.0, 74.20, 3.787),
    (G729A, 10.0, 53.23, 2.745),
];

/// Every vector.
pub fn vectors() -> Vec<Vector> {
    let vector = |what: String, golden: f64, ours: f64, within: f64| Vector { what, golden, ours, within };
    let delay = DELAY
        .iter()
        .map(|(ms, golden)| vector(format!("G.107 Idd at {ms} ms"), *golden, emodel::delay_impairment(*ms), 0.0006));
    let loss = LOSS.iter().flat_map(|(codec, percent, rating, score)| {
        let ours = emodel::rating(*codec, 0.0, *percent, 1.0);
        [
            vector(format!("R, {} with {percent} % lost", codec.name), *rating, ours, 0.006),
            vector(format!("MOS-CQE, {} with {percent} % lost", codec.name), *score, emodel::mos(ours), 0.0006),
        ]
    });
    let erlang = erlang::GOLDEN.iter().map(|(lines, offered, golden)| {
        vector(format!("Erlang B({lines}, {offered})"), *golden, erlang::blocking(*lines, *offered), 0.00006)
    });
    delay.chain(loss).chain(erlang).chain(streams()).collect()
}

/// Jitter (RFC 3550 A.8) and burst ratio (G.107) of streams small enough to work out by hand.
fn streams() -> Vec<Vector> {
    const TICK: u64 = 20_000_000;
    let stream = |packets: &[(u16, u64)]| {
        let mut reception = Reception::default();
        for (number, delay) in packets {
            let sent = u64::from(*number) * TICK;
            reception.handle(*number, sent, sent + delay);
        }
        reception.summary()
    };
    let alternating: Vec<(u16, u64)> = (0..2000).map(|i| (i, u64::from(i % 2) * 5_000_000)).collect();
    let lost =
        |gone: &dyn Fn(u16) -> bool| stream(&(0..1000).filter(|i| !gone(*i)).map(|i| (i, 0)).collect::<Vec<_>>());
    let vector = |what: &str, golden, ours, within| Vector { what: what.to_owned(), golden, ours, within };
    vec![
        vector(
            "jitter of 0, 16, 0 ms: 1 + (16 - 1)/16",
            1.9375,
            millis(stream(&[(0, 0), (1, 16_000_000), (2, 0)]).jitter),
            1e-6,
        ),
        vector("jitter of delays 5 ms apart, in the end", 5.0, millis(stream(&alternating).jitter), 1e-3),
        vector("burst ratio of single losses, 5 %", 1.0, lost(&|i| i % 20 == 10).burst_ratio, 1e-9),
        vector(
            "burst ratio of runs of five, 5 %: 5 x 0.95",
            4.75,
            lost(&|i| i % 100 >= 50 && i % 100 < 55).burst_ratio,
            1e-9,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_holds() {
        for vector in vectors() {
            assert!(vector.holds(), "{}", vector.line());
        }
        assert!(vectors().len() >= 30);
    }

    #[test]
    fn a_formula_that_is_off_is_shown_as_wrong() {
        let wrong =
            Vector { what: "Idd at 200 ms with 6 - sT for 6·sT".into(), golden: 3.044, ours: 3.656, within: 0.0006 };
        assert!(!wrong.holds() && wrong.line().starts_with('✗'));
    }
}
