//! The recipe: what the flags say, and beside them what the original's evaluation took for its networks.

use ariann_graph::training::{Initial, Loss, Recipe, Schedule};

/// What training does. Flags that are absent follow the original's recipe where `--network` names one of its networks.
#[derive(clap::Args, Clone, Debug)]
pub struct RecipeOptions {
    /// Passes over the training set.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Items of a step; what is left of an epoch is not used in it.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Learning rate of the first epoch.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Momentum of stochastic gradient descent; 0 for none.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Nesterov's form of momentum.
    #[arg(long)]
    pub nesterov: bool,
    /// Weight decay (L2).
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub weight_decay: f64,
    /// How the learning rate changes: constant, step:EPOCHS:FACTOR (times FACTOR every EPOCHS epochs) or cosine.
    #[arg(long, default_value = "constant", value_parser = parse_schedule)]
    pub schedule: Schedule,
    /// Fraction of the values that dropout layers set to zero, where the model does not say.
    #[arg(long, value_name = "X", default_value_t = 0.5, allow_negative_numbers = true)]
    pub dropout: f64,
    /// What is minimised: mse (squared difference to the one-hot label) or ce (softmax cross-entropy).
    #[arg(long, value_parser = parse_loss)]
    pub loss: Option<Loss>,
    /// Seed of fresh weights, of the order of items and of dropout. It is public.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Layers whose parameters stay as they are: those whose name begins so; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub freeze: Vec<String>,
}

/// What the original's evaluation trained a network with.
struct Original {
    network: &'static str,
    epochs: u32,
    lr: f64,
    loss: Loss,
}

const ORIGINAL: [Original; 3] = [
    Original { network: "network1", epochs: 15, lr: 0.01, loss: Loss::Mse },
    Original { network: "network2", epochs: 10, lr: 0.02, loss: Loss::CrossEntropy },
    Original { network: "lenet", epochs: 10, lr: 0.02, loss: Loss::Mse },
];

/// A recipe, and which parts of it nobody asked for.
pub struct Chosen {
    pub recipe: Recipe,
    /// As people read it; empty when every flag was given.
    pub taken: String,
}

impl RecipeOptions {
    /// The recipe for a network of the zoo, or for a model when there is none.
    pub fn choose(&self, network: Option<&str>) -> Chosen {
        let original = ORIGINAL.iter().find(|original| Some(original.network) == network);
        let mut taken = Vec::new();
        let mut or = |given: bool, text: String| {
            if !given {
                taken.push(text);
            }
        };
        let lr = self.lr.or(original.map(|original| original.lr)).unwrap_or(0.01);
        or(self.lr.is_some(), format!("--lr {lr}"));
        let momentum = self.momentum.unwrap_or(0.9);
        or(self.momentum.is_some(), format!("--momentum {momentum}"));
        let batch = self.batch.unwrap_or(if original.is_some() { 128 } else { 32 });
        or(self.batch.is_some(), format!("--batch {batch}"));
        let loss = self.loss.or(original.map(|original| original.loss)).unwrap_or(Loss::CrossEntropy);
        or(self.loss.is_some(), format!("--loss {}", loss_name(loss)));
        let epochs = self.epochs.or(original.map(|original| original.epochs)).unwrap_or(1);
        or(self.epochs.is_some(), format!("--epochs {epochs}"));
        let whose = original.map_or("defaults", |_| "the original's recipe");
        let recipe = Recipe {
            loss,
            epochs,
            batch,
            lr,
            schedule: self.schedule,
            momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            freeze: self.freeze.clone(),
            dropout: self.dropout,
            seed: self.seed,
            initial: if network.is_some() { Initial::Fresh } else { Initial::Model },
        };
        let taken = if taken.is_empty() { String::new() } else { format!("{whose}: {}", taken.join(" ")) };
        Chosen { recipe, taken }
    }
}

/// As `--loss` writes it.
pub fn loss_name(loss: Loss) -> &'static str {
    match loss {
        Loss::Mse => "mse",
        Loss::CrossEntropy => "ce",
    }
}

fn parse_loss(text: &str) -> Result<Loss, String> {
    match text {
        "mse" => Ok(Loss::Mse),
        "ce" => Ok(Loss::CrossEntropy),
        _ => Err("give mse or ce".to_string()),
    }
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let wrong = || "give constant, step:EPOCHS:FACTOR such as step:3:0.1, or cosine".to_string();
    match parts[..] {
        ["constant"] => Ok(Schedule::Constant),
        ["cosine"] => Ok(Schedule::Cosine),
        ["step", epochs, factor] => Ok(Schedule::Step {
            epochs: epochs.parse().map_err(|_| wrong())?,
            factor: factor.parse().map_err(|_| wrong())?,
        }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn options(args: &[&str]) -> RecipeOptions {
        let command = RecipeOptions::augment_args(clap::Command::new("train"));
        let matches = command.try_get_matches_from([&["train"], args].concat()).expect("flags");
        RecipeOptions::from_arg_matches(&matches).expect("options")
    }

    #[test]
    fn a_network_of_the_original_brings_its_recipe() {
        let Chosen { recipe, taken } = options(&["--lr", "0.5"]).choose(Some("network2"));
        assert_eq!((recipe.lr, recipe.momentum, recipe.batch, recipe.epochs), (0.5, 0.9, 128, 10));
        assert_eq!((recipe.loss, recipe.initial), (Loss::CrossEntropy, Initial::Fresh));
        assert_eq!(taken, "the original's recipe: --momentum 0.9 --batch 128 --loss ce --epochs 10");
        let Chosen { recipe, .. } = options(&[]).choose(Some("lenet"));
        assert_eq!((recipe.lr, recipe.loss), (0.02, Loss::Mse));
    }

    #[test]
    fn a_model_keeps_its_weights_and_what_was_given_is_not_told() {
        let args = ["--lr", "0.1", "--momentum", "0", "--batch", "4", "--loss", "mse", "--epochs", "2"];
        let Chosen { recipe, taken } = options(&args).choose(None);
        assert_eq!((recipe.initial, recipe.momentum, recipe.epochs), (Initial::Model, 0.0, 2));
        assert_eq!(taken, "");
    }

    #[test]
    fn schedules_are_three() {
        assert_eq!(parse_schedule("step:3:0.5"), Ok(Schedule::Step { epochs: 3, factor: 0.5 }));
        assert_eq!(parse_schedule("cosine"), Ok(Schedule::Cosine));
        assert!(
            parse_schedule("step:3").is_err() && parse_schedule("step:a:b").is_err() && parse_schedule("").is_err()
        );
        assert!(parse_loss("mae").is_err());
    }
}
