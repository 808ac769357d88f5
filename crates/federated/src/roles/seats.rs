//! Who was a member when a role was started last. Owners may leave for good and join between two starts, with another
//! federation file, and not in the midst of a round.

use std::io::Write;
use std::path::Path;

use ariann_session::SessionError;
use serde::{Deserialize, Serialize};

use super::federation::{Federation, Former, Member};
use crate::keep::replace;

/// What a role remembers in its state folder.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Seats {
    epoch: u32,
    owners: Vec<Member>,
    #[serde(default)]
    former: Vec<Former>,
}

fn sorted(owners: &[Member]) -> Vec<Member> {
    let mut owners = owners.to_vec();
    owners.sort_by_key(|owner| owner.number);
    owners
}

/// Compares the federation with that of the last start, and remembers it. `running` is a round that was begun and has not ended.
/// Says what has changed.
pub(crate) fn take(
    folder: &Path,
    federation: &Federation,
    running: Option<u64>,
) -> Result<Option<String>, SessionError> {
    let path = folder.join("roster.json");
    let former = |it: &Former| Former { epoch: it.epoch, owners: sorted(&it.owners) };
    let now = Seats {
        epoch: federation.epoch,
        owners: sorted(&federation.owners),
        former: federation.former.iter().map(former).collect(),
    };
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
    let seated = Former { epoch: before.epoch, owners: before.owners.clone() };
    if !now.former.iter().take(before.former.len() + 1).eq(before.former.iter().chain([&seated])) {
        let all = before.former.len() + 1;
        let (place, epoch, owners) = (all, before.epoch, list(&before.owners.iter().collect::<Vec<_>>()));
        return refuse(format!(
            "entry {place} of `former` must be the owners before: {{ \"epoch\": {epoch}, \"owners\": [..] }} with owners {owners} as they \
             were in the former file, whose own `former` come before it. Their signatures under former rounds are verified by it"
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
        Seats { epoch, owners: owners.iter().map(member).collect(), former: Vec::new() }
    }

    fn after(before: &Seats, epoch: u32, owners: &[(u16, &str)]) -> Seats {
        let seated = Former { epoch: before.epoch, owners: before.owners.clone() };
        Seats { former: before.former.iter().chain([&seated]).cloned().collect(), ..seats(epoch, owners) }
    }

    #[test]
    fn owners_leave_with_a_new_epoch_and_join_above_the_keeper() {
        let before = seats(2, &[(2, "b"), (3, "c"), (5, "e")]);
        let said = |epoch, owners: &[(u16, &str)]| change(&before, &after(&before, epoch, owners), None).unwrap();
        assert_eq!(said(3, &[(2, "b"), (5, "e")]), "other owners, epoch 3; have left: 3");
        assert_eq!(said(2, &[(2, "b"), (3, "c"), (4, "d"), (5, "e")]), "other owners, epoch 2; are new: 4");
        assert_eq!(said(4, &[(3, "c"), (5, "f")]), "other owners, epoch 4; have left: 2, 5; are new: 5");
        assert_eq!(
            said(3, &before.owners.iter().map(|it| (it.number, &*it.fingerprint)).collect::<Vec<_>>()),
            "other owners, epoch 3"
        );
        for (epoch, owners, running, reason) in [
            (2, &[(2, "b"), (5, "e")][..], None, "set epoch to 3"),
            (1, &[(2, "b"), (3, "c"), (5, "e")], None, "epochs grow"),
            (3, &[(1, "a"), (2, "b"), (5, "e")], None, "above 2"),
            (3, &[(2, "x"), (3, "c"), (5, "e")], None, "above 3"),
            (3, &[(7, "x"), (8, "y")], None, "nobody"),
            (3, &[(2, "b"), (5, "e")], Some(4), "round 4 has not ended"),
        ] {
            let error = change(&before, &after(&before, epoch, owners), running).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn former_owners_stay_named() {
        let first = seats(1, &[(2, "b"), (3, "c"), (5, "e")]);
        let second = after(&first, 2, &[(2, "b"), (5, "e")]);
        let third = after(&second, 2, &[(2, "b"), (5, "e"), (6, "f")]);
        change(&first, &second, None).unwrap();
        change(&second, &third, None).unwrap();
        change(&first, &third, None).expect("one that missed a change");
        let mut other = third.clone();
        other.former[0].owners[0].fingerprint = "x".to_string();
        for former in [vec![], third.former[..1].to_vec(), third.former[1..].to_vec(), other.former] {
            let error = change(&second, &Seats { former, ..third.clone() }, None).unwrap_err().to_string();
            assert!(error.contains("entry 2 of `former`") && error.contains("owners 2, 5"), "{error}");
        }
    }
}
