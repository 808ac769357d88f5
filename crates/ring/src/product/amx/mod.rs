//! AMX: elements cut into bytes, byte planes multiplied by `tdpbuud`, and the sums of products put together again by their weight 256^(i + j).
//!
//! Modulo 2^32 ten products of planes count (i + j < 4), modulo 2^64 thirty-six (i + j < 8). A sum of products of one weight is held modulo 2^32. For u32 that is
//! all that counts; for u64 it is exact, since there are at most 8 * KC * 255^2 < 2^32 in it.

pub mod kept;
mod pack;

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use self::pack::{pack_left_u32, pack_left_u64, pack_right_u32, pack_right_u64};
use super::avx512;
use super::micro::{Line, Micro, STRIP, Strip};

/// Micro-kernels on tiles.
pub struct Amx;

/// Rows and columns of a tile of sums.
const SIDE: usize = 16;
/// k of one step: the bytes of a tile's row.
const STEP: usize = 64;
/// Lines of one tile.
const TILE: usize = 16;

const KC_U32: usize = 256;
const KC_U64: usize = 128;
const _: () = assert!(8 * KC_U64 * 255 * 255 < 1 << 32);

/// Whether the processor has it and the operating system lets this process use it.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| avx512::available() && processor() && permission())
}

/// Leaf 7, EDX: AMX-TILE is bit 24, AMX-INT8 bit 25.
fn processor() -> bool {
    // SAFETY: every x86-64 processor has the instruction (newer compilers ask for no such promise).
    #[allow(unused_unsafe)]
    let bits = unsafe { if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 } };
    [24, 25].into_iter().all(|bit| bits >> bit & 1 == 1)
}

/// Asks for the tiles' state, once a process: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
#[cfg(all(target_os = "linux", not(miri)))]
fn permission() -> bool {
    let result: i64;
    // SAFETY: the call takes two numbers, writes no memory and changes nothing but the permission.
    unsafe {
        asm!("syscall", inlateout("rax") 158i64 => result, in("rdi") 0x1023, in("rsi") 18, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn permission() -> bool {
    false
}

/// Palette 1: tiles 0 to 3 are sums, 4 to 6 right planes, 7 is a left plane.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

/// Gives the tiles back, also when a product panics.
struct Configured;

impl Configured {
    /// Tiles of sums of `rows` rows, and steps of `step` k.
    fn new(step: usize, rows: usize) -> Self {
        assert!((1..=SIDE).contains(&rows) && step <= STEP && step.is_multiple_of(4));
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..8 {
            let (height, width) = match tile {
                0..4 => (rows, 4 * SIDE),
                4..7 => (step / 4, 4 * SIDE),
                _ => (rows, step),
            };
            configuration.0[16 + 2 * tile] = width as u8;
            configuration.0[48 + tile] = height as u8;
        }
        // SAFETY: the tiles are available (asked before this kernel was chosen), and the configuration is a valid one.
        unsafe { asm!("ldtilecfg [{}]", in(reg) configuration.0.as_ptr(), options(nostack, readonly)) };
        Self
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: releasing tiles that hold nothing of use.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Byte multiply-adds of one round of `tile_products`.
pub const TILE_PRODUCTS: usize = 5 * SIDE * SIDE * STEP;

/// `rounds` times five products of full tiles in registers, the measure of what the processor could do.
pub fn tile_products(rounds: usize) {
    assert!(available() && rounds > 0);
    let _configured = Configured::new(STEP, SIDE);
    // SAFETY: tiles are configured; no memory is touched.
    unsafe {
        asm!(
            "tilezero tmm5", "tilezero tmm6",
            "2:",
            "tdpbuud tmm0, tmm5, tmm6",
            "tdpbuud tmm1, tmm5, tmm6",
            "tdpbuud tmm2, tmm5, tmm6",
            "tdpbuud tmm3, tmm5, tmm6",
            "tdpbuud tmm4, tmm5, tmm6",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) rounds => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _,
            options(nostack, nomem),
        );
    }
}

/// k of a step: a product without a whole step has a shorter one.
fn step(depth: usize) -> usize {
    depth.next_multiple_of(STRIP).min(STEP)
}

impl Micro<u32> for Amx {
    const MR: usize = SIDE;
    const NR: usize = SIDE;
    const KU: usize = STEP;
    const KC: usize = KC_U32;
    const LEFT: usize = SIDE * 4;
    const RIGHT: usize = SIDE * 4;

    /// Tiles of equal height: their time is that of their rows.
    fn rows(m: usize) -> usize {
        m.div_ceil(m.div_ceil(SIDE))
    }

    fn padded(k: usize, depth: usize) -> usize {
        k.next_multiple_of(step(depth))
    }

    fn pack_left(src: &[u32], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        // SAFETY: AVX-512 was asked for in `available`.
        unsafe { pack_left_u32(src, stride, rows, k, padded, panel) }
    }

    fn pack_right(strip: &Strip<u32>, panels: &mut [Line], panel: usize) {
        // SAFETY: AVX-512 was asked for in `available`.
        unsafe { pack_right_u32(strip, panels, panel) }
    }

    fn tile(padded: usize, (rows, _): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u32]) {
        let steps = padded.div_ceil(STEP);
        let len = steps * 4 * TILE;
        assert!(left.len() >= len && right.len() >= len && tile.len() >= SIDE * SIDE && rows <= SIDE);
        let mut sums = MaybeUninit::<[Line; 4 * TILE]>::uninit();
        let sums = sums.as_mut_ptr().cast::<Line>();
        // SAFETY: lengths asserted, tiles of at least `rows` rows configured by `with`; AVX-512 was asked for in `available`.
        unsafe {
            sums_u32(steps, left.as_ptr(), right.as_ptr(), sums);
            join_u32(sums, rows, tile);
        }
    }

    unsafe fn put(out: *mut u32, stride: usize, tile: &[u32], width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe { avx512::put(out, stride, tile, SIDE, width, add) }
    }

    fn with(depth: usize, rows: usize, work: impl FnOnce()) {
        let _configured = Configured::new(step(depth), rows);
        work();
    }
}

impl Micro<u64> for Amx {
    const MR: usize = SIDE;
    const NR: usize = SIDE;
    const KU: usize = STEP;
    const KC: usize = KC_U64;
    const LEFT: usize = SIDE * 8;
    const RIGHT: usize = SIDE * 8;

    /// Tiles of equal height: their time is that of their rows.
    fn rows(m: usize) -> usize {
        m.div_ceil(m.div_ceil(SIDE))
    }

    fn padded(k: usize, depth: usize) -> usize {
        k.next_multiple_of(step(depth))
    }

    fn pack_left(src: &[u64], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        // SAFETY: AVX-512 was asked for in `available`.
        unsafe { pack_left_u64(src, stride, rows, k, padded, panel) }
    }

    fn pack_right(strip: &Strip<u64>, panels: &mut [Line], panel: usize) {
        // SAFETY: AVX-512 was asked for in `available`.
        unsafe { pack_right_u64(strip, panels, panel) }
    }

    fn tile(padded: usize, (rows, _): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u64]) {
        let steps = padded.div_ceil(STEP);
        let len = steps * 8 * TILE;
        assert!(left.len() >= len && right.len() >= len && tile.len() >= SIDE * SIDE && rows <= SIDE);
        let mut sums = MaybeUninit::<[Line; 8 * TILE]>::uninit();
        let sums = sums.as_mut_ptr().cast::<Line>();
        // SAFETY: lengths asserted, tiles of at least `rows` rows configured by `with`; AVX-512 was asked for in `available`.
        unsafe {
            sums_u64(steps, left.as_ptr(), right.as_ptr(), sums);
            join_u64(sums, rows, tile);
        }
    }

    unsafe fn put(out: *mut u64, stride: usize, tile: &[u64], width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe { avx512::put(out, stride, tile, SIDE, width, add) }
    }

    fn with(depth: usize, rows: usize, work: impl FnOnce()) {
        let _configured = Configured::new(step(depth), rows);
        work();
    }
}

/// The sums of weights 0..4 over `steps` steps of k, one tile each, in `sums`.
///
/// # Safety
/// Tiles are configured; the panels hold `steps` steps of four planes; `sums` has room for four tiles.
unsafe fn sums_u32(steps: usize, left: *const Line, right: *const Line, sums: *mut Line) {
    // SAFETY: reads and writes what the caller promises.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            // Tiles 4, 5, 6 hold planes 0, 1, 2 of the right operand, tile 7 those of the left one in turn.
            "tileloadd tmm4, [{right} + {line}]",
            "tileloadd tmm5, [{right} + {line} + 1024]",
            "tileloadd tmm6, [{right} + {line} + 2048]",
            "tileloadd tmm7, [{left} + {line} + 3072]",
            "tdpbuud tmm3, tmm7, tmm4",
            "tileloadd tmm7, [{left} + {line} + 2048]",
            "tdpbuud tmm2, tmm7, tmm4",
            "tdpbuud tmm3, tmm7, tmm5",
            "tileloadd tmm7, [{left} + {line} + 1024]",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tdpbuud tmm3, tmm7, tmm6",
            "tileloadd tmm7, [{left} + {line}]",
            "tdpbuud tmm0, tmm7, tmm4",
            "tileloadd tmm4, [{right} + {line} + 3072]",
            "tdpbuud tmm1, tmm7, tmm5",
            "tdpbuud tmm2, tmm7, tmm6",
            "tdpbuud tmm3, tmm7, tmm4",
            "add {left}, 4096",
            "add {right}, 4096",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            "tilestored [{sums} + {line} + 3072], tmm3",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// The sums of weights 0..8 over `steps` steps of k, one tile each, in `sums`. Eight tiles do not hold eight sums and operands: three passes.
///
/// # Safety
/// Tiles are configured; the panels hold `steps` steps of eight planes; `sums` has room for eight tiles.
unsafe fn sums_u64(steps: usize, left: *const Line, right: *const Line, sums: *mut Line) {
    // SAFETY: reads and writes what the caller promises.
    unsafe {
        asm!(
            // Weights 5 to 7: tiles 0.. hold the sums; 4, 5, 6 right planes j, in tile 4 + j % 3; 7 a left plane.
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2",
            "2:",
            "tileloadd tmm6, [{right} + {line} + 5120]",
            "tileloadd tmm4, [{right} + {line} + 6144]",
            "tileloadd tmm5, [{right} + {line} + 7168]",
            "tileloadd tmm7, [{left} + {line} + 0]",
            "tdpbuud tmm0, tmm7, tmm6",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tileloadd tmm5, [{right} + {line} + 4096]",
            "tileloadd tmm7, [{left} + {line} + 1024]",
            "tdpbuud tmm0, tmm7, tmm5",
            "tdpbuud tmm1, tmm7, tmm6",
            "tdpbuud tmm2, tmm7, tmm4",
            "tileloadd tmm4, [{right} + {line} + 3072]",
            "tileloadd tmm7, [{left} + {line} + 2048]",
            "tdpbuud tmm0, tmm7, tmm4",
            "tdpbuud tmm1, tmm7, tmm5",
            "tdpbuud tmm2, tmm7, tmm6",
            "tileloadd tmm6, [{right} + {line} + 2048]",
            "tileloadd tmm7, [{left} + {line} + 3072]",
            "tdpbuud tmm0, tmm7, tmm6",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tileloadd tmm5, [{right} + {line} + 1024]",
            "tileloadd tmm7, [{left} + {line} + 4096]",
            "tdpbuud tmm0, tmm7, tmm5",
            "tdpbuud tmm1, tmm7, tmm6",
            "tdpbuud tmm2, tmm7, tmm4",
            "tileloadd tmm4, [{right} + {line} + 0]",
            "tileloadd tmm7, [{left} + {line} + 5120]",
            "tdpbuud tmm0, tmm7, tmm4",
            "tdpbuud tmm1, tmm7, tmm5",
            "tdpbuud tmm2, tmm7, tmm6",
            "tileloadd tmm7, [{left} + {line} + 6144]",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tileloadd tmm7, [{left} + {line} + 7168]",
            "tdpbuud tmm2, tmm7, tmm4",
            "add {left}, 8192",
            "add {right}, 8192",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line} + 5120], tmm0",
            "tilestored [{sums} + {line} + 6144], tmm1",
            "tilestored [{sums} + {line} + 7168], tmm2",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    // SAFETY: reads and writes what the caller promises.
    unsafe {
        asm!(
            // Weights 2 to 4: tiles 0.. hold the sums; 4, 5, 6 right planes j, in tile 4 + j % 3; 7 a left plane.
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2",
            "2:",
            "tileloadd tmm6, [{right} + {line} + 2048]",
            "tileloadd tmm4, [{right} + {line} + 3072]",
            "tileloadd tmm5, [{right} + {line} + 4096]",
            "tileloadd tmm7, [{left} + {line} + 0]",
            "tdpbuud tmm0, tmm7, tmm6",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tileloadd tmm5, [{right} + {line} + 1024]",
            "tileloadd tmm7, [{left} + {line} + 1024]",
            "tdpbuud tmm0, tmm7, tmm5",
            "tdpbuud tmm1, tmm7, tmm6",
            "tdpbuud tmm2, tmm7, tmm4",
            "tileloadd tmm4, [{right} + {line} + 0]",
            "tileloadd tmm7, [{left} + {line} + 2048]",
            "tdpbuud tmm0, tmm7, tmm4",
            "tdpbuud tmm1, tmm7, tmm5",
            "tdpbuud tmm2, tmm7, tmm6",
            "tileloadd tmm7, [{left} + {line} + 3072]",
            "tdpbuud tmm1, tmm7, tmm4",
            "tdpbuud tmm2, tmm7, tmm5",
            "tileloadd tmm7, [{left} + {line} + 4096]",
            "tdpbuud tmm2, tmm7, tmm4",
            "add {left}, 8192",
            "add {right}, 8192",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line} + 2048], tmm0",
            "tilestored [{sums} + {line} + 3072], tmm1",
            "tilestored [{sums} + {line} + 4096], tmm2",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    // SAFETY: reads and writes what the caller promises.
    unsafe {
        asm!(
            // Weights 0 to 1: tiles 0.. hold the sums; 4, 5, 6 right planes j, in tile 4 + j % 3; 7 a left plane.
            "tilezero tmm0", "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{right} + {line} + 0]",
            "tileloadd tmm5, [{right} + {line} + 1024]",
            "tileloadd tmm7, [{left} + {line} + 0]",
            "tdpbuud tmm0, tmm7, tmm4",
            "tdpbuud tmm1, tmm7, tmm5",
            "tileloadd tmm7, [{left} + {line} + 1024]",
            "tdpbuud tmm1, tmm7, tmm4",
            "add {left}, 8192",
            "add {right}, 8192",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line} + 0], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// AVX-512 F is there; the first `rows` rows of every tile of `sums` are stored.
#[target_feature(enable = "avx512f")]
unsafe fn join_u32(sums: *const Line, rows: usize, tile: &mut [u32]) {
    for (i, row) in tile.as_chunks_mut::<SIDE>().0.iter_mut().take(rows).enumerate() {
        // SAFETY: row i of that tile was stored.
        let sum = |weight: usize| unsafe { load(&(*sums.add(weight * TILE + i)).0) };
        let low = _mm512_add_epi32(sum(0), _mm512_slli_epi32::<8>(sum(1)));
        let high = _mm512_add_epi32(_mm512_slli_epi32::<16>(sum(2)), _mm512_slli_epi32::<24>(sum(3)));
        // SAFETY: a row is 64 bytes.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), _mm512_add_epi32(low, high)) };
    }
}

/// Weights w and w + 4 are 32 bits apart: their sums are the halves of one word.
///
/// # Safety
/// AVX-512 F is there; the first `rows` rows of every tile of `sums` are stored.
#[target_feature(enable = "avx512f")]
unsafe fn join_u64(sums: *const Line, rows: usize, tile: &mut [u64]) {
    let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    for (i, row) in tile.as_chunks_mut::<SIDE>().0.iter_mut().take(rows).enumerate() {
        // SAFETY: row i of that tile was stored.
        let sum = |weight: usize| unsafe { load(&(*sums.add(weight * TILE + i)).0) };
        // Columns 0, 1, 4, 5 .. and 2, 3, 6, 7 ..
        let (mut low, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for weight in (0..4).rev() {
            let (near, far) = (sum(weight), sum(weight + 4));
            low = _mm512_add_epi64(_mm512_slli_epi64::<8>(low), _mm512_unpacklo_epi32(near, far));
            high = _mm512_add_epi64(_mm512_slli_epi64::<8>(high), _mm512_unpackhi_epi32(near, far));
        }
        // SAFETY: a row is 128 bytes.
        unsafe {
            _mm512_storeu_si512(row.as_mut_ptr().cast(), _mm512_permutex2var_epi64(low, first, high));
            _mm512_storeu_si512(row[8..].as_mut_ptr().cast(), _mm512_permutex2var_epi64(low, second, high));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
