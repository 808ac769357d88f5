//! What comes in at server and owner over their connections, byte by byte: neither gets the other's share of the model or of an
//! update, nor rows; and what the server gets of an update is uniform.

mod loopback;

use std::collections::BTreeMap;
use std::sync::Mutex;

use ariann_federated::ModelShare;
use ariann_session::hooks::{Hooks, Observer};
use loopback::make;

static SEEN: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

struct Records(String);

impl Observer for Records {
    fn wants_messages(&self) -> bool {
        false
    }
    fn received(&mut self, peer: &str, bytes: &[u8]) {
        SEEN.lock().unwrap().entry(format!("{} from {peer}", self.0)).or_default().extend_from_slice(bytes);
    }
}

fn holds(stream: &[u8], part: &[u8]) -> bool {
    stream.windows(part.len()).any(|window| window == part)
}

/// Pieces of 32 bytes from all over a secret that are no pattern.
fn pieces(secret: &[u8]) -> Vec<&[u8]> {
    let plain = |piece: &&[u8]| piece.iter().collect::<std::collections::BTreeSet<_>>().len() > 7;
    let all: Vec<&[u8]> = secret.chunks_exact(32).filter(plain).collect();
    all.iter().step_by((all.len() / 30).max(1)).copied().collect()
}

#[test]
fn nobody_receives_what_the_scheme_keeps_from_them() {
    let made = make(&[40, 40, 40], 1, 2, 32);
    let hooks = Hooks { observer: |role| Box::new(Records(role.to_string())), ..Hooks::default() };
    let (dealer, dealing) = made.start_dealer(hooks.clone());
    let (server, serving) = made.start_server(made.server(&dealer), hooks.clone());
    let owners: Vec<_> =
        (1..=3).map(|number| made.start_owner(made.owner(number, &dealer, &server), hooks.clone())).collect();
    serving.join().unwrap().unwrap();
    owners.into_iter().for_each(|owner| drop(owner.join().unwrap().unwrap()));
    dealing.join().unwrap().unwrap();
    let plan = made.federation.clone().plan().unwrap();
    let share = |role: &str| {
        let share = ModelShare::<u32>::open(&made.folder.path().join(role).join("model"), plan.training()).unwrap();
        let mut words = vec![0; plan.training().values as usize];
        share.read(0, &mut words).unwrap();
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect::<Vec<u8>>()
    };
    let (w_s, w_o) = (share("state-server"), share("state-1"));
    let seen = SEEN.lock().unwrap();
    let named: Vec<&str> = seen.keys().map(String::as_str).collect();
    let pairs = |number| [format!("owner-{number} from server"), format!("server from owner {number}")];
    let mut expected: Vec<String> = (1..=3).flat_map(pairs).collect();
    expected.extend((1..=3).map(|number| format!("dealer from owner {number}")));
    expected.push("dealer from server".to_string());
    expected.sort();
    assert_eq!(named, expected, "nobody else is connected");
    let frac = plan.course.step().plan.input_frac();
    let image = made.owners[0].1.0.values.iter();
    let image: Vec<u8> =
        image.flat_map(|value| ((f64::from(*value) * 2f64.powi(frac)).round() as u32).to_le_bytes()).collect();
    for (who, stream) in seen.iter() {
        let kept = [(&w_s, "W_S", "owner-"), (&w_o, "W_O", "server"), (&image, "rows", "")];
        for (secret, what, from) in kept.iter().filter(|(_, _, from)| who.starts_with(from)) {
            let pieces = pieces(secret);
            assert!(!pieces.is_empty(), "{what} of {from} is no pattern");
            assert!(!pieces.iter().any(|piece| holds(stream, piece)), "{who}: {what}");
        }
        if who.starts_with("dealer") {
            assert!(stream.len() < 4096, "the dealer is told what to make, and no more: {who}, {} bytes", stream.len());
        }
    }
    // The update is the last bulk that the server gets of an owner: masked words, whose bytes are uniform.
    for number in 1..=3 {
        let stream = &seen[&format!("server from owner {number}")];
        let bytes = plan.training().bytes() as usize;
        let all = stream.windows(16).enumerate().filter(|(_, window)| *window == b"ariann federated");
        let starts: Vec<usize> = all.map(|(at, _)| at).collect();
        let update = starts.iter().find(|at| stream[**at + 17] == 5).expect("the head of the update");
        let words = &stream[update + 200..update + 200 + bytes - 400];
        for other in (1..=3).filter(|other| *other != number) {
            let theirs = &seen[&format!("owner-{other} from server")];
            assert!(
                !pieces(words).iter().any(|piece| holds(theirs, piece)),
                "owner {other} gets the update of {number}"
            );
        }
        let mut counts = [0f64; 256];
        words.iter().for_each(|byte| counts[usize::from(*byte)] += 1.0);
        let mean = words.len() as f64 / 256.0;
        let chi: f64 = counts.iter().map(|count| (count - mean).powi(2) / mean).sum();
        // 255 degrees of freedom: 430 is exceeded once in 10^10 times.
        assert!(chi < 430.0, "owner {number}: {chi}");
    }
}
