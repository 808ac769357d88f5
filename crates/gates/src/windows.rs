//! Which elements a maximum compares: pooling windows, or the whole row of an argmax, level by level of a binary tree.

/// Geometry of a pooling layer, one item, CHW.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Pooling {
    /// Channels.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Stride, down and right.
    pub stride: [usize; 2],
    /// Padding above and to the left; the padding below and to the right follows from the output.
    pub pads: [usize; 2],
    /// Distance of the places within a window.
    pub dilation: [usize; 2],
}

/// Groups of elements of which each yields one result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Windows {
    /// Pooling windows.
    Pool(Pooling),
    /// One window over the whole item.
    Row(usize),
}

/// One level of the tree: which elements meet, and where their maxima and the unpaired ones go.
pub struct Level {
    /// Elements an item before this level.
    pub in_len: usize,
    /// Elements an item after it.
    pub out_len: usize,
    /// First elements of the pairs.
    pub a: Vec<u32>,
    /// Second elements of the pairs.
    pub b: Vec<u32>,
    /// Where the maxima go.
    pub paired: Vec<u32>,
    /// Elements without a partner.
    pub single: Vec<u32>,
    /// Where these go.
    pub carried: Vec<u32>,
}

impl Pooling {
    /// Row (`axis` 0) or column (`axis` 1) of tap `tap` of window `at`; the first one inside the image for a tap outside: a
    /// maximum does not change when an element is counted twice.
    fn place(&self, axis: usize, at: usize, tap: usize) -> usize {
        let inside = |tap: usize| {
            (at * self.stride[axis] + tap * self.dilation[axis])
                .checked_sub(self.pads[axis])
                .filter(|at| *at < self.input[axis])
        };
        inside(tap)
            .or_else(|| (0..self.kernel[axis]).find_map(inside))
            .expect("every window has a place inside the image")
    }

    /// The elements of every window in order, brought to `push` in `window`.
    fn each_window(&self, window: &mut [u32], mut push: impl FnMut(&[u32])) {
        let taps = |axis: usize| -> Vec<u32> {
            let (outputs, kernel) = (self.output[axis], self.kernel[axis]);
            (0..outputs * kernel).map(|i| self.place(axis, i / kernel, i % kernel) as u32).collect()
        };
        let (rows, columns, width) = (taps(0), taps(1), self.input[1] as u32);
        for channel in 0..self.channels as u32 {
            for rows in rows.chunks(self.kernel[0]) {
                for columns in columns.chunks(self.kernel[1]) {
                    for (row, elements) in rows.iter().zip(window.chunks_mut(columns.len())) {
                        let from = (channel * self.input[0] as u32 + row) * width;
                        elements.iter_mut().zip(columns).for_each(|(element, column)| *element = from + column);
                    }
                    push(window);
                }
            }
        }
    }
}

impl Windows {
    /// Elements an item before the first level.
    pub fn in_len(&self) -> usize {
        match self {
            Windows::Pool(pool) => pool.channels * pool.input[0] * pool.input[1],
            Windows::Row(len) => *len,
        }
    }

    /// Windows, so results, an item.
    pub fn count(&self) -> usize {
        match self {
            Windows::Pool(pool) => pool.channels * pool.output[0] * pool.output[1],
            Windows::Row(_) => 1,
        }
    }

    /// Candidates of a window before `level`.
    pub fn candidates(&self, level: u32) -> usize {
        let size = match self {
            Windows::Pool(pool) => pool.kernel[0] * pool.kernel[1],
            Windows::Row(len) => *len,
        };
        (0..level).fold(size, |size, _| size.div_ceil(2))
    }

    /// Levels of the tree: ceil(log2) of the window's size.
    pub fn levels(&self) -> u32 {
        self.candidates(0).next_power_of_two().trailing_zeros()
    }

    /// Comparisons an item at `level`.
    pub fn pairs(&self, level: u32) -> usize {
        self.count() * (self.candidates(level) / 2)
    }

    /// Elements an item before `level`.
    pub fn len_before(&self, level: u32) -> usize {
        if level == 0 { self.in_len() } else { self.count() * self.candidates(level) }
    }

    /// The pairs of `level`.
    pub fn level(&self, level: u32) -> Level {
        let (before, after) = (self.candidates(level), self.candidates(level + 1));
        let mut out = Level {
            in_len: self.len_before(level),
            out_len: self.count() * after,
            a: Vec::with_capacity(self.pairs(level)),
            b: Vec::with_capacity(self.pairs(level)),
            paired: Vec::with_capacity(self.pairs(level)),
            single: Vec::new(),
            carried: Vec::new(),
        };
        // Candidates of a window before this level, as elements of the item.
        let mut candidates = vec![0; before];
        let mut paired = 0;
        let mut push = |candidates: &[u32]| {
            let pairs = candidates.as_chunks::<2>();
            out.a.extend(pairs.0.iter().map(|pair| pair[0]));
            out.b.extend(pairs.0.iter().map(|pair| pair[1]));
            out.paired.extend(paired..paired + (before / 2) as u32);
            if let [single] = pairs.1 {
                out.single.push(*single);
                out.carried.push(paired + (before / 2) as u32);
            }
            paired += after as u32;
        };
        match self {
            Windows::Pool(pool) if level == 0 => pool.each_window(&mut candidates, push),
            _ => {
                for window in 0..self.count() {
                    let from = (window * before) as u32;
                    candidates.iter_mut().zip(from..).for_each(|(candidate, element)| *candidate = element);
                    push(&candidates);
                }
            }
        }
        out
    }
}
