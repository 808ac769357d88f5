//! Clipping an update under sharing, run by two parties: bit for bit against the fixed-point reference, against clipping in
//! float, and for words that no honest training leaves.

mod common;

use std::sync::Arc;

use ariann_gates::Receiver;
use ariann_graph::training::{Loss, Recipe, Rehearsal, Role, Trainer, evaluation, training_step};
use ariann_graph::{Graph, Network, import, zoo};
use ariann_plan::clear::Reference;
use ariann_plan::training::{MARGIN, Source};
use ariann_plan::{InputSpec, Link, Optimize, Plan, SignChoice};
use ariann_ring::Ring;
use ariann_session::training::{
    Choices, Clipping, Course, Job, JobError, Kind, NORM_BITS, Ranges, Reveals, VERSION, is_averaged, weight_bits,
};
use common::recording::Seen;
use common::replaying::Replay;
use common::{Seeds, networks};

const NORM: u64 = 3 << (NORM_BITS - 1);

fn course(graph: &Graph, ring: u32, optimize: Optimize) -> Arc<Course> {
    let recipe = Recipe { momentum: 0.9, seed: 1, ..Recipe::plain(Loss::Mse, 4, 0.02) };
    let (step, test) =
        (training_step(graph, &recipe, recipe.lr, false).unwrap(), evaluation(graph, &recipe, 4).unwrap());
    let (mut trainer, mut rehearsal, mut of_test) = (Trainer::new(&step), Rehearsal::new(&step), Rehearsal::new(&test));
    for number in 0..4 {
        let values = (0..4 * step.item_len as u64).map(|i| ((i * 37 + number * 11) % 64) as f32 / 32.0 - 1.0);
        let (features, labels) = (values.collect::<Vec<_>>(), [0, 1, 2, 0]);
        rehearsal.step(&mut trainer, &step, &features, &labels, number).unwrap();
        let mut tester = Trainer::new(&test);
        of_test.step(&mut tester, &test, &features, &labels, number).unwrap();
    }
    let ranges = |rehearsal: &Rehearsal| rehearsal.ranges().unwrap().rounded();
    let (ranges, tested) = (ranges(&rehearsal), ranges(&of_test));
    let job = Job {
        version: VERSION,
        network: Network::of(graph),
        input: InputSpec::plain("input", &graph.input.shape, [-1.0, 1.0]),
        recipe,
        features: Source::P1,
        labels: Source::P1,
        owners: Vec::new(),
        reveals: Reveals { model: None, loss: None, accuracy: Some(Receiver::P0) },
        rows: 8,
        test_rows: 8,
        ranges: Ranges { steps: ranges, evaluation: Some(tested) },
        rescale_every: None,
        choices: Choices { ring, margin: MARGIN, optimize, sign: SignChoice::Exact, link: Link::LOOPBACK },
    };
    Arc::new(Course::new(job).unwrap())
}

struct Clipper<R: Ring> {
    course: Arc<Course>,
    plan: Plan,
    clipping: Clipping,
    ring: std::marker::PhantomData<R>,
}

impl<R: Ring> Clipper<R> {
    fn new(graph: &Graph, norm: u64, share: u64, optimize: Optimize) -> Self {
        let course = course(graph, R::BITS, optimize);
        let weight = (1 << weight_bits(R::BITS)) / share;
        let plan = course.at_first(Kind::Weigh(weight, Some(norm))).unwrap().plan.clone();
        let clipping = course.clipping(norm, weight).unwrap();
        Clipper { course, plan, clipping, ring: std::marker::PhantomData }
    }

    /// What is clipped, in numbers: D values.
    fn values(&self, words: &[Vec<R>]) -> Vec<f64> {
        let states = self.course.states().iter().zip(words).filter(|(state, _)| is_averaged(state.role));
        states.flat_map(|(state, words)| words.iter().map(|word| word.to_i64() as f64 * state.after.unit())).collect()
    }

    fn words(&self, mut value: impl FnMut(usize) -> f64) -> Vec<Vec<R>> {
        let mut at = 0;
        let states = self.course.states().iter();
        let words = states.map(|state| {
            let own = |_| {
                if !is_averaged(state.role) {
                    return R::ZERO;
                }
                at += 1;
                R::from_i64((value(at - 1) / state.after.unit()).round() as i64)
            };
            (0..state.len()).map(own).collect()
        });
        words.collect()
    }

    fn count(&self) -> usize {
        self.course.states().iter().filter(|state| is_averaged(state.role)).map(|state| state.len()).sum()
    }

    /// By both parties; where `replays`, the reference must give the same bits.
    fn run(&self, words: &[Vec<R>], number: u64, replays: bool) -> Vec<Vec<R>> {
        let seeds = Seeds::numbered(number);
        let mut state = number;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            R::from_u64(state ^ (state >> 29))
        };
        let first: Vec<Vec<R>> = words.iter().map(|words| words.iter().map(|_| random()).collect()).collect();
        let second = words.iter().zip(&first).map(|(x, a)| x.iter().zip(a).map(|(x, a)| x.sub(*a)).collect());
        let (mut p0, mut p1) = (Seen::default(), Seen::default());
        let shares = [first.clone(), second.collect()];
        let stepped = common::step::<R>(&self.plan, shares, [[None; 2]; 2], [0, 0], &seeds, [&mut p0, &mut p1]);
        assert_eq!(stepped.results, [None, None], "nothing is revealed");
        let [a, b] = stepped.states;
        let joined: Vec<Vec<R>> =
            a.iter().zip(&b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.add(*b)).collect()).collect();
        if replays {
            let mut clear: Vec<Vec<i64>> =
                words.iter().map(|words| words.iter().map(|x| x.to_i64()).collect()).collect();
            let mut rounding = Replay::<R>::new(&p1.shares, &seeds, 1);
            let left =
                Reference::of_step(&self.plan).run_step(&mut clear, Vec::new(), Vec::new(), &mut rounding, [0, 0]);
            assert_eq!(left.excess, None);
            for ((state, private), clear) in self.course.states().iter().zip(&joined).zip(&clear) {
                let private: Vec<i64> = private.iter().map(|x| x.to_i64()).collect();
                assert!(private == *clear, "{}", state.name);
            }
        }
        joined
    }

    fn bound(&self) -> f64 {
        self.clipping.norm() * self.clipping.weight() * (1.0 + self.clipping.excess())
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn follows_float<R: Ring>(optimize: Optimize) {
    let clipper = Clipper::<R>::new(&networks::named(), NORM, 5, optimize);
    let (count, limit, weight) = (clipper.count(), clipper.clipping.norm(), clipper.clipping.weight());
    assert!((limit - 1.5).abs() < 1e-12 && (weight - 0.2).abs() < 1e-3);
    // An uneven direction, of norm 1.
    let raw: Vec<f64> = (0..count).map(|i| ((i * 7919 + 3) % 41) as f64 / 20.0 - 1.0).collect();
    let direction: Vec<f64> = raw.iter().map(|x| x / norm(&raw)).collect();
    // An update of norm C has four units a coordinate at least.
    let grid = limit / (count as f64).sqrt() / 4.0;
    for (number, length) in [0.0, 0.1, 0.7, 1.0, 1.05, 2.0, 5.0, 15.0].into_iter().enumerate() {
        let words = clipper.words(|at| length * limit * direction[at]);
        let clipped = clipper.values(&clipper.run(&words, number as u64, true));
        let kept = if length > 1.0 { 1.0 / length } else { 1.0 };
        let wanted: Vec<f64> = clipper.values(&words).iter().map(|x| x * kept * weight).collect();
        let off: Vec<f64> = clipped.iter().zip(&wanted).map(|(a, b)| a - b).collect();
        assert!(norm(&clipped) <= clipper.bound(), "{} at length {length}", norm(&clipped));
        let greatest = off.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        assert!(greatest <= weight * (1.5 * grid + 0.03 * limit), "{greatest} at length {length}");
        // A norm is a sum: roundings of single values hardly show in it.
        let (least, most) = (0.97 * norm(&wanted) - 1e-3 * limit, 1.03 * norm(&wanted) + 1e-3 * limit);
        let got = norm(&clipped);
        assert!(length < 0.5 || (least..=most).contains(&got), "{got} for {} at length {length}", norm(&wanted));
        if length == 0.0 {
            // A window rounds zero to zero: its coin and its half make a unit at most, and that is told.
            assert!(greatest <= 1.5 * weight * grid);
        }
    }
}

#[test]
fn a_clipped_update_is_that_of_clipping_in_float() {
    follows_float::<u32>(Optimize::Latency);
    follows_float::<u32>(Optimize::Material);
    follows_float::<u64>(Optimize::Latency);
}

fn bounds_all<R: Ring>() {
    let clipper = Clipper::<R>::new(&networks::named(), NORM, 3, Optimize::Latency);
    let least = R::from_u64(1).shl(R::BITS - 1);
    let greatest = least.sub(R::from_u64(1));
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ (state >> 29)
    };
    for number in 0..12u64 {
        let states = clipper.course.states().iter();
        let words: Vec<Vec<R>> = states
            .map(|state| {
                let word = |i: usize| match (is_averaged(state.role), number) {
                    (false, _) => R::ZERO,
                    (_, 0) => least,
                    (_, 1) => greatest,
                    (_, 2) => R::from_u64(1).shl(R::BITS - 2),
                    (_, 3) => R::from_i64(-1).shl(R::BITS - 2),
                    (_, 4) => {
                        if i.is_multiple_of(2) {
                            least
                        } else {
                            greatest
                        }
                    }
                    (_, 5) if i > 0 => R::ZERO,
                    (_, 5) => greatest,
                    (_, shift) => R::from_u64(random()).and(R::low_mask(R::BITS - (shift as u32 - 6))),
                };
                (0..state.len()).map(word).collect()
            })
            .collect();
        let clipped = clipper.values(&clipper.run(&words, number, false));
        assert!(norm(&clipped) <= clipper.bound(), "{} of case {number}, at most {}", norm(&clipped), clipper.bound());
        assert!(norm(&clipped) > 0.0, "case {number} is not dropped");
    }
}

#[test]
fn no_words_whatever_come_out_above_the_bound() {
    bounds_all::<u32>();
    bounds_all::<u64>();
}

/// Many values, of which the sum of squares goes beyond the first table.
#[test]
fn far_above_the_norm_is_clipped_as_well() {
    let network = zoo::network("network1", &zoo::Options::default()).unwrap();
    let graph = import::import_for_training_bytes(&network.onnx).unwrap();
    let clipper = Clipper::<u32>::new(&graph, NORM / 8, 4, Optimize::Latency);
    let (count, limit) = (clipper.count(), clipper.clipping.norm());
    assert!(count > 100_000 && clipper.clipping.excess() < 0.02, "{}", clipper.clipping.excess());
    let raw: Vec<f64> = (0..count).map(|i| ((i * 7919 + 3) % 41) as f64 / 20.0 - 1.0).collect();
    let whole = norm(&raw);
    for (number, length) in [0.9, 7.0, 11.2, 12.0, 13.0, 14.0, 15.0, 15.9, 16.5, 25.0, 36.0].into_iter().enumerate() {
        let words = clipper.words(|at| length * limit * raw[at] / whole);
        let clipped = clipper.values(&clipper.run(&words, number as u64, true));
        let (got, most) = (norm(&clipped), limit.min(length * limit) * clipper.clipping.weight());
        assert!(got <= clipper.bound() && got > 0.97 * most && got < 1.02 * most, "{got} for {most} at {length}");
        let factor = got / norm(&clipper.values(&words));
        let off =
            clipper.values(&words).iter().zip(&clipped).map(|(x, y)| (x * factor - y).powi(2)).sum::<f64>().sqrt();
        assert!(off < 0.15 * most, "off by {off} of {most} at {length}");
    }
}

#[test]
fn what_cannot_be_clipped_is_refused() {
    let course = course(&networks::named(), 32, Optimize::Latency);
    assert!(course.states().iter().any(|state| state.role == Role::Parameter));
    let refused = |norm: u64, weight: u64| match course.clipping(norm, weight) {
        Err(JobError::Head(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(refused(1, 1).contains("too coarse"));
    assert!(refused(1 << 62, 1).contains("cannot hold"));
    assert!(refused(0, 1).contains('0') && refused(NORM, 0).contains('0'));
    course.clipping(NORM, 1 << weight_bits(32)).unwrap();
}

#[test]
fn the_norm_is_exceeded_by_little() {
    for ring in [32, 64] {
        let course = course(&networks::named(), ring, Optimize::Latency);
        for step in 0..60u32 {
            // From 2^-6 to 1, in uneven steps.
            let norm = (2f64.powf(f64::from(NORM_BITS) - 6.0 + f64::from(step) / 10.0)) as u64;
            for share in [1, 2, 3, 7, 40] {
                let clipping = course.clipping(norm, (1 << weight_bits(ring)) / share).unwrap();
                let excess = clipping.excess();
                assert!((0.0..0.035).contains(&excess), "{excess} for {clipping:?}");
            }
        }
    }
}
