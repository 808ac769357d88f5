//! Updates against sequences computed by hand.

use super::*;
use crate::ValueRange;
use crate::training::{RangesError, StepRanges, Trainer};

/// One weight, inputs and labels 1: the loss is (w - 1)².
fn weights_after(recipe: &Recipe, start: f32, lr: f64, steps: u64) -> Vec<f32> {
    let mut net = Net::new(&[1]);
    net.dense("only", 1, false);
    let Op::Dense(dense) = &mut net.graph.nodes[0].op else { panic!("a dense layer") };
    dense.weights.data_mut()[0] = start;
    let step = training_step(&net.graph, recipe, lr, true).expect("a step");
    let mut trainer = Trainer::new(&step);
    let batch = recipe.batch;
    let run = |number| {
        let before = f64::from(trainer.states()[0][0]);
        let outcome = trainer.run(&step, &vec![1.0; batch], &vec![0; batch], number);
        let loss = outcome.loss.expect("a loss");
        assert!((loss - batch as f64 * (before - 1.0).powi(2)).abs() < 1e-5);
        trainer.states()[0][0]
    };
    (0..steps).map(run).collect()
}

fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{found:?} {wanted:?}"));
}

#[test]
fn updates_are_those_computed_by_hand_for_every_batch() {
    for batch in [1, 2, 5] {
        let plain = recipe(Loss::Mse, batch);
        close(&weights_after(&plain, 0.0, 0.1, 3), &[0.2, 0.36, 0.488]);
        let momentum = Recipe { momentum: 0.5, ..plain.clone() };
        close(&weights_after(&momentum, 0.0, 0.1, 3), &[0.2, 0.46, 0.698]);
        let nesterov = Recipe { nesterov: true, ..momentum.clone() };
        close(&weights_after(&nesterov, 0.0, 0.1, 2), &[0.3, 0.56]);
        let decay = Recipe { weight_decay: 0.1, ..plain.clone() };
        close(&weights_after(&decay, 1.0, 0.1, 2), &[0.99, 0.9821]);
        // g = 0.1, v = 0.1, w = 0.99; g = -0.02 + 0.099, v = 0.05 + 0.079, w = 0.99 - 0.0129.
        let both = Recipe { weight_decay: 0.1, ..momentum };
        close(&weights_after(&both, 1.0, 0.1, 2), &[0.99, 0.9771]);
        // g = 0.1, v = 0.1, w = 1 - 0.1·0.15; g = -0.03 + 0.0985, v = 0.05 + 0.0685, w = 0.985 - 0.1·(0.0685 + 0.05925).
        let all = Recipe { weight_decay: 0.1, ..nesterov };
        close(&weights_after(&all, 1.0, 0.1, 2), &[0.985, 0.972_225]);
    }
}

#[test]
fn memory_does_not_grow_from_step_to_step() {
    for momentum in [0.0, 0.9] {
        let mut net = Net::new(&[2, 5, 5]);
        net.conv("first", 3, [2, 2], |_| ());
        net.norm("norm");
        net.dense("head", 3, true);
        let recipe = Recipe { momentum, ..recipe(Loss::CrossEntropy, 4) };
        let step = training_step(&net.graph, &recipe, 0.1, true).expect("a step");
        let (x, labels) = batch(&step, 1);
        let mut machine = Machine::<f64>::new(&step);
        let mut run = |number| {
            machine.run(&step, &x, &labels, number, |_, _| ());
            machine.held()
        };
        let held: Vec<usize> = (0..6).map(&mut run).collect();
        assert!(held[0] > 0 && held[2..].iter().all(|&now| now == held[1]), "{held:?}");
    }
}

#[test]
fn rates_follow_their_schedule() {
    assert_eq!(Schedule::Constant.lr(0.5, 7, 9), 0.5);
    let step = Schedule::Step { epochs: 3, factor: 0.1 };
    let rates: Vec<f64> = (0..7).map(|epoch| step.lr(1.0, epoch, 7)).collect();
    let wanted = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01];
    rates.iter().zip(wanted).for_each(|(rate, wanted)| assert!((rate - wanted).abs() < 1e-12, "{rates:?}"));
    let cosine = |epoch| Schedule::Cosine.lr(2.0, epoch, 4);
    assert!((cosine(0) - 2.0).abs() < 1e-12 && (cosine(2) - 1.0).abs() < 1e-12 && cosine(3) > 0.0);
}

#[test]
fn a_rehearsal_sees_the_greatest_of_all_steps() {
    let mut net = Net::new(&[1]);
    net.dense("only", 1, false);
    let Op::Dense(dense) = &mut net.graph.nodes[0].op else { panic!("a dense layer") };
    dense.weights.data_mut()[0] = 0.0;
    let recipe = Recipe { momentum: 0.5, ..recipe(Loss::Mse, 1) };
    let step = training_step(&net.graph, &recipe, 0.1, true).expect("a step");
    let mut trainer = Trainer::new(&step);
    let batch: (&[f32], &[u32]) = (&[1.0], &[0]);
    let ranges = crate::training::rehearse(&step, &mut trainer, [batch; 3]).expect("ranges");
    assert_eq!((ranges.steps, ranges.nodes.len(), ranges.states.len()), (3, step.nodes.len(), step.states.len()));
    let node = |name: &str| ranges.nodes[step.nodes.iter().position(|node| node.name == name).expect(name)];
    // Weights 0, 0.2, 0.46 before and 0.698 after the steps; velocities -2, -2.6, -2.38.
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    near(node("only.weight").max_abs, 0.46);
    near(node("only.weight").rms, 0.22);
    near(node("loss.gradient").max_abs, 2.0);
    near(node("only.weight.update").max_abs, 2.6);
    near(ranges.states[0].max_abs, 0.698);
    near(ranges.states[1].rms, (2.0 + 2.6 + 2.38) / 3.0);
    let diverging = training_step(&net.graph, &recipe, 1e30, true).expect("a step");
    let error = crate::training::rehearse(&diverging, &mut trainer, [batch; 9]).expect_err("it diverges");
    assert!(error.to_string().contains("diverges"), "{error}");
    assert!(crate::training::rehearse(&step, &mut trainer, []).is_err());
}

#[test]
fn ranges_tell_what_the_states_begin_with_and_are_checked_against_their_step() {
    let mut net = Net::new(&[1]);
    net.dense("only", 1, false);
    let Op::Dense(dense) = &mut net.graph.nodes[0].op else { panic!("a dense layer") };
    dense.weights.data_mut()[0] = -3.0;
    let step = training_step(&net.graph, &recipe(Loss::Mse, 1), 0.1, true).expect("a step");
    let batch: (&[f32], &[u32]) = (&[1.0], &[0]);
    let ranges = crate::training::rehearse(&step, &mut Trainer::new(&step), [batch; 2]).expect("ranges");
    // -2.2 and -1.56 after the steps.
    assert_eq!(ranges.states[0].max_abs, 3.0);
    assert!((ranges.states[0].rms - 1.88).abs() < 1e-6, "{:?}", ranges.states);
    let told = ranges.rounded();
    assert!((told.states[0].max_abs - 4.0 / 1.01).abs() < 1e-12 && told.states[0].rms == 2.0, "{told:?}");
    assert_eq!((told.rounded(), told.steps), (told.clone(), 2));
    // The count, which training leaves at zero, and its range.
    assert_eq!(told.states.last(), Some(&ValueRange::default()));
    assert_eq!([ranges.check(&step), told.check(&step)], [Ok(()), Ok(())]);
    let short = StepRanges { nodes: told.nodes[1..].to_vec(), ..told.clone() };
    assert!(matches!(short.check(&step), Err(RangesError::Length { .. })));
    let long = StepRanges { states: [&told.states[..], &told.states[..1]].concat(), ..told.clone() };
    assert!(matches!(long.check(&step), Err(RangesError::Length { .. })));
    for odd in [f64::NAN, f64::INFINITY, -1e-9, 1e39] {
        for rms in [false, true] {
            let mut wrong = told.clone();
            let range = &mut wrong.states[0];
            *(if rms { &mut range.rms } else { &mut range.max_abs }) = odd;
            let error = wrong.check(&step).expect_err("no range");
            assert!(matches!(&error, RangesError::Value { name, .. } if name == "only.weight"), "{error}");
        }
        let mut wrong = told.clone();
        wrong.nodes[0].max_abs = odd;
        assert!(wrong.check(&step).expect_err("no range").to_string().contains("\"features\""));
    }
    let mut greatest = told.clone();
    greatest.nodes[0] = ValueRange { max_abs: f32::MAX.into(), rms: f32::MAX.into() }.rounded();
    assert_eq!(greatest.check(&step), Ok(()));
}
