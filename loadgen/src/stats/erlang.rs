//! Erlang's loss formula: the share of independent calls that find all of `n` lines taken when `a` erlangs are offered.

/// B(0) = 1; B(n) = a·B(n−1) / (n + a·B(n−1)).
pub fn blocking(lines: u32, offered: f64) -> f64 {
    (1..=lines).fold(1.0, |blocked, n| offered * blocked / (f64::from(n) + offered * blocked))
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
    fn the_edges_are_what_they_must_be() {
        assert_eq!(blocking(0, 5.0), 1.0);
        assert_eq!(blocking(10, 0.0), 0.0);
        assert!((blocking(1, 1.0) - 0.5).abs() < 1e-12);
    }
}
