//! Who was a member when a role was started last. Owners may leave for good and join between two starts, with another
//! federation file, and not in the midst of a round.

use std::io::Write;
use std::path::Path;

use ariann_session::SessionError;
use serde::{Deserialize, Serialize};

use super::federation::{Federation, Member};
use crate::keep::replace;

/// What a role remembers in its state folder.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Seats {
    epoch: u32,
    owners: Vec<Member>,
}

/// Compares the federation with that of the last start, and remembers it. `running` is a round that was begun and has not ended.
/// Says what has changed.
pub(crate) fn take(
    folder: &Path,
    federation: &Federation,
    running: Option<u64>,
) -> Result<Option<String>, SessionError> {
    let path = folder.join("roster.json");
    let mut owners = federation.owners.clone();
    owners.sort_by_key(|owner| owner.number);
    let now = Seats { epoch: federation.epoch, owners };
    let before: Option<Seats> = match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).map_err(|error| {
            SessionError::Config(format!("{}: {error}; it is no roster of this release", path.display()))
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(SessionError::file("reading", path, source)),
    };
    if before.as_ref() == Some(&now) {
        return Ok(None);
    }
    let changed = before.map(|before| change(&before, &now, running)).transpose()?;
    let text = serde_json::to_vec(&now).expect("a roster is JSON");
    replace(&path, |file| file.write_all(&text))?;
    Ok(changed)
}

fn list(owners: &[&Member]) -> String {
    let numbers: Vec<String> = owners.iter().map(|owner| owner.number.to_string()).collect();
    numbers.join(", ")
}

/// Accepts or refuses a change.
fn change(before: &Seats, now: &Seats, running: Option<u64>) -> Result<String, SessionError> {
    let refuse = |reason: String| Err(SessionError::Config(format!("the federation has other owners: {reason}")));
    if let Some(round) = running {
        return refuse(format!("round {round} has not ended; start all roles with the former file, until it has"));
    }
    let gone: Vec<&Member> = before.owners.iter().filter(|owner| !now.owners.contains(owner)).collect();
    let new: Vec<&Member> = now.owners.iter().filter(|owner| !before.owners.contains(owner)).collect();
    if now.epoch < before.epoch {
        return refuse(format!("its epoch is {}, and was {} before; epochs grow", now.epoch, before.epoch));
    }
    if !gone.is_empty() && now.epoch == before.epoch {
        let (gone, next) = (list(&gone), before.epoch + 1);
        return refuse(format!("owner {gone} has left; set epoch to {next}, for a group key that it does not have"));
    }
    let Some(keeper) = now.owners.iter().find(|owner| before.owners.contains(owner)) else {
        return refuse("nobody of the former ones is left, so nobody has the group key".to_string());
    };
    if let Some(low) = new.iter().find(|owner| owner.number < keeper.number) {
        let (low, keeper) = (low.number, keeper.number);
        return refuse(format!(
            "owner {low} is new, and must have a number above {keeper}, whose owner keeps the group key"
        ));
    }
    let named = |owners: &[&Member], what: &str| match owners {
        [] => String::new(),
        owners => format!("; {what}: {}", list(owners)),
    };
    Ok(format!("other owners, epoch {}{}{}", now.epoch, named(&gone, "have left"), named(&new, "are new")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(epoch: u32, owners: &[(u16, &str)]) -> Seats {
        let member = |(number, pin): &(u16, &str)| Member { number: *number, fingerprint: pin.to_string() };
        Seats { epoch, owners: owners.iter().map(member).collect() }
    }

    #[test]
    fn owners_leave_with_a_new_epoch_and_join_above_the_keeper() {
        let before = seats(2, &[(2, "b"), (3, "c"), (5, "e")]);
        let said = |now: &Seats| change(&before, now, None).unwrap();
        assert_eq!(said(&seats(3, &[(2, "b"), (5, "e")])), "other owners, epoch 3; have left: 3");
        assert_eq!(said(&seats(2, &[(2, "b"), (3, "c"), (4, "d"), (5, "e")])), "other owners, epoch 2; are new: 4");
        assert_eq!(said(&seats(4, &[(3, "c"), (5, "f")])), "other owners, epoch 4; have left: 2, 5; are new: 5");
        assert_eq!(
            said(&seats(3, &before.owners.iter().map(|it| (it.number, &*it.fingerprint)).collect::<Vec<_>>())),
            "other owners, epoch 3"
        );
        let refused = |now: &Seats, running| change(&before, now, running).unwrap_err().to_string();
        for (now, running, reason) in [
            (seats(2, &[(2, "b"), (5, "e")]), None, "set epoch to 3"),
            (seats(1, &[(2, "b"), (3, "c"), (5, "e")]), None, "epochs grow"),
            (seats(3, &[(1, "a"), (2, "b"), (5, "e")]), None, "above 2"),
            (seats(3, &[(2, "x"), (3, "c"), (5, "e")]), None, "above 3"),
            (seats(3, &[(7, "x"), (8, "y")]), None, "nobody"),
            (seats(3, &[(2, "b"), (5, "e")]), Some(4), "round 4 has not ended"),
        ] {
            let error = refused(&now, running);
            assert!(error.contains(reason), "{error}");
        }
    }
}
