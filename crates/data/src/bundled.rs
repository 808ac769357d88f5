//! Images, labels and a network that come with the program: Fashion-MNIST (MIT licence, Zalando SE) and a small
//! convolutional network trained on it. `assets/README.md` tells how they were made.

/// A file that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal) => {
        File { name: $name, bytes: include_bytes!(concat!("../assets/", $name)) }
    };
}

/// The network, ONNX: input `input`, N x 1 x 28 x 28, as pixel / 255; output `logits`, N x 10.
pub fn model() -> File {
    asset!("fashion-cnn.onnx")
}

/// 2,000 images that the network was trained on, for calibration: gzip'd IDX.
pub fn train_images() -> File {
    asset!("fashion-train-images-idx3-ubyte.gz")
}

/// Labels of the 2,000: gzip'd IDX.
pub fn train_labels() -> File {
    asset!("fashion-train-labels-idx1-ubyte.gz")
}

/// 500 images that the network has not seen: gzip'd IDX.
pub fn test_images() -> File {
    asset!("fashion-test-images-idx3-ubyte.gz")
}

/// Labels of the 500: gzip'd IDX.
pub fn test_labels() -> File {
    asset!("fashion-test-labels-idx1-ubyte.gz")
}

/// The licence of the images.
pub fn licence() -> File {
    asset!("LICENSE-fashion-mnist")
}

/// All of them.
pub fn files() -> [File; 6] {
    [model(), train_images(), train_labels(), test_images(), test_labels(), licence()]
}

/// Names of the ten classes, by label.
pub const CLASSES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
