//! One batch's line in the ledger, and the check that goes with everything stored there.

/// How a batch stands. `left + used + burnt == slots`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Slots of the batch.
    pub slots: u32,
    /// Never reserved.
    pub left: u32,
    /// Reserved and completed.
    pub used: u32,
    /// Lost, or in flight: a reservation counts as burnt until it is completed, because that is what a
    /// crash makes of it.
    pub burnt: u32,
    /// Of these, in flight now.
    pub open: u32,
}

/// What is stored: slots below `mark` were given out, in order, and never will be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) slots: u32,
    pub(crate) mark: u32,
    pub(crate) used: u32,
    pub(crate) open: u32,
}

const BODY: usize = 16;
const CHECK: usize = 8;

impl Record {
    pub(crate) fn fresh(slots: u32) -> Self {
        Self { slots, mark: 0, used: 0, open: 0 }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            slots: self.slots,
            left: self.slots - self.mark,
            used: self.used,
            burnt: self.mark - self.used,
            open: self.open,
        }
    }

    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let fields = [self.slots, self.mark, self.used, self.open];
        seal(key, &fields.map(u32::to_le_bytes).concat())
    }

    /// None when the bytes are not what `encode` wrote for this key.
    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> Option<Self> {
        let body = unseal(key, bytes)?.first_chunk::<BODY>().filter(|_| bytes.len() == BODY + CHECK)?;
        let at = |i: usize| u32::from_le_bytes([body[i], body[i + 1], body[i + 2], body[i + 3]]);
        let record = Self { slots: at(0), mark: at(4), used: at(8), open: at(12) };
        let given = u64::from(record.used) + u64::from(record.open);
        (record.mark <= record.slots && given <= u64::from(record.mark)).then_some(record)
    }
}

/// A value with a check over key and value, so that a record is neither altered nor moved unseen.
pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &check(key, value)].concat()
}

/// The value, if its check fits.
pub(crate) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, tail) = sealed.split_last_chunk::<CHECK>()?;
    (check(key, value) == *tail).then_some(value)
}

fn check(key: &[u8], value: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new_derive_key("ariann ledger record 1");
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let hash = hasher.finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}
