//! ε of a Gaussian mechanism that is used again and again.
//!
//! A round with sensitivity s and noise of deviation σ has the Rényi divergence α·s²/(2σ²) of order α (Mironov, CSF 2017,
//! proposition 7; for noise on integers: Canonne, Kamath and Steinke, NeurIPS 2020, proposition 5). Divergences of rounds add up,
//! also when a round follows from those before (Mironov, proposition 1). A divergence ρ of order α > 1 is (ε, δ) with
//!     ε = ρ + ln((α - 1)/α) - (ln δ + ln α)/(α - 1)
//! (Canonne, Kamath and Steinke, proposition 12), for every α; the least of these is reported. Cohorts are no secret, so no
//! amplification by sampling is claimed.

/// Orders that are tried, between 1 + 10^-6 and 10^9.
const ORDERS: u32 = 6000;

/// ε at δ after `rounds` rounds, of which each has a sensitivity of `ratio` deviations of the noise.
///
/// ```
/// let epsilon = ariann_federated::privacy::epsilon(1.0, 1, 1e-5);
/// assert!((epsilon - 4.7285).abs() < 1e-3);
/// ```
pub fn epsilon(ratio: f64, rounds: u32, delta: f64) -> f64 {
    let of_order = f64::from(rounds) * ratio * ratio / 2.0;
    if of_order == 0.0 {
        return 0.0;
    }
    let at = |order: f64| {
        let less = order - 1.0;
        order * of_order + (less / order).ln() - (delta.ln() + order.ln()) / less
    };
    let orders = (0..ORDERS).map(|step| 1.0 + 1e-6 * 10f64.powf(15.0 * f64::from(step) / f64::from(ORDERS - 1)));
    orders.map(at).fold(f64::INFINITY, f64::min).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::epsilon;

    /// The normal distribution's upper tail, by its continued fraction or, near 0, its series.
    fn tail(x: f64) -> f64 {
        if x < 0.0 {
            return 1.0 - tail(-x);
        }
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x > 3.0 {
            return density / (1..200).rev().fold(x, |below, k| x + f64::from(k) / below);
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        0.5 - density * sum
    }

    /// ε of the Gaussian mechanism as it is: Balle and Wang, ICML 2018, theorem 8. Rounds compose to one of √rounds the ratio.
    fn exact(ratio: f64, rounds: u32, delta: f64) -> f64 {
        let mu = ratio * f64::from(rounds).sqrt();
        let at = |epsilon: f64| tail(epsilon / mu - mu / 2.0) - epsilon.exp() * tail(epsilon / mu + mu / 2.0);
        let (mut low, mut high) = (0.0, 500.0);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if at(middle) > delta { low = middle } else { high = middle }
        }
        high
    }

    #[test]
    fn it_is_above_the_exact_value_by_little() {
        for ratio in [0.05, 0.1, 0.5, 1.0, 2.0, 4.0] {
            // Beyond that its powers of e are too great for this test.
            for rounds in [1, 3, 10, 50].into_iter().filter(|rounds| f64::from(*rounds) * ratio * ratio < 200.0) {
                for delta in [1e-3, 1e-5, 1e-8] {
                    let (exact, own) = (exact(ratio, rounds, delta), epsilon(ratio, rounds, delta));
                    assert!(own >= exact, "{own} below {exact}: {ratio} {rounds} {delta}");
                    // Near 0 the conversion is loose.
                    let near = 1.1 * exact + 0.1;
                    assert!(own <= near, "{own} far above {exact}: {ratio} {rounds} {delta}");
                }
            }
        }
    }

    /// Noise multiplier, rounds, δ; ε of the same divergences by the package dp-accounting of PyPI, and the exact ε by SciPy's
    /// normal distribution.
    #[test]
    fn others_count_the_same() {
        for (noise, rounds, delta, known, precise) in [
            (1.0, 1, 1e-5, 4.728_387, 4.377_178),
            (2.0, 10, 1e-5, 8.078_360, 7.511_275),
            (0.5, 1, 1e-5, 10.724_824, 9.997_256),
            (4.0, 50, 1e-6, 10.089_072, 9.482_192),
            (1.0, 100, 1e-5, 96.035_280, 91.817_287),
            (10.0, 5, 1e-6, 1.014_074, 0.940_516),
        ] {
            let own = epsilon(1.0 / noise, rounds, delta);
            assert!((own / known - 1.0).abs() < 1e-4, "{own}, known as {known}");
            assert!((exact(1.0 / noise, rounds, delta) - precise).abs() < 1e-4);
        }
    }

    /// The table of docs/federated.md.
    #[test]
    #[ignore = "prints a table"]
    fn prints_the_table() {
        for (noise, rounds) in [(1.0, 1), (2.0, 10), (4.0, 50), (10.0, 50)] {
            println!("| {noise} | {rounds} | {:.2} |", epsilon(1.02 / noise, rounds, 1e-5));
        }
    }

    #[test]
    fn more_noise_or_fewer_rounds_spend_less() {
        assert_eq!(epsilon(1.0, 0, 1e-5), 0.0);
        assert!(epsilon(1.0, 5, 1e-5) < epsilon(1.0, 6, 1e-5));
        assert!(epsilon(0.9, 5, 1e-5) < epsilon(1.0, 5, 1e-5));
        assert!(epsilon(1.0, 5, 1e-5) < epsilon(1.0, 5, 1e-6));
        // Four rounds are one of half the noise.
        assert_eq!(epsilon(0.5, 4, 1e-5), epsilon(1.0, 1, 1e-5));
    }
}
