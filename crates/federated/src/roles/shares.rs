//! Shares in memory and in files: of the model, whole, and the server's shares of the updates of a round.

use std::io::Write;
use std::path::{Path, PathBuf};

use ariann_net::Peer;
use ariann_ring::Ring;
use ariann_session::SessionError;
use zeroize::Zeroizing;

use super::wire::MODEL_STEP;
use crate::keep::replace;
use crate::masks::{from_bytes, to_bytes};
use crate::{FederatedError, ModelShare, Training};

/// All words of a share of the model.
pub(crate) fn whole<R: Ring>(share: &ModelShare<R>, training: &Training) -> Result<Vec<R>, FederatedError> {
    let mut words = vec![R::ZERO; training.values as usize];
    share.read(0, &mut words)?;
    Ok(words)
}

/// Sends a share of the model.
pub(crate) fn send_share<R: Ring>(peer: &mut Peer, words: &[R]) -> Result<(), SessionError> {
    Ok(peer.send(MODEL_STEP, to_bytes(words))?)
}

/// Receives one.
pub(crate) fn receive_share<R: Ring>(peer: &mut Peer, training: &Training) -> Result<Vec<R>, SessionError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(training.bytes() as usize));
    peer.recv_stream(MODEL_STEP, training.bytes(), "its share of the model", |piece| -> Result<(), SessionError> {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    let mut words = vec![R::ZERO; training.values as usize];
    from_bytes(&bytes, &mut words);
    Ok(words)
}

/// Where the server's share of an owner's update is.
fn path(folder: &Path, owner: u16) -> PathBuf {
    folder.join(format!("delta-{owner:05}"))
}

/// Writes Δ_S,i, before the owner's update may count.
pub(crate) fn keep_update<R: Ring>(folder: &Path, owner: u16, words: &[R]) -> Result<(), FederatedError> {
    let bytes = Zeroizing::new(to_bytes(words));
    replace(&path(folder, owner), |file| {
        file.write_all(&bytes)?;
        file.write_all(blake3::hash(&bytes).as_bytes())
    })
}

/// Forgets Δ_S,i of an earlier run of the pair: it belongs to no update that is to come.
pub(crate) fn forget_update(folder: &Path, owner: u16) -> Result<(), FederatedError> {
    let path = path(folder, owner);
    let gone = std::fs::remove_file(&path).and_then(|()| std::fs::File::open(folder)?.sync_all());
    match gone {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        gone => gone.map_err(FederatedError::disk("remove", &path)),
    }
}

/// Whether it is there.
pub(crate) fn has_update(folder: &Path, owner: u16) -> bool {
    path(folder, owner).exists()
}

/// Adds Δ_S,i to `words`.
pub(crate) fn add_update<R: Ring>(folder: &Path, owner: u16, words: &mut [R]) -> Result<(), FederatedError> {
    let path = path(folder, owner);
    let bytes = Zeroizing::new(std::fs::read(&path).map_err(FederatedError::disk("read", &path))?);
    let damaged = || FederatedError::file(&path, "it is damaged or cut off");
    let (body, digest) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
    if body.len() != size_of_val(words) || blake3::hash(body).as_bytes() != digest {
        return Err(damaged());
    }
    let mut own = vec![R::ZERO; words.len()];
    from_bytes(body, &mut own);
    words.iter_mut().zip(&own).for_each(|(word, own)| *word = word.add(*own));
    Ok(())
}
