//! The dealer at work: makes material to files, or for two parties that connect.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_gates::Party;
use ariann_material::{BatchId, BatchWriter, Expected, Header, Label, WeightsVersion};
use ariann_net::{Allowed, Listener, NetError, Peer};
use ariann_plan::Plan;
use ariann_prg::{Seed, entropy};
use ariann_ring::Ring;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::config::{self, DealConfig, DealServe};
use crate::delivery::{self, Parties};
use crate::engine::Schedule;
use crate::events::{Event, Events};
use crate::hooks::Hooks;
use crate::making::{BatchSeeds, Maker, slots_a_batch};
use crate::messages::{CONTROL, Delivery, Fetch};
use crate::report::{DealerReport, peak_rss};
use crate::suite::Secrets;
use crate::{PROTOCOL, SessionError, expected};

/// How long one call of accept waits.
const ACCEPT: Duration = Duration::from_secs(1);

/// Makes the configured material and delivers it.
pub fn deal(config: &DealConfig, hooks: &Hooks, events: &mut dyn Events) -> Result<DealerReport, SessionError> {
    let plan = Plan::read(&config.plan)?;
    let pool = config::pool(config.threads)?;
    if config.count == 0 {
        return Err(SessionError::Config("--count 0: give the number of items to make material for".to_string()));
    }
    if config.out.is_some() == config.serve.is_some() {
        return Err(SessionError::Config(
            "give either --out FOLDER, or --listen ADDRESS with --identity, --p0 and --p1".to_string(),
        ));
    }
    match plan.ring {
        32 => run::<u32>(config, &plan, &pool, hooks, events),
        _ => run::<u64>(config, &plan, &pool, hooks, events),
    }
}

fn run<R: Ring>(
    config: &DealConfig,
    plan: &Plan,
    pool: &rayon::ThreadPool,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<DealerReport, SessionError> {
    let weights = WeightsSeeds::keep(&config.state, plan, config.new_weights)?;
    let mut report =
        DealerReport { role: "dealer".to_string(), plan_digest: plan.digest_hex(), ..DealerReport::default() };
    let parties = match &config.serve {
        Some(serve) => Some(accept_parties(config, serve, plan, hooks, events)?),
        None => None,
    };
    let began = Instant::now();
    let most = slots_a_batch(plan);
    if most == 0 {
        let reason = "one item of this plan needs more keys than one batch may hold safely; use a smaller model";
        return Err(SessionError::Config(reason.to_string()));
    }
    if config.batch_slots == Some(0) {
        return Err(SessionError::Config("--batch-slots 0: give at least 1".to_string()));
    }
    let cut = config.batch_slots.unwrap_or(most).min(most);
    let schedule = Arc::new(Schedule::new(plan));
    let mut batches = Batches { plan, schedule, weights: &weights, left: config.count, cut };
    let mut told = Told { made: 0, count: config.count, events };
    if let Some(parties) = parties {
        delivery::deliver::<R>(parties, batches, pool, &mut told, &mut report)?;
    } else if let Some(folder) = &config.out {
        while let Some(batch) = batches.draw::<R>()? {
            batch.to_files(folder, pool, &mut told)?;
            batch.parcel.note(&mut report)?;
        }
    }
    let made = told.made;
    Ok(DealerReport {
        slots: u64::from(made),
        seconds: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss(),
        ..report
    })
}

/// The weights seeds of both parties for one weights version: kept, because masked weights outlive a batch.
struct WeightsSeeds {
    version: WeightsVersion,
    seeds: [Seed; 2],
}

impl WeightsSeeds {
    /// Reads the plan's current version from the state folder, or draws and writes a new one.
    fn keep(folder: &Path, plan: &Plan, renew: bool) -> Result<Self, SessionError> {
        let failed = |what| move |source| SessionError::file(what, folder, source);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("creating the dealer's state folder"))?;
        let path = folder.join(format!("{}.weights", plan.digest_hex()));
        let part = |bytes: &[u8], at: usize| <[u8; 16]>::try_from(&bytes[16 * at..][..16]).expect("16 bytes");
        if !renew {
            match std::fs::read(&path).map(Zeroizing::new) {
                Ok(bytes) if bytes.len() == 80 && blake3::hash(&bytes[..48]).as_bytes()[..] == bytes[48..] => {
                    let seeds = [Seed::from_bytes(part(&bytes, 1)), Seed::from_bytes(part(&bytes, 2))];
                    return Ok(WeightsSeeds { version: WeightsVersion(part(&bytes, 0)), seeds });
                }
                Ok(_) => {
                    let advice = "is damaged: give --new-weights to begin a new weights version";
                    return Err(SessionError::Config(format!("{} {advice}", path.display())));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(SessionError::file("reading", &path, source)),
            }
        }
        let mut bytes = Zeroizing::new(vec![0; 48]);
        entropy(&mut bytes)?;
        let digest = blake3::hash(&bytes);
        // Of full size from the start: a vector that grows leaves its old bytes behind.
        let mut content = Zeroizing::new(Vec::with_capacity(80));
        content.extend_from_slice(&bytes);
        content.extend_from_slice(digest.as_bytes());
        let write = || -> std::io::Result<()> {
            let fresh = path.with_extension("weights.part");
            let _ = std::fs::remove_file(&fresh);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&content)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|source| SessionError::file("writing", &path, source))?;
        let seeds = [Seed::from_bytes(part(&bytes, 1)), Seed::from_bytes(part(&bytes, 2))];
        Ok(WeightsSeeds { version: WeightsVersion(part(&bytes, 0)), seeds })
    }
}

/// What is still to be dealt.
pub(crate) struct Batches<'a> {
    plan: &'a Plan,
    schedule: Arc<Schedule>,
    weights: &'a WeightsSeeds,
    left: u32,
    /// Slots of one batch.
    cut: u32,
}

impl<'a> Batches<'a> {
    /// The next batch, unless all slots are drawn.
    pub fn draw<R: Ring>(&mut self) -> Result<Option<Batch<'a, R>>, SessionError> {
        let slots = self.left.min(self.cut);
        self.left -= slots;
        if slots == 0 {
            return Ok(None);
        }
        Batch::draw(self.plan, self.schedule.clone(), self.weights, slots).map(Some)
    }
}

/// Waits for both parties and checks that they want material of this plan.
fn accept_parties(
    config: &DealConfig,
    serve: &DealServe,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<Parties, SessionError> {
    let limits = config.deadlines.limits()?;
    let allowed = [
        Allowed { name: "P0".to_string(), pin: config::pin(&serve.p0, "P0")? },
        Allowed { name: "P1".to_string(), pin: config::pin(&serve.p1, "P1")? },
    ];
    let mut listener = Listener::bind(&serve.listen, &serve.identity.load()?, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    let mut peers: [Option<(Peer, bool)>; 2] = [None, None];
    while peers.iter().any(Option::is_none) {
        let mut peer = match listener.accept(ACCEPT) {
            Ok(peer) => peer,
            Err(NetError::PeerGone { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut observer = (hooks.observer)("dealer");
        let name = if peer.name() == "P0" { "p0" } else { "p1" };
        peer.tap(Box::new(move |bytes| observer.received(name, bytes)));
        let party = usize::from(peer.name() == "P1");
        // One that leaves again before it has asked may come back.
        let Ok(fetch) = peer.recv_control::<Fetch>(CONTROL, "what it wants") else { continue };
        let refusal = if fetch.protocol != PROTOCOL {
            Some(format!("the dealer speaks protocol version {PROTOCOL}, {} {}", peer.name(), fetch.protocol))
        } else if usize::from(fetch.party) != party {
            Some(format!("{} has the identity of the other party", peer.name()))
        } else if fetch.plan != plan.digest() {
            Some("the dealer has another plan: give all roles the same plan file".to_string())
        } else {
            None
        };
        if let Some(reason) = refusal {
            events.notice(format!("refused {}: {reason}", peer.name()));
            // Whether it hears the reason does not matter to the other party's delivery.
            let _ = peer.send_control(&Delivery::Refused(reason));
            let _ = peer.close();
            continue;
        }
        peers[party] = Some((peer, fetch.stream));
    }
    let (peers, stream): (Vec<Peer>, Vec<bool>) = peers.into_iter().flatten().unzip();
    if stream[0] != stream[1] {
        let which = if stream[0] { "P0" } else { "P1" };
        let reason = format!("{which} streams and the other party does not: set `stream` at both or at none");
        for mut peer in peers {
            // Whether one hears the reason does not matter to the other.
            let _ = peer.send_control(&Delivery::Refused(reason.clone()));
            let _ = peer.close();
        }
        return Err(SessionError::Mismatch { peer: "both parties".to_string(), reason });
    }
    Ok(Parties { peers, stream: stream[0] })
}

/// Bytes of slots that are made at once at most.
const TOGETHER: u64 = 64 << 20;

/// Progress over all batches.
pub(crate) struct Told<'a> {
    /// Slots delivered, or written.
    pub made: u32,
    count: u32,
    events: &'a mut dyn Events,
}

impl Told<'_> {
    /// So many slots more.
    pub fn add(&mut self, slots: u32) {
        self.made += slots;
        self.events.progress("dealing", u64::from(self.made), u64::from(self.count));
    }
}

/// A section as it is made.
pub(crate) struct Piece<'a> {
    pub party: usize,
    pub slot: u32,
    pub gate: u32,
    pub bytes: &'a [u8],
}

/// What is known of a batch before it is made.
pub(crate) struct Parcel {
    pub id: BatchId,
    pub slots: u32,
    pub headers: [Header; 2],
    pub forms: [Expected; 2],
}

impl Parcel {
    /// Bytes of both parties' halves.
    pub fn bytes(&self) -> Result<[u64; 2], SessionError> {
        let of = |party: usize| -> Result<u64, SessionError> {
            Ok(self.headers[party].encoded_len() as u64 + self.forms[party].layout.body_bytes(self.slots)?)
        };
        Ok([of(0)?, of(1)?])
    }

    /// Whether a slot is made with this section: P1's of the last gate.
    pub fn ends_slot(&self, party: usize, gate: u32) -> bool {
        party == 1 && gate as usize + 1 == self.forms[1].layout.sections().len()
    }

    /// Enters it in the report.
    pub fn note(&self, report: &mut DealerReport) -> Result<(), SessionError> {
        report.batches.push(self.id.to_string());
        for (sum, bytes) in report.material_bytes.iter_mut().zip(self.bytes()?) {
            *sum += bytes;
        }
        Ok(())
    }
}

/// A batch and what it is made of.
pub(crate) struct Batch<'a, R: Ring> {
    pub parcel: Arc<Parcel>,
    maker: Maker<'a, R, Cpu>,
}

impl<'a, R: Ring> Batch<'a, R> {
    fn draw(plan: &'a Plan, schedule: Arc<Schedule>, weights: &WeightsSeeds, slots: u32) -> Result<Self, SessionError> {
        let seeds = BatchSeeds::draw()?;
        let mut id = [0; 16];
        entropy(&mut id)?;
        let id = BatchId(id);
        let forms = [expected(plan, Party::P0)?, expected(plan, Party::P1)?];
        let header = |party: usize| -> Result<Header, SessionError> {
            let form = &forms[party];
            let label = Label {
                kind: form.kind,
                suite: form.suite.clone(),
                plan_digest: form.plan_digest,
                batch: id,
                party: form.party,
                ring_bits: form.ring_bits,
                weights: weights.version,
                slots,
                sections: 0,
                layout_digest: [0; 32],
            };
            let secrets = Secrets {
                seed: Seed::from_bytes(*seeds.parties[party].expose()),
                weights: Seed::from_bytes(*weights.seeds[party].expose()),
                hash: seeds.hash,
            };
            Ok(Header::new(label, &form.layout, secrets.encode()?)?)
        };
        let headers = [header(0)?, header(1)?];
        let maker = Maker::new(plan, schedule, &Cpu, &seeds, [&weights.seeds[0], &weights.seeds[1]]);
        Ok(Batch { parcel: Arc::new(Parcel { id, slots, headers, forms }), maker })
    }

    /// Makes all slots and hands their sections over in order: small slots several at once, a large one gate by gate, so that
    /// memory is bounded.
    pub fn make<E>(&self, pool: &rayon::ThreadPool, mut take: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut hand_over = |slot: u32, gate: u32, sections: &[Vec<u8>; 2]| {
            let mut both = sections.iter().enumerate();
            both.try_for_each(|(party, bytes)| take(Piece { party, slot, gate, bytes }))
        };
        let slot_bytes: u64 = self.parcel.forms.iter().map(|form| form.layout.slot_bytes()).sum();
        let group = pool.current_num_threads() as u32;
        let at_once = if slot_bytes * u64::from(group) <= TOGETHER { group } else { 1 };
        let mut first = 0;
        while first < self.parcel.slots {
            let end = (first + at_once).min(self.parcel.slots);
            if at_once == 1 {
                self.maker.slot(first, |gate, sections| hand_over(first, gate, sections))?;
            } else {
                let whole = |slot: u32| {
                    let mut gates = Vec::new();
                    let kept = self.maker.slot(slot, |_, sections| {
                        gates.push(sections.clone());
                        Ok::<_, std::convert::Infallible>(())
                    });
                    kept.map(|()| gates).unwrap_or_else(|never| match never {})
                };
                let made: Vec<_> = pool.install(|| (first..end).into_par_iter().map(whole).collect());
                for (slot, gates) in (first..end).zip(made) {
                    for (gate, sections) in gates.iter().enumerate() {
                        hand_over(slot, gate as u32, sections)?;
                    }
                }
            }
            first = end;
        }
        Ok(())
    }

    fn to_files(&self, folder: &Path, pool: &rayon::ThreadPool, told: &mut Told<'_>) -> Result<(), SessionError> {
        let Parcel { id, headers, forms, .. } = &*self.parcel;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| SessionError::file("creating", folder, source))?;
        let path = |party: usize| folder.join(format!("p{party}-{id}.mat"));
        let mut files = Vec::with_capacity(2);
        for party in 0..2 {
            files.push(BatchWriter::create(&path(party), &headers[party], &forms[party].layout)?);
        }
        self.make(pool, |piece| {
            files[piece.party].write_section(piece.slot, piece.gate, piece.bytes)?;
            told.add(u32::from(self.parcel.ends_slot(piece.party, piece.gate)));
            Ok::<_, SessionError>(())
        })?;
        let mut written = Vec::with_capacity(2);
        for file in files {
            match file.finish() {
                Ok(path) => written.push(path),
                Err(error) => {
                    // No batch usable on one side only.
                    written.iter().for_each(|path| drop(std::fs::remove_file(path)));
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}
