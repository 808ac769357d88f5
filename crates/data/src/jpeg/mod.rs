//! JPEG as libjpeg decodes it, to the pixel: networks are trained on its pixels, and a unit more or less turns close
//! decisions.
//!
//! Decoders may differ in how they round the inverse transform, spread the halved colour planes and convert colours. Here
//! all three are libjpeg's defaults (the "slow" integer transform, "fancy" upsampling). Read are sequential files with
//! Huffman codes, 8 bits, grey or YCbCr, colours whole or halved: nearly all photographs. Others are left to the caller.

mod bits;
mod colour;
mod frame;
mod transform;

use image::DynamicImage;

use bits::{Bits, Codes};
use frame::{Component, Frame, Scan};

/// What is wrong with a file.
pub(super) type Decoded<T> = Result<T, &'static str>;

const ENDS: &str = "it ends early";

/// Order in which coefficients are coded.
const ZIGZAG: [u8; 64] = {
    let mut order = [0; 64];
    let (mut row, mut column, mut at) = (0usize, 0usize, 0);
    while at < 64 {
        order[at] = (row * 8 + column) as u8;
        at += 1;
        let up = (row + column).is_multiple_of(2);
        match (up, row, column) {
            (true, _, 7) | (false, 0..7, 0) => row += 1,
            (true, 0, _) | (false, 7, _) => column += 1,
            (true, ..) => (row, column) = (row - 1, column + 1),
            (false, ..) => (row, column) = (row + 1, column - 1),
        }
    }
    order
};

/// What segments have said so far.
#[derive(Default)]
struct Reader {
    quantizers: [Option<[u16; 64]>; 4],
    /// Codes of constant and of varying coefficients.
    codes: [[Option<Codes>; 4]; 2],
    restart: usize,
    jfif: bool,
    /// How colours are transformed, as Adobe's programs note it.
    adobe: Option<u8>,
    frame: Option<Frame>,
}

/// The image of a file that starts as JPEG does; none when it is of a kind that is not read here.
pub(crate) fn decode(file: &[u8], most_side: u32) -> Decoded<Option<DynamicImage>> {
    let mut reader = Reader::default();
    let mut rest = file.get(2..).ok_or(ENDS)?;
    loop {
        let (marker, after) = marker(rest)?;
        rest = after;
        match marker {
            0xd9 => return Err("it ends before its image does"),
            0x01 | 0xd0..=0xd8 => continue,
            // Progressive, lossless, hierarchical or arithmetic.
            0xc2 | 0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(None),
            _ => {}
        }
        let (&[high, low], _) = rest.split_first_chunk().ok_or(ENDS)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(2..len).ok_or(ENDS)?;
        rest = &rest[len..];
        match marker {
            0xdb => reader.quantizers(segment)?,
            0xc4 => reader.codes(segment)?,
            0xdd => reader.restart = segment.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)).ok_or(ENDS)?.into(),
            0xe0 => reader.jfif |= segment.starts_with(b"JFIF\0"),
            0xee if segment.starts_with(b"Adobe") => reader.adobe = segment.get(11).copied(),
            0xc0 | 0xc1 => match Frame::read(segment, file.len(), most_side)? {
                Some(_) if reader.frame.is_some() => return Err("it has two frames"),
                Some(frame) => reader.frame = Some(frame),
                None => return Ok(None),
            },
            0xda => {
                if !reader.frame.as_ref().ok_or("it has a scan and no frame")?.is_luma_chroma(reader.jfif, reader.adobe)
                {
                    return Ok(None);
                }
                rest = reader.scan(segment, rest)?;
                if let Some(frame) = reader.frame.take_if(|frame| frame.is_complete()) {
                    return Ok(Some(colour::image(frame)));
                }
            }
            _ => {}
        }
    }
}

/// The next marker, and what follows it. Bytes before it belong to nothing.
fn marker(bytes: &[u8]) -> Decoded<(u8, &[u8])> {
    let found = bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff)).ok_or(ENDS)?;
    Ok((bytes[found + 1], &bytes[found + 2..]))
}

impl Reader {
    fn quantizers(&mut self, mut segment: &[u8]) -> Decoded<()> {
        while let Some((&head, values)) = segment.split_first() {
            let table = self.quantizers.get_mut(usize::from(head & 15)).ok_or("it has more than 4 quantizers")?;
            let size = if head < 16 { 1 } else { 2 };
            let (values, rest) = values.split_at_checked(64 * size).ok_or(ENDS)?;
            let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            *table = Some(std::array::from_fn(|at| value(&values[at * size..][..size])));
            segment = rest;
        }
        Ok(())
    }

    fn codes(&mut self, mut segment: &[u8]) -> Decoded<()> {
        while let Some((&head, rest)) = segment.split_first() {
            let kind = self.codes.get_mut(usize::from(head >> 4)).ok_or("its codes are of no known kind")?;
            let table = kind.get_mut(usize::from(head & 15)).ok_or("it has more than 4 codes of a kind")?;
            let (codes, rest) = Codes::read(rest)?;
            *table = Some(codes);
            segment = rest;
        }
        Ok(())
    }

    /// Decodes a scan's blocks; what follows them.
    fn scan<'b>(&mut self, segment: &[u8], coded: &'b [u8]) -> Decoded<&'b [u8]> {
        let frame = self.frame.as_mut().expect("looked at before");
        let scan = Scan::read(segment, frame)?;
        let mut bits = Bits::new(coded);
        let (columns, rows) = scan.units(frame);
        let mut last = [0i32; 3];
        for unit in 0..columns * rows {
            if self.restart > 0 && unit > 0 && unit.is_multiple_of(self.restart) {
                bits.restart((unit / self.restart - 1) as u8 % 8)?;
                last = [0; 3];
            }
            for (place, part) in scan.parts.iter().enumerate() {
                let missing = "a scan needs a table that the file does not have";
                let quantizer = self.quantizers[frame.components[part.component].quantizer].as_ref().ok_or(missing)?;
                let [constant, varying] = [0, 1].map(|kind| self.codes[kind][part.codes[kind]].as_ref());
                let codes = [constant.ok_or(missing)?, varying.ok_or(missing)?];
                for (column, row) in scan.blocks(frame, part.component, unit % columns, unit / columns) {
                    let coefficients = block(&mut bits, codes, quantizer, &mut last[place])?;
                    put(&mut frame.components[part.component], column, row, &transform::samples(&coefficients));
                }
            }
        }
        scan.parts.iter().for_each(|part| frame.components[part.component].seen = true);
        Ok(bits.rest())
    }
}

/// The coefficients of one block, row-major.
fn block(bits: &mut Bits, codes: [&Codes; 2], quantizer: &[u16; 64], last: &mut i32) -> Decoded<[i64; 64]> {
    let mut coefficients = [0; 64];
    let size = bits.symbol(codes[0])?;
    *last += bits.signed(size)?;
    if i16::try_from(*last).is_err() {
        return Err("a block is brighter than there is");
    }
    coefficients[0] = i64::from(*last) * i64::from(quantizer[0]);
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(codes[1])?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => at += 16,
            (_, 0) => break,
            (zeros, size) => {
                at += usize::from(zeros);
                let place = *ZIGZAG.get(at).ok_or("a block has more than 64 coefficients")?;
                coefficients[usize::from(place)] = i64::from(bits.signed(size)?) * i64::from(quantizer[at]);
                at += 1;
            }
        }
    }
    Ok(coefficients)
}

/// Puts a block's samples in its place.
fn put(component: &mut Component, column: usize, row: usize, samples: &[[u8; 8]; 8]) {
    for (line, samples) in samples.iter().enumerate() {
        let start = (8 * row + line) * component.pitch + 8 * column;
        component.samples[start..start + 8].copy_from_slice(samples);
    }
}
