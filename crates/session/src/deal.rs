//! The dealer at work: makes material to files, or for two parties that connect.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use ariann_device::Cpu;
use ariann_gates::Party;
use ariann_material::{BatchId, BatchWriter, Encoder, Expected, Header, Label, WeightsVersion};
use ariann_net::{Allowed, Listener, NetError, Peer, SendStream};
use ariann_plan::Plan;
use ariann_prg::{Seed, entropy};
use ariann_ring::Ring;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::config::{self, DealConfig, DealServe};
use crate::events::{Event, Events};
use crate::hooks::Hooks;
use crate::making::{BatchSeeds, Maker, slots_a_batch};
use crate::messages::{Arrived, CONTROL, DELIVERY_STEP, Delivery, Fetch};
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
    let mut peers = match &config.serve {
        Some(serve) => accept_parties(config, serve, plan, hooks, events)?,
        None => Vec::new(),
    };
    let began = Instant::now();
    let most = slots_a_batch(plan);
    if most == 0 {
        let reason = "one item of this plan needs more keys than one batch may hold safely; use a smaller model";
        return Err(SessionError::Config(reason.to_string()));
    }
    let mut made = 0;
    while made < config.count {
        let slots = (config.count - made).min(most);
        let delivery = Batch::<R>::draw(plan, &weights, slots)?;
        let told = Told { made, count: config.count, events: &mut *events };
        let batch = match &config.out {
            Some(folder) => delivery.to_files(folder, pool, told)?,
            None => delivery.to_parties(&mut peers, pool, told)?,
        };
        made += slots;
        report.batches.push(batch.to_string());
        for (sum, bytes) in report.material_bytes.iter_mut().zip(delivery.bytes()?) {
            *sum += bytes;
        }
    }
    for peer in &mut peers {
        peer.send_control(&Delivery::End)?;
    }
    for peer in peers {
        peer.close()?;
    }
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

/// Waits for both parties and checks that they want material of this plan.
fn accept_parties(
    config: &DealConfig,
    serve: &DealServe,
    plan: &Plan,
    hooks: &Hooks,
    events: &mut dyn Events,
) -> Result<Vec<Peer>, SessionError> {
    let limits = config.deadlines.limits()?;
    let allowed = [
        Allowed { name: "P0".to_string(), pin: config::pin(&serve.p0, "P0")? },
        Allowed { name: "P1".to_string(), pin: config::pin(&serve.p1, "P1")? },
    ];
    let mut listener = Listener::bind(&serve.listen, &serve.identity.load()?, &allowed, &limits)?;
    events.tell(Event::Listening { address: listener.local_addr()? });
    let mut peers: [Option<Peer>; 2] = [None, None];
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
        peers[party] = Some(peer);
    }
    Ok(peers.into_iter().flatten().collect())
}

/// Bytes of slots that are made at once at most.
const TOGETHER: u64 = 64 << 20;

/// Progress over all batches.
struct Told<'a> {
    made: u32,
    count: u32,
    events: &'a mut dyn Events,
}

/// One batch on its way.
struct Batch<'a, R: Ring> {
    id: BatchId,
    slots: u32,
    headers: [Header; 2],
    forms: [Expected; 2],
    maker: Maker<'a, R, Cpu>,
}

impl<'a, R: Ring> Batch<'a, R> {
    fn draw(plan: &'a Plan, weights: &WeightsSeeds, slots: u32) -> Result<Self, SessionError> {
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
        let maker = Maker::new(plan, &Cpu, &seeds, [&weights.seeds[0], &weights.seeds[1]]);
        Ok(Batch { id, slots, headers, forms, maker })
    }

    /// Bytes of both parties' halves.
    fn bytes(&self) -> Result<[u64; 2], SessionError> {
        let of = |party: usize| -> Result<u64, SessionError> {
            Ok(self.headers[party].encoded_len() as u64 + self.forms[party].layout.body_bytes(self.slots)?)
        };
        Ok([of(0)?, of(1)?])
    }

    /// Makes all slots and hands their sections over in order: small slots several at once, a large one gate by gate, so that
    /// memory is bounded.
    fn make(
        &self,
        pool: &rayon::ThreadPool,
        told: Told<'_>,
        mut write: impl FnMut(usize, u32, u32, &[u8]) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        let mut hand_over = |slot: u32, gate: u32, sections: &[Vec<u8>; 2]| {
            sections.iter().enumerate().try_for_each(|(party, section)| write(party, slot, gate, section))
        };
        let slot_bytes: u64 = self.forms.iter().map(|form| form.layout.slot_bytes()).sum();
        let group = pool.current_num_threads() as u32;
        let at_once = if slot_bytes * u64::from(group) <= TOGETHER { group } else { 1 };
        let mut first = 0;
        while first < self.slots {
            let end = (first + at_once).min(self.slots);
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
            told.events.progress("dealing", u64::from(told.made + first), u64::from(told.count));
        }
        Ok(())
    }

    fn to_files(&self, folder: &Path, pool: &rayon::ThreadPool, told: Told<'_>) -> Result<BatchId, SessionError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| SessionError::file("creating", folder, source))?;
        let path = |party: usize| folder.join(format!("p{party}-{}.mat", self.id));
        let mut files = Vec::with_capacity(2);
        for party in 0..2 {
            files.push(BatchWriter::create(&path(party), &self.headers[party], &self.forms[party].layout)?);
        }
        self.make(pool, told, |party, slot, gate, section| Ok(files[party].write_section(slot, gate, section)?))?;
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
        Ok(self.id)
    }

    fn to_parties(
        &self,
        peers: &mut [Peer],
        pool: &rayon::ThreadPool,
        told: Told<'_>,
    ) -> Result<BatchId, SessionError> {
        let bytes = self.bytes()?;
        for (peer, bytes) in peers.iter_mut().zip(bytes) {
            peer.send_control(&Delivery::Batch { slots: self.slots, bytes })?;
        }
        {
            let mut streams = Vec::with_capacity(2);
            for (party, peer) in peers.iter_mut().enumerate() {
                let stream = Outgoing(peer.send_stream(DELIVERY_STEP, bytes[party])?);
                streams.push(Encoder::new(&self.headers[party], &self.forms[party].layout, stream)?);
            }
            self.make(pool, told, |party, slot, gate, section| {
                streams[party].write_section(slot, gate, section).map_err(sent)
            })?;
            for stream in streams {
                stream.finish().map_err(sent)?.0.finish()?;
            }
        }
        for peer in peers.iter_mut() {
            let arrived: Arrived = peer.recv_control(CONTROL, "word that the delivery arrived")?;
            if arrived.batch != self.id.0 {
                let reason = "it confirmed another delivery".to_string();
                return Err(SessionError::Mismatch { peer: peer.name().to_string(), reason });
            }
        }
        for peer in peers.iter_mut() {
            peer.send_control(&Arrived { batch: self.id.0 })?;
        }
        Ok(self.id)
    }
}

/// A party that does not take its delivery is at fault itself.
fn sent(error: ariann_material::Error) -> SessionError {
    match error {
        ariann_material::Error::Send { batch, source } => match source.downcast::<NetError>() {
            Ok(error) => error.into(),
            Err(source) => ariann_material::Error::Send { batch, source }.into(),
        },
        error => error.into(),
    }
}

/// A stream to a party as a place to write to.
struct Outgoing<'a>(SendStream<'a>);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent: Result<(), NetError> = self.0.write(bytes);
        sent.map(|()| bytes.len()).map_err(std::io::Error::other)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
