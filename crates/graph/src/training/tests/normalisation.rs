//! Batch normalisation and its running statistics against their formulas.

use super::*;
use crate::training::evaluation;

#[test]
fn statistics_are_those_of_the_batch_and_running_ones_move() {
    let mut net = Net::new(&[3, 2, 4]);
    net.norm("norm");
    net.dense("head", 2, true);
    let recipe = recipe(Loss::Mse, 6);
    let step = training_step(&net.graph, &recipe, 0.0, false).expect("a step");
    let (x, labels) = batch(&step, 3);
    let Op::BatchNorm(norm) = &net.graph.nodes[0].op else { panic!("a normalisation") };
    let (mut y, mut wanted) = (vec![0.0; 0], vec![0.0; x.len()]);
    let mut machine = Machine::<f64>::new(&step);
    machine.run(&step, &x, &labels, 0, |node, values| {
        if step.nodes[node].name == "norm" {
            y = values.to_vec();
        }
    });
    let state = |name: &str| step.states.iter().position(|state| state.name == name).expect("a state");
    for channel in 0..3 {
        let of = |item: usize, place: usize| (item * 3 + channel) * 8 + place;
        let all: Vec<usize> = (0..48).map(|i| of(i / 8, i % 8)).collect();
        let mean = all.iter().map(|&i| x[i]).sum::<f64>() / 48.0;
        let variance = all.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / 48.0;
        for &i in &all {
            let unit = (x[i] - mean) / (variance + norm.epsilon).sqrt();
            wanted[i] = f64::from(norm.gamma[channel]) * unit + f64::from(norm.beta[channel]);
        }
        let running = [("mean", &norm.mean, mean), ("variance", &norm.variance, variance * 48.0 / 47.0)];
        for (name, old, new) in running {
            let wanted = 0.9 * f64::from(old[channel]) + 0.1 * new;
            let found = machine.states[state(&format!("norm.{name}"))][channel];
            assert!((found - wanted).abs() < 1e-12, "{name}: {found} {wanted}");
        }
    }
    y.iter().zip(&wanted).for_each(|(y, wanted)| assert!((y - wanted).abs() < 1e-9, "{y} {wanted}"));
}

#[test]
fn an_evaluation_takes_running_statistics_and_drops_nothing() {
    let mut net = Net::new(&[3, 4, 4]);
    net.conv("first", 4, [2, 2], |_| ());
    net.norm("norm");
    net.push("drop", Op::Dropout { ratio: Some(0.5) }, vec![4, 3, 3]);
    net.relu("r");
    net.dense("head", 5, true);
    let recipe = recipe(Loss::Mse, 2);
    let step = evaluation(&net.graph, &recipe, 7).expect("an evaluation");
    let (x, labels) = batch(&step, 9);
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let mut trainer = crate::training::Trainer::new(&step);
    let outcome = trainer.run(&step, &x, &labels, 0);
    let wanted = crate::Executor::new(&net.graph).run(7, &x).expect("a result");
    outcome.output.iter().zip(&wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
    let best = |row: &[f32]| (0..5).fold(0, |best, class| if row[class] > row[best] { class } else { best });
    let right = wanted.chunks(5).zip(&labels).filter(|(row, label)| best(row) == **label as usize).count();
    assert_eq!(trainer.states().last(), Some(&vec![right as f32]));
    trainer.run(&step, &x, &labels, 1);
    assert_eq!(trainer.states().last(), Some(&vec![2.0 * right as f32]), "counts add up");
}

#[test]
fn one_value_a_channel_has_no_variance() {
    let mut net = Net::new(&[3]);
    net.norm("norm");
    net.dense("head", 2, true);
    let error = training_step(&net.graph, &recipe(Loss::Mse, 1), 0.1, false).expect_err("no variance");
    assert!(error.to_string().contains("\"norm\""), "{error}");
}
