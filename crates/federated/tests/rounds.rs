//! Sums are exact, whoever drops out whenever; below the threshold there is none.

mod common;

use ariann_ring::Ring;
use common::{PHASES, World, check, majority, training};
use proptest::prelude::*;

const VALUES: u64 = 5;

fn all_fates<R: Ring>(owners: usize, threshold: u16) {
    let mut world = World::new(owners, training(R::BITS, VALUES, threshold));
    let (mut with, mut without) = (0, 0);
    for code in 0..(PHASES + 1).pow(owners as u32) {
        let fates: Vec<usize> = (0..owners as u32).map(|at| code / (PHASES + 1).pow(at) % (PHASES + 1)).collect();
        if check::<R>(&mut world, &fates) { with += 1 } else { without += 1 }
    }
    assert!(with > 0 && without > 0);
    println!("{owners} owners, threshold {threshold}: {with} rounds with a result, {without} without");
}

#[test]
fn every_fate_of_two_owners() {
    all_fates::<u32>(2, 2);
    all_fates::<u64>(2, 2);
}

#[test]
fn every_fate_of_three_owners() {
    all_fates::<u32>(3, 2);
    all_fates::<u64>(3, 2);
    all_fates::<u64>(3, 3);
}

#[test]
fn every_fate_of_four_owners() {
    all_fates::<u32>(4, 3);
}

/// Every subset drops out, in every phase.
fn all_subsets<R: Ring>(owners: usize, threshold: u16) {
    let mut world = World::new(owners, training(R::BITS, VALUES, threshold));
    for phase in 0..PHASES {
        for subset in 0..1usize << owners {
            let fates: Vec<usize> = (0..owners).map(|at| if subset >> at & 1 == 1 { phase } else { PHASES }).collect();
            let stay = owners - subset.count_ones() as usize;
            assert_eq!(check::<R>(&mut world, &fates), stay >= usize::from(threshold));
        }
    }
}

#[test]
fn every_subset_of_five_and_six_owners() {
    all_subsets::<u32>(5, 3);
    all_subsets::<u64>(5, 4);
    all_subsets::<u64>(6, 4);
}

#[test]
fn every_subset_of_seven_owners() {
    all_subsets::<u32>(7, 4);
}

#[test]
fn every_subset_of_eight_owners() {
    all_subsets::<u64>(8, 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn twenty_owners_with_any_fates(
        fates in prop::collection::vec(prop_oneof![4 => Just(PHASES), 1 => 0..PHASES], 20),
        threshold in majority(20)..=20,
        values in 1u64..50,
        wide: bool,
    ) {
        let mut world = World::new(20, training(if wide { 64 } else { 32 }, values, threshold));
        if wide { check::<u64>(&mut world, &fates) } else { check::<u32>(&mut world, &fates) };
        // In the next round all are there again.
        if wide { check::<u64>(&mut world, &[PHASES; 20]) } else { check::<u32>(&mut world, &[PHASES; 20]) };
    }
}
