//! Is a secret number negative? Two parties find out without seeing it. `cargo run -p ariann-fss --example compare`
//!
//! The number z is shared, z = z_0 + z_1 mod 2^32. With a mask α that neither party knows, they may open ẑ = z + α.
//! The sign of z is then a matter of comparing ẑ with α: without their top bits, ẑ < α says whether the subtraction
//! ẑ - α borrows into the top bit. That comparison is what a key of function secret sharing is for.

use ariann_fss::{HashKeys, Party, TreeHash, generate, key_len, less_than};
use ariann_prg::{Address, Prg, Seed};

const BITS: u32 = 31;
const LOW: u32 = (1 << BITS) - 1;
const ROOTS: Address = Address { kind: 1, gate: 0, slot: 0 };
const MASKS: Address = Address { kind: 2, gate: 0, slot: 0 };
const PADS: Address = Address { kind: 3, gate: 0, slot: 0 };

/// What one party has before the numbers are known: its seed, the batch's hash keys and the keys, all from the dealer.
struct Material<'a> {
    seed: Prg,
    hash: &'a TreeHash,
    keys: &'a [u8],
}

impl Material<'_> {
    fn masks(&self, count: usize) -> Vec<u32> {
        let mut masks = vec![0; count];
        self.seed.fill(MASKS, 0, &mut masks);
        masks
    }

    fn pads(&self, count: usize) -> Vec<u8> {
        let mut pads = vec![0; count];
        self.seed.fill_bits(PADS, 0, &mut pads);
        pads
    }

    fn roots(&self, count: usize) -> Vec<u8> {
        let mut roots = vec![0; 16 * count];
        self.seed.fill_blocks(ROOTS, 0, &mut roots);
        roots
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secrets: [i32; 6] = [5, -5, 0, -1, i32::MAX, i32::MIN];
    let count = secrets.len();

    // Offline. The dealer draws both seeds and so knows the mask α = α_0 + α_1; it makes keys for α without its top bit.
    let hash = TreeHash::new(&HashKeys::from_entropy()?);
    let mut keys = vec![0; key_len(BITS) * count];
    let mut party = Vec::new();
    for _ in Party::BOTH {
        party.push(Material { seed: Prg::new(&Seed::from_entropy()?), hash: &hash, keys: &[] });
    }
    let alphas: Vec<u32> =
        std::iter::zip(party[0].masks(count), party[1].masks(count)).map(|(a, b)| a.wrapping_add(b)).collect();
    let points: Vec<u32> = alphas.iter().map(|alpha| alpha & LOW).collect();
    generate(&hash, BITS, &party[0].roots(count), &party[1].roots(count), &points, &mut keys)?;
    // the bit that pads the result: nobody knows both halves, and the dealer adds what does not depend on the number
    let pads: Vec<u8> = std::iter::zip(party[0].pads(count), party[1].pads(count)).map(|(a, b)| a ^ b).collect();
    let r: Vec<u8> = std::iter::zip(&alphas, &pads).map(|(alpha, pad)| 1 ^ (alpha >> 31) as u8 ^ pad).collect();
    party.iter_mut().for_each(|material| material.keys = &keys);

    // Online, first exchange: each sends its share of z under its share of the mask; the sum ẑ is uniform.
    let mut share0 = vec![0u32; count];
    Prg::new(&Seed::from_entropy()?).fill(MASKS, 0, &mut share0);
    let share1: Vec<u32> = std::iter::zip(&secrets, &share0).map(|(z, z0)| (*z as u32).wrapping_sub(*z0)).collect();
    let sent: Vec<Vec<u32>> = [share0, share1]
        .iter()
        .zip(&party)
        .map(|(share, material)| {
            std::iter::zip(share, material.masks(count)).map(|(z, alpha)| z.wrapping_add(alpha)).collect()
        })
        .collect();
    let opened: Vec<u32> = std::iter::zip(&sent[0], &sent[1]).map(|(a, b)| a.wrapping_add(*b)).collect();

    // Online, second exchange: each evaluates its keys at ẑ without its top bit and sends the bit under its pad. The
    // comparison bit is never opened bare: it would tell about z.
    let xs: Vec<u32> = opened.iter().map(|x| x & LOW).collect();
    let mut result = vec![0u8; count];
    for (who, material) in Party::BOTH.into_iter().zip(&party) {
        let mut less = vec![0; count];
        less_than(material.hash, who, BITS, &material.roots(count), material.keys, &xs, &mut less)?;
        for (i, pad) in material.pads(count).into_iter().enumerate() {
            result[i] ^= less[i] ^ pad;
        }
    }

    // d̂ = d xor r is known to both, r to nobody; in AriaNN it goes on as it is. Here r unmasks it, to look at.
    for i in 0..count {
        let masked = result[i] ^ (opened[i] >> 31) as u8;
        let not_negative = masked ^ r[i];
        println!(
            "{:>11} >= 0 is {}   (both saw ẑ = {:08x} and d̂ = {masked})",
            secrets[i],
            not_negative == 1,
            opened[i]
        );
        assert_eq!(not_negative == 1, secrets[i] >= 0);
    }
    Ok(())
}
