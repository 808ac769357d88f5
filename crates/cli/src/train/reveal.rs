//! What `--reveal` says: which of three results somebody learns, and who.

use ariann_gates::Receiver;
use ariann_session::training::{Job, Reveals};

/// One `--reveal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevealOption {
    pub what: What,
    /// Nobody when none.
    pub to: Option<Receiver>,
}

/// What training can reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Model,
    Loss,
    Accuracy,
}

/// The model to P0, which brought it, and nothing else unless it is said.
pub fn reveals(given: &[RevealOption]) -> Reveals {
    let mut reveals = Reveals { model: Some(Receiver::P0), loss: None, accuracy: None };
    for reveal in given {
        match reveal.what {
            What::Model => reveals.model = reveal.to,
            What::Loss => reveals.loss = reveal.to,
            What::Accuracy => reveals.accuracy = reveal.to,
        }
    }
    reveals
}

/// What a job reveals as `what:role`.
pub fn names(job: &Job) -> Vec<String> {
    job.revealed().into_iter().map(|(what, to)| format!("{what}:{}", name(to))).collect()
}

/// As `--reveal` writes it.
fn name(to: Receiver) -> &'static str {
    match to {
        Receiver::P0 => "p0",
        Receiver::P1 => "p1",
        Receiver::Both => "both",
        Receiver::Client => "client",
    }
}

pub fn parse(text: &str) -> Result<RevealOption, String> {
    let (what, to) = text.split_once(':').map_or((text, None), |(what, to)| (what, Some(to)));
    let what = match what {
        "model" => What::Model,
        "loss" => What::Loss,
        "accuracy" => What::Accuracy,
        _ => return Err("give model, loss or accuracy, and after a colon to whom, as in model:p0".to_string()),
    };
    let to = match to {
        Some("p0") => Some(Receiver::P0),
        Some("p1") => Some(Receiver::P1),
        Some("both") => Some(Receiver::Both),
        Some("none") => None,
        None if what == What::Model => return Err("say to whom the model goes: model:p0, p1, both or none".to_string()),
        None => Some(Receiver::P1),
        Some(_) => return Err("give p0, p1, both or none after the colon".to_string()),
    };
    Ok(RevealOption { what, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_goes_to_its_owner_and_nothing_else_to_anybody() {
        let to_p0 = Reveals { model: Some(Receiver::P0), loss: None, accuracy: None };
        assert_eq!(reveals(&[]), to_p0);
        let given = ["model:both", "loss", "accuracy:p0"].map(|text| parse(text).expect("a reveal"));
        let all = Reveals { model: Some(Receiver::Both), loss: Some(Receiver::P1), accuracy: Some(Receiver::P0) };
        assert_eq!(reveals(&given), all);
        assert_eq!(reveals(&[parse("model:none").expect("a reveal")]), Reveals { model: None, ..to_p0 });
        for wrong in ["model", "weights:p0", "loss:dealer", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
