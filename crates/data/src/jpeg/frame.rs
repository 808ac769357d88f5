//! The size of an image, its planes, and the order in which scans fill them.

use super::{Decoded, ENDS};

/// An image that is being read.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// Luma alone, or luma and two chromas.
    pub components: Vec<Component>,
}

/// One plane.
pub(super) struct Component {
    name: u8,
    /// Samples for each of the greatest unit's columns and rows.
    sampling: [usize; 2],
    /// Pixels that one of its samples stands for, across and down.
    pub spread: [usize; 2],
    pub quantizer: usize,
    /// Samples that count, across and down. More are coded.
    pub size: [usize; 2],
    /// From one row to the next.
    pub pitch: usize,
    pub samples: Vec<u8>,
    /// A scan has filled it.
    pub seen: bool,
}

/// The components of a scan, each with its codes.
pub(super) struct Scan {
    pub parts: Vec<Part>,
}

/// One of them.
pub(super) struct Part {
    pub component: usize,
    /// Of constant and of varying coefficients.
    pub codes: [usize; 2],
}

impl Frame {
    /// None when its kind is not read here. No plane is longer than a file of `len` bytes can fill.
    pub fn read(segment: &[u8], len: usize, most_side: u32) -> Decoded<Option<Frame>> {
        let (&[bits, h1, h0, w1, w0, count], components) = segment.split_first_chunk().ok_or(ENDS)?;
        let [width, height] = [[w1, w0], [h1, h0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        if bits != 8 || height == 0 || !matches!(count, 1 | 3) {
            return Ok(None);
        }
        if width == 0 || components.len() != 3 * usize::from(count) {
            return Err("its frame is none");
        }
        if width.max(height) > most_side as usize {
            return Err("it is larger than images are read");
        }
        let mut components: Vec<Component> = components.chunks_exact(3).map(Component::new).collect();
        if let [luma] = components.as_mut_slice() {
            // Alone, a component has nothing that it could be halved against.
            luma.sampling = [1, 1];
        }
        if components.iter().any(|one| one.sampling.contains(&0)) {
            return Err("its sampling is none");
        }
        let greatest = [0, 1].map(|axis| components.iter().map(|one| one.sampling[axis]).max().unwrap_or(1));
        let units = [width.div_ceil(8 * greatest[0]), height.div_ceil(8 * greatest[1])];
        let mut blocks = 0;
        for component in &mut components {
            let sampling = component.sampling;
            if sampling
                .iter()
                .zip(greatest)
                .any(|(own, greatest)| *own == 0 || greatest % own > 0 || greatest / own > 2)
            {
                return Ok(None);
            }
            if component.quantizer > 3 {
                return Err("it has more than 4 quantizers");
            }
            let size = |axis: usize, pixels: usize| (pixels * sampling[axis]).div_ceil(greatest[axis]);
            component.size = [size(0, width), size(1, height)];
            component.spread = [greatest[0] / sampling[0], greatest[1] / sampling[1]];
            component.pitch = 8 * units[0] * sampling[0];
            blocks += units[0] * units[1] * sampling[0] * sampling[1];
        }
        // A block takes two bits at least; blocks that fill up units need not come.
        if blocks > 4 * len + 64 {
            return Err("it declares a larger image than it holds");
        }
        for component in &mut components {
            component.samples = vec![0; component.pitch * 8 * units[1] * component.sampling[1]];
        }
        Ok(Some(Frame { width, height, components }))
    }

    /// Whether colours are luma and chroma, by the rules that libjpeg guesses by.
    pub fn is_luma_chroma(&self, jfif: bool, adobe: Option<u8>) -> bool {
        let names: Vec<u8> = self.components.iter().map(|component| component.name).collect();
        match (jfif, adobe) {
            _ if names.len() == 1 => true,
            (true, _) => true,
            (false, Some(transform)) => transform == 1,
            (false, None) => names != *b"RGB",
        }
    }

    /// Every component has had its scan.
    pub fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.seen)
    }
}

impl Component {
    fn new(bytes: &[u8]) -> Self {
        Component {
            name: bytes[0],
            sampling: [usize::from(bytes[1] >> 4), usize::from(bytes[1] & 15)],
            spread: [1, 1],
            quantizer: bytes[2].into(),
            size: [0, 0],
            pitch: 0,
            samples: Vec::new(),
            seen: false,
        }
    }
}

impl Scan {
    pub fn read(segment: &[u8], frame: &Frame) -> Decoded<Scan> {
        let wrong = "its scan is none";
        let (&count, rest) = segment.split_first().ok_or(wrong)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or(wrong)?;
        let mut scan = Scan { parts: Vec::new() };
        for pair in parts.chunks_exact(2) {
            let component = frame.components.iter().position(|component| component.name == pair[0]).ok_or(wrong)?;
            let codes = [usize::from(pair[1] >> 4), usize::from(pair[1] & 15)];
            let twice = scan.parts.iter().any(|part: &Part| part.component == component);
            if twice || frame.components[component].seen || codes.iter().any(|code| *code > 3) {
                return Err(wrong);
            }
            scan.parts.push(Part { component, codes });
        }
        // All coefficients at once, in whole.
        if scan.parts.is_empty() || rest != [0, 63, 0] { Err(wrong) } else { Ok(scan) }
    }

    /// Units across and down. A component that comes alone is coded block by block.
    pub fn units(&self, frame: &Frame) -> (usize, usize) {
        if let [part] = self.parts.as_slice() {
            let [width, height] = frame.components[part.component].size;
            return (width.div_ceil(8), height.div_ceil(8));
        }
        let component = &frame.components[self.parts[0].component];
        let [across, down] = component.sampling;
        (component.pitch / 8 / across, component.samples.len() / component.pitch / 8 / down)
    }

    /// Columns and rows of a component's blocks in the unit at (`x`, `y`).
    pub fn blocks(
        &self,
        frame: &Frame,
        component: usize,
        x: usize,
        y: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let alone = self.parts.len() == 1;
        let [across, down] = if alone { [1, 1] } else { frame.components[component].sampling };
        (0..across * down).map(move |at| (x * across + at % across, y * down + at / across))
    }
}
