//! Fresh weights, learning rates, and what a recipe may ask for.

use super::public::Stream;
use super::recipe::{Recipe, RecipeError, Schedule};
use crate::graph::{Conv, Graph, Node, Op};

/// Items of a batch at most.
const MOST_ITEMS: usize = 1 << 20;

/// Names to freeze at most; each is looked for in all layers.
const MOST_NAMES: usize = 1 << 12;

/// Uniform within ±1/√inputs, from the recipe's seed and the parameter's name.
pub(super) fn uniform(seed: u64, name: &str, inputs: usize, len: usize) -> Vec<f32> {
    let mut stream = Stream::new("ariann 2026 training: initial weights", seed, &[], name);
    let bound = 1.0 / (inputs.max(1) as f64).sqrt();
    let unit = 2f64.powi(-23);
    // Odd numerators: even around zero, and never zero.
    (0..len).map(|_| (bound * unit * f64::from((stream.word() >> 8) as i32 * 2 + 1 - (1 << 24)) / 2.0) as f32).collect()
}

impl Schedule {
    /// The rate of epoch `epoch`, counted from 0, of `epochs`, where the first one's is `lr`.
    pub fn lr(&self, lr: f64, epoch: u32, epochs: u32) -> f64 {
        match self {
            Schedule::Constant => lr,
            Schedule::Step { epochs, factor } => lr * factor.powf(f64::from(epoch / (*epochs).max(1))),
            Schedule::Cosine => {
                let part = f64::from(epoch) / f64::from(epochs.max(1));
                lr * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
        }
    }
}

/// Whether a step of so many items has lengths that can be computed with.
pub(super) fn check_batch(batch: usize) -> Result<(), RecipeError> {
    let right = (1..=MOST_ITEMS).contains(&batch);
    let refused = RecipeError::Number { what: "the batch", value: batch as f64, advice: "1 to 1048576" };
    if right { Ok(()) } else { Err(refused) }
}

impl Recipe {
    /// Whether the recipe can be carried out on a network.
    pub fn check(&self, graph: &Graph) -> Result<(), RecipeError> {
        let within = |what, value: f64, right: bool, advice| {
            if right { Ok(()) } else { Err(RecipeError::Number { what, value, advice }) }
        };
        let positive = |value: f64| value.is_finite() && value > 0.0;
        within("the learning rate", self.lr, positive(self.lr), "a number above 0, such as 0.01")?;
        within("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "0, or a number below 1 such as 0.9")?;
        let right = !self.nesterov || self.momentum > 0.0;
        within("momentum", self.momentum, right, "a number above 0 with Nesterov's form")?;
        let decay = self.weight_decay;
        within("weight decay", decay, decay.is_finite() && decay >= 0.0, "0, or a small number such as 0.0005")?;
        within("dropout", self.dropout, (0.0..1.0).contains(&self.dropout), "0, or a number below 1 such as 0.5")?;
        check_batch(self.batch)?;
        within("the number of epochs", self.epochs.into(), self.epochs > 0, "at least 1")?;
        if let Schedule::Step { epochs, factor } = self.schedule {
            within("the schedule's number of epochs", epochs.into(), epochs > 0, "at least 1")?;
            within("the schedule's factor", factor, positive(factor), "a number above 0, such as 0.1")?;
        }
        let names = self.freeze.len();
        within(
            "the number of names to freeze",
            names as f64,
            names <= MOST_NAMES,
            "fewer, each a part of several names",
        )?;
        self.check_names(graph)
    }

    fn check_names(&self, graph: &Graph) -> Result<(), RecipeError> {
        let own: Vec<&Node> = graph.nodes.iter().filter(|node| has_parameters(&node.op)).collect();
        let unknown = |name: &&String| !own.iter().any(|node| node.name.starts_with(name.as_str()));
        if let Some(name) = self.freeze.iter().find(unknown) {
            let layers = own.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(RecipeError::Freeze { name: name.clone(), layers });
        }
        if own.iter().any(|node| self.trains(node)) { Ok(()) } else { Err(RecipeError::Frozen) }
    }

    /// The parameters of a layer change: it has some that are weights, not constants of the model, and is not frozen.
    pub fn trains(&self, node: &Node) -> bool {
        has_parameters(&node.op) && !self.freeze.iter().any(|name| node.name.starts_with(name.as_str()))
    }
}

fn has_parameters(op: &Op) -> bool {
    match op {
        Op::Dense(_) | Op::BatchNorm(_) => true,
        Op::Conv(conv) => !is_scaling(conv),
        _ => false,
    }
}

/// Arithmetic with constants, which the importer writes as a depthwise convolution of single places.
fn is_scaling(Conv { shape, .. }: &Conv) -> bool {
    let depthwise = shape.groups == shape.in_channels && shape.groups == shape.out_channels;
    depthwise && shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.pads == [0; 4]
}
