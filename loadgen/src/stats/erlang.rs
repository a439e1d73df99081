//! Erlang's loss formula: the share of independent calls that find all of `n` lines taken when `a` erlangs are offered.

/// B(0) = 1; B(n) = a·B(n−1) / (n + a·B(n−1)).
pub fn blocking(lines: u32, offered: f64) -> f64 {
    (1..=lines).fold(1.0, |blocked, n| offered * blocked / (f64::from(n) + offered * blocked))
}

/// Calls below which blocking is not held against the formula.
pub const ENOUGH: u64 = 200;

/// Whether `blocked` of `offered` calls cannot come from a system of which the formula says `expected`. Calls that find the
/// lines taken come together, so their count varies more than that of independent ones: four times as much is allowed for.
pub fn contradicts(expected: f64, blocked: u64, offered: u64) -> bool {
    let (n, measured) = (offered.max(1) as f64, blocked as f64 / offered.max(1) as f64);
    let spread = (4.0 * expected.max(1.0 / n) * (1.0 - expected).max(0.0) / n).sqrt();
    offered >= ENOUGH && (measured - expected).abs() > 5.0 * spread + 0.01
}

/// What is known of the formula: lines, erlangs, blocking (rounded to a hundredth of a percent).
pub const GOLDEN: [(u32, f64, f64); 3] = [(100, 100.0, 0.0757), (100, 80.0, 0.0040), (1000, 950.0, 0.0037)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vectors() {
        for (lines, offered, golden) in GOLDEN {
            let blocked = blocking(lines, offered);
            assert!((blocked - golden).abs() < 0.00006, "B({lines}, {offered}) = {blocked}");
        }
    }

    #[test]
    fn a_server_with_other_lines_than_it_was_told_is_noticed_and_chance_is_not() {
        let expected = blocking(20, 20.0);
        let of = |lines| (blocking(lines, 20.0) * 1000.0) as u64;
        assert!(!contradicts(expected, of(20), 1000));
        assert!(!contradicts(expected, of(20) + 40, 1000), "chance");
        assert!(contradicts(expected, of(5), 1000) && contradicts(expected, 0, 1000));
        assert!(contradicts(blocking(40, 20.0), of(20), 1000));
        assert!(!contradicts(expected, 0, ENOUGH - 1), "too few to say");
    }

    #[test]
    fn the_edges_are_what_they_must_be() {
        assert_eq!(blocking(0, 5.0), 1.0);
        assert_eq!(blocking(10, 0.0), 0.0);
        assert!((blocking(1, 1.0) - 0.5).abs() < 1e-12);
    }
}
