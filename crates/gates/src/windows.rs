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
    /// Row (`axis` 0) or column (`axis` 1) of tap `tap` of window `at`; the first one inside the image for a tap outside.
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

    /// The element of the item that candidate `index` of `window` is before level 0. A candidate in the padding stands for
    /// the first element of its window: a maximum does not change when an element is counted twice.
    fn element(&self, window: usize, index: usize) -> u32 {
        let Windows::Pool(pool) = self else { return index as u32 };
        let [height, width] = pool.output;
        let (channel, row, column) = (window / (height * width), window / width % height, window % width);
        let y = pool.place(0, row, index / pool.kernel[1]);
        let x = pool.place(1, column, index % pool.kernel[1]);
        ((channel * pool.input[0] + y) * pool.input[1] + x) as u32
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
        for window in 0..self.count() {
            let element =
                |index: usize| if level == 0 { self.element(window, index) } else { (window * before + index) as u32 };
            for pair in 0..before / 2 {
                out.a.push(element(2 * pair));
                out.b.push(element(2 * pair + 1));
                out.paired.push((window * after + pair) as u32);
            }
            if before % 2 == 1 {
                out.single.push(element(before - 1));
                out.carried.push((window * after + after - 1) as u32);
            }
        }
        out
    }
}
