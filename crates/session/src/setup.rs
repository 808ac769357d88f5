//! Setup: masked weights are exchanged once for a weights version, and kept.
//!
//! P0 writes down which weights belong to a version before it masks them: other weights under the same mask would reveal
//! the difference (docs/security.md). What came from the other party is kept in the state folder and checked when read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use ariann_device::Device;
use ariann_gates::Party;
use ariann_gates::linear::HOLDER;
use ariann_graph::Graph;
use ariann_material::{Store, WeightsVersion};
use ariann_net::Peer;
use ariann_plan::{Plan, encode_weights};
use ariann_prg::Prg;
use ariann_ring::Ring;

use crate::SessionError;
use crate::engine::AllWeights;
use crate::messages::SETUP_STEP;

/// P0's own weights and biases, encoded, by gate.
pub(crate) type OwnWeights<R> = BTreeMap<u32, (Vec<R>, Vec<R>)>;

/// Encodes the model's weights as the plan wants them; refuses a model that the plan was not made for.
pub(crate) fn encode<R: Ring>(plan: &Plan, graph: &Graph) -> Result<OwnWeights<R>, SessionError> {
    let misfit = |reason: String| SessionError::ModelPlan(format!("{reason}; make the plan from this model file"));
    if graph.input.shape != plan.input.shape || graph.output_len() != plan.output.classes {
        return Err(misfit("input or output have another shape".to_string()));
    }
    if !plan.computes(graph) {
        return Err(misfit("its layers are others than those of the plan".to_string()));
    }
    let layers = encode_weights::<R>(plan, graph).map_err(|error| misfit(error.to_string()))?;
    Ok(layers.into_iter().map(|layer| (layer.gate, (layer.weights, layer.bias))).collect())
}

/// Refuses other weights under a version that was used before; writes down the first ones.
pub(crate) fn bind_version<R: Ring>(
    store: &Store,
    version: WeightsVersion,
    own: &OwnWeights<R>,
) -> Result<(), SessionError> {
    let mut hasher = blake3::Hasher::new_derive_key("ariann weights v1");
    for (weights, bias) in own.values() {
        hasher.update(bytemuck::cast_slice(weights));
        hasher.update(bytemuck::cast_slice(bias));
    }
    let (digest, key) = (*hasher.finalize().as_bytes(), bound_key(version));
    match store.ledger().record_of(&key)? {
        None => Ok(store.ledger().put_record(&key, &digest)?),
        Some(known) if known == digest => Ok(()),
        Some(_) => Err(SessionError::ModelPlan(format!(
            "weights version {version} was used with other weights, and masking new ones with the same mask would reveal the \
             difference; deal new material with --new-weights"
        ))),
    }
}

fn bound_key(version: WeightsVersion) -> String {
    format!("weights {version}")
}

/// Whether P0 has written down weights for a version: it does before they leave.
pub(crate) fn is_bound(store: &Store, version: WeightsVersion) -> Result<bool, SessionError> {
    Ok(store.ledger().record_of(&bound_key(version))?.is_some())
}

/// Where the other party's masked weights are kept.
fn kept_path(folder: &std::path::Path, version: WeightsVersion) -> PathBuf {
    folder.join(format!("weights-{version}.bin"))
}

/// Bytes that `party` receives in setup.
fn incoming_bytes(plan: &Plan, party: Party) -> usize {
    plan.setup_bytes().iter().map(|(_, sent)| sent[ariann_gates::other(party) as usize]).sum()
}

/// The other party's masked weights, when they are kept and whole.
pub(crate) fn kept(
    store: &Store,
    folder: &std::path::Path,
    plan: &Plan,
    party: Party,
    version: WeightsVersion,
) -> Result<Option<Vec<u8>>, SessionError> {
    let bytes = incoming_bytes(plan, party);
    if bytes == 0 {
        return Ok(Some(Vec::new()));
    }
    let path = kept_path(folder, version);
    let Some(digest) = store.ledger().record_of(&format!("masked {version}"))? else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(content) if content.len() == bytes && blake3::hash(&content).as_bytes()[..] == digest[..] => {
            Ok(Some(content))
        }
        // Lost or damaged: the masked weights can be sent again, they are the same.
        _ => Ok(None),
    }
}

/// Keeps the other party's masked weights: file first, synced, then the record that vouches for it.
fn keep(store: &Store, folder: &std::path::Path, version: WeightsVersion, content: &[u8]) -> Result<(), SessionError> {
    if content.is_empty() {
        return Ok(());
    }
    let path = kept_path(folder, version);
    let write = || -> std::io::Result<()> {
        // A temporary file has mode 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| SessionError::file("writing", &path, source))?;
    Ok(store.ledger().put_record(&format!("masked {version}"), blake3::hash(content).as_bytes())?)
}

/// One party's setup.
pub(crate) struct Setup<'a, R: Ring, D: Device> {
    pub plan: &'a Plan,
    pub device: &'a D,
    pub party: Party,
    pub store: &'a Store,
    pub folder: &'a std::path::Path,
    pub own: Option<&'a OwnWeights<R>>,
}

impl<R: Ring, D: Device> Setup<'_, R, D> {
    /// Exchanges masked weights with the other party and keeps what came.
    pub fn exchange(&self, peer: &mut Peer, version: WeightsVersion, seed: &Prg) -> Result<Vec<u8>, SessionError> {
        let mut content = Vec::with_capacity(incoming_bytes(self.plan, self.party));
        let bytes: BTreeMap<u32, [usize; 2]> = self.plan.setup_bytes().into_iter().collect();
        for (gate, linear) in self.plan.linear_gates() {
            let own = self.own.map(|own| self.device.upload(&own[&gate].0));
            let message = linear.mask_weights(self.device, self.party, gate, seed, own.as_ref());
            if !message.is_empty() {
                peer.send(SETUP_STEP + gate, message)?;
            }
            let expected = bytes[&gate][ariann_gates::other(self.party) as usize];
            if expected > 0 {
                let waiting_for = format!("masked weights of gate {gate} {}", self.plan.gates[gate as usize].name);
                content.extend(peer.recv(SETUP_STEP + gate, expected, &waiting_for)?);
            }
        }
        peer.flush()?;
        keep(self.store, self.folder, version, &content)?;
        Ok(content)
    }

    /// What this party computes with, from its own weights and what the other sent.
    pub fn weights(&self, seed: &Prg, content: &[u8]) -> Result<AllWeights<R, D>, SessionError> {
        let bytes: BTreeMap<u32, [usize; 2]> = self.plan.setup_bytes().into_iter().collect();
        let (mut out, mut at) = (BTreeMap::new(), 0);
        for (gate, linear) in self.plan.linear_gates() {
            let len = bytes[&gate][ariann_gates::other(self.party) as usize];
            let own = self.own.map(|own| &own[&gate]);
            let (weights, bias) = (own.map(|own| own.0.as_slice()), own.map(|own| own.1.as_slice()));
            let layer = linear.weights(self.device, self.party, gate, seed, weights, bias, &content[at..at + len]);
            let named = |source| SessionError::Gate { gate, name: self.plan.gates[gate as usize].name.clone(), source };
            out.insert(gate, layer.map_err(named)?);
            at += len;
        }
        debug_assert!(self.own.is_some() == (self.party == HOLDER));
        Ok(out)
    }
}
