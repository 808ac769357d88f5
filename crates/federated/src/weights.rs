//! Public weights by row counts: what an owner's update is multiplied with, under sharing, before it is summed.

use crate::FederatedError;

/// FedAvg: round(2^q · n_i / Σ n_j) for every owner of the cohort. An owner trains on its rows for as many steps as it
/// likes; the new model is the old one plus the sum of the updates times these weights and 2^-q.
///
/// ```
/// assert_eq!(ariann_federated::fed_avg(&[100, 300], 10).unwrap(), [256, 768]);
/// ```
pub fn fed_avg(rows: &[u64], q: u32) -> Result<Vec<u64>, FederatedError> {
    let sum = total(rows, q)?;
    // Half a unit up, as 2·x·2^q/(2·sum) rounded down with the sum added.
    Ok(rows.iter().map(|rows| ((((u128::from(*rows)) << (q + 1)) + sum) / (2 * sum)) as u64).collect())
}

/// FedSGD: round(2^q · n_i / (b_i Σ n_j)) for every owner of the cohort: what each of the steps is multiplied with that its b_i
/// batches make from the same model. The sum of all of them is one step of gradient descent on the rows of all.
///
/// ```
/// assert_eq!(ariann_federated::fed_sgd(&[100, 300], &[1, 2], 10).unwrap(), [256, 384]);
/// ```
pub fn fed_sgd(rows: &[u64], batches: &[u64], q: u32) -> Result<Vec<u64>, FederatedError> {
    let sum = total(rows, q)?;
    let weight = |(rows, batches): (&u64, &u64)| {
        let whole = sum * u128::from((*batches).max(1));
        ((((u128::from(*rows)) << (q + 1)) + whole) / (2 * whole)) as u64
    };
    Ok(rows.iter().zip(batches).map(weight).collect())
}

fn total(rows: &[u64], q: u32) -> Result<u128, FederatedError> {
    if q > 40 {
        return Err(FederatedError::Config(format!("weights of {q} fractional bits; at most 40")));
    }
    let sum = rows.iter().map(|rows| u128::from(*rows)).sum();
    if sum == 0 {
        return Err(FederatedError::Config("no owner has any rows".into()));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_sum_to_one_but_for_roundings(rows in prop::collection::vec(1u64..1 << 40, 1..50), q in 0u32..=40) {
            let weights = fed_avg(&rows, q).unwrap();
            let sum: u64 = weights.iter().sum();
            prop_assert!(sum.abs_diff(1 << q) <= rows.len() as u64 / 2 + 1);
            let all: f64 = rows.iter().map(|rows| *rows as f64).sum();
            for (weight, rows) in weights.iter().zip(&rows) {
                prop_assert!((*weight as f64 - *rows as f64 / all * 2f64.powi(q as i32)).abs() < 0.501);
            }
        }
    }

    #[test]
    fn the_step_of_all_is_one_of_the_union() {
        // All batches of all owners count the same where every row is in one.
        assert_eq!(fed_sgd(&[40, 120], &[2, 6], 20).unwrap(), [1 << 17; 2]);
        assert_eq!(fed_sgd(&[40, 120], &[1, 1], 20).unwrap(), fed_avg(&[40, 120], 20).unwrap());
        assert_eq!(fed_sgd(&[1, 1 << 30], &[1, 1], 20).unwrap(), [0, 1 << 20], "the caller refuses a weight of 0");
        assert!(fed_sgd(&[0], &[1], 20).is_err());
        assert!(fed_avg(&[0, 0], 10).is_err());
        assert!(fed_avg(&[1], 41).is_err());
        assert_eq!(fed_avg(&[u64::MAX, u64::MAX], 40).unwrap(), [1 << 39; 2]);
    }
}
