//! Exact rank tests, which stand beside the bootstrap: with a handful of rounds a bootstrap promises more than there is.

/// One-sided p of Wilcoxon's signed ranks: how likely differences that are symmetric about nought lie as far above it as
/// these. Differences of nought count for half; exact, by counting the signs.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let n = differences.len();
    let mut sorted: Vec<f64> = differences.to_vec();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the rank sum of what is below nought, so that halves stay whole.
    let below: usize = sorted
        .iter()
        .enumerate()
        .map(|(rank, difference)| match difference.total_cmp(&0.0) {
            std::cmp::Ordering::Less => 2 * (rank + 1),
            _ if *difference == 0.0 => rank + 1,
            _ => 0,
        })
        .sum();
    // ways[s]: how many of the 2ⁿ choices of signs have the rank sum s below nought.
    let mut ways = vec![0.0; n * (n + 1) / 2 + 1];
    ways[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..ways.len()).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let as_far: f64 = ways.iter().take(below.div_ceil(2) + 1).sum();
    as_far / 2f64.powi(i32::try_from(n).unwrap_or(i32::MAX))
}

/// One-sided p of Mann and Whitney's U: how likely two sides of one distribution lie as far apart as these, `head` above
/// `base`. Ties count for half; exact, by counting the orders.
pub fn mann_whitney(base: &[f64], head: &[f64]) -> f64 {
    let (n, m) = (base.len(), head.len());
    let twice: usize = base
        .iter()
        .flat_map(|base| head.iter().map(move |head| if base > head { 2 } else { usize::from(base == head) }))
        .sum();
    // ways[i][u]: orders of i of base and all of head so far with u pairs in which base is above.
    let most = n * m;
    let mut ways = vec![vec![0.0; most + 1]; n + 1];
    ways.iter_mut().for_each(|row| row[0] = 1.0);
    for others in 1..=m {
        for i in 1..=n {
            // The highest is head's, above none of which is base, or base's, above all `others` of head.
            let (lower, row) = ways.split_at_mut(i);
            for u in (0..=most).rev() {
                let before = if u >= others { lower[i - 1][u - others] } else { 0.0 };
                row[0][u] += before;
            }
        }
    }
    let all: f64 = ways[n].iter().sum();
    let as_far: f64 = ways[n].iter().take(twice.div_ceil(2) + 1).sum();
    as_far / all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, golden: f64) {
        assert!((ours - golden).abs() < 1e-9, "{ours} {golden}");
    }

    /// Tables of Wilcoxon's test: n = 5, W = 0 → 1/32; n = 6, W = 2 → 3/64; n = 8, W = 5 → 10/256.
    #[test]
    fn signed_ranks_are_those_of_the_tables() {
        close(signed_rank(&[1.0, 2.0, 3.0, 4.0, 5.0]), 1.0 / 32.0);
        close(signed_rank(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0]), 3.0 / 64.0);
        close(signed_rank(&[1.0, 2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0]), 10.0 / 256.0);
        close(signed_rank(&[-1.0, -2.0, -3.0]), 1.0);
        assert!(signed_rank(&[0.0; 6]) > 0.4);
    }

    /// loadtest.md §4.3: the smallest two-sided p with n = n is .10 for 3, .029 for 4, .008 for 5.
    #[test]
    fn mann_whitney_has_the_smallest_p_that_is_known() {
        for (n, golden) in [(3, 1.0 / 20.0), (4, 1.0 / 70.0), (5, 1.0 / 252.0)] {
            let base: Vec<f64> = (0..n).map(f64::from).collect();
            let head: Vec<f64> = (0..n).map(|i| f64::from(i) + 100.0).collect();
            close(mann_whitney(&base, &head), golden);
            close(mann_whitney(&head, &base), 1.0);
        }
        // One of base above one of head, of 20 orders: U = 0 and U = 1.
        close(mann_whitney(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]), 2.0 / 20.0);
    }
}
