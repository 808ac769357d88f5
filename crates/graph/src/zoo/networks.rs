//! The networks, layer by layer. Pooling stands before ReLU: the same values, and fewer comparisons.

use super::builder::{Builder, Built, Windows};

/// A network by its defaults and its layers.
pub(super) struct Recipe {
    pub name: &'static str,
    pub input: [usize; 3],
    pub classes: usize,
    pub build: fn(&mut Builder, classes: usize) -> Built,
}

/// In the order of [`NAMES`](super::NAMES).
pub(super) const ALL: [Recipe; 9] = [
    Recipe { name: "network1", input: [1, 28, 28], classes: 10, build: network1 },
    Recipe { name: "network2", input: [1, 28, 28], classes: 10, build: network2 },
    Recipe { name: "lenet", input: [1, 28, 28], classes: 10, build: lenet },
    Recipe { name: "alexnet-cifar", input: [3, 32, 32], classes: 10, build: alexnet_cifar },
    Recipe { name: "alexnet-64", input: [3, 64, 64], classes: 200, build: alexnet_64 },
    Recipe { name: "vgg16-32", input: [3, 32, 32], classes: 10, build: vgg16 },
    Recipe { name: "vgg16-64", input: [3, 64, 64], classes: 200, build: vgg16 },
    Recipe { name: "resnet8", input: [3, 32, 32], classes: 10, build: resnet8 },
    Recipe { name: "resnet18", input: [3, 224, 224], classes: 2, build: resnet18 },
];

const POOL2: Windows = Windows::new(2, 2, 0);
const POOL3: Windows = Windows::new(3, 2, 0);

/// The last ReLU of this and the three that follow is the original's.
fn network1(net: &mut Builder, classes: usize) -> Built {
    for (name, relu, outputs) in [("fc1", "relu1", 128), ("fc2", "relu2", 128), ("fc3", "relu3", classes)] {
        net.dense(name, outputs)?;
        net.relu(relu);
    }
    Ok(())
}

fn network2(net: &mut Builder, classes: usize) -> Built {
    two_convolutions(net, [16, 16], [100, classes])
}

fn lenet(net: &mut Builder, classes: usize) -> Built {
    two_convolutions(net, [20, 50], [500, classes])
}

fn two_convolutions(net: &mut Builder, channels: [usize; 2], outputs: [usize; 2]) -> Built {
    for (number, channels) in (1..).zip(channels) {
        net.conv(&format!("conv{number}"), channels, Windows::new(5, 1, 0), true)?;
        net.max_pool(&format!("pool{number}"), POOL2)?;
        net.relu(&format!("relu{number}"));
    }
    for (number, outputs) in (1..).zip(outputs) {
        net.dense(&format!("fc{number}"), outputs)?;
        net.relu(&format!("relu{}", number + 2));
    }
    Ok(())
}

/// One layer of a sequence.
#[derive(Clone, Copy)]
enum Layer {
    Conv(usize, Windows),
    Pool(Windows),
    Relu,
    Norm,
    Dense(usize),
}

use Layer::{Conv, Dense, Norm, Pool, Relu};

/// Layers named `prefix.0`, `prefix.1` and so on.
fn sequence(net: &mut Builder, prefix: &str, layers: &[Layer]) -> Built {
    for (number, layer) in layers.iter().enumerate() {
        let name = format!("{prefix}.{number}");
        match *layer {
            Conv(channels, windows) => net.conv(&name, channels, windows, true)?,
            Pool(windows) => net.max_pool(&name, windows)?,
            Relu => net.relu(&name),
            Norm => net.batch_norm(&name, 1.0),
            Dense(outputs) => net.dense(&name, outputs)?,
        }
    }
    Ok(())
}

const SAME3: Windows = Windows::new(3, 1, 1);

fn alexnet_cifar(net: &mut Builder, classes: usize) -> Built {
    let first = [Conv(96, Windows::new(11, 4, 10)), Pool(POOL3), Relu, Norm];
    let second = [Conv(256, Windows::new(5, 1, 1)), Pool(POOL3), Relu, Norm];
    let rest = [Conv(384, SAME3), Relu, Conv(384, SAME3), Relu, Conv(256, SAME3), Relu];
    sequence(net, "features", &[&first[..], &second, &rest].concat())?;
    sequence(net, "classifier", &[Dense(256), Relu, Dense(256), Relu, Dense(classes), Relu])
}

fn alexnet_64(net: &mut Builder, classes: usize) -> Built {
    net.let_through(0.3);
    let first = [Conv(64, Windows::new(11, 4, 2)), Pool(POOL3), Relu];
    let second = [Conv(192, Windows::new(5, 1, 2)), Pool(POOL3), Relu];
    let rest = [Conv(384, SAME3), Relu, Conv(256, SAME3), Relu, Conv(256, SAME3), Pool(POOL3), Relu];
    sequence(net, "features", &[&first[..], &second, &rest].concat())?;
    sequence(net, "classifier", &[Dense(1024), Relu, Dense(1024), Relu, Dense(classes)])
}

fn vgg16(net: &mut Builder, classes: usize) -> Built {
    net.let_through(0.6);
    let mut features = Vec::new();
    for (channels, count) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for number in 1..=count {
            features.push(Conv(channels, SAME3));
            if number == count {
                features.push(Pool(POOL2));
            }
            features.push(Relu);
        }
    }
    sequence(net, "features", &features)?;
    sequence(net, "classifier", &[Dense(4096), Relu, Dense(4096), Relu, Dense(classes)])
}

fn resnet18(net: &mut Builder, classes: usize) -> Built {
    net.conv("conv1", 64, Windows::new(7, 2, 3), false)?;
    net.batch_norm("bn1", 1.0);
    net.max_pool("maxpool", Windows::new(3, 2, 1))?;
    net.relu("relu");
    for (stage, channels) in (1..).zip([64, 128, 256, 512]) {
        for block in 0..2 {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            basic_block(net, &format!("layer{stage}.{block}"), channels, stride)?;
        }
    }
    net.global_average("avgpool");
    net.dense("fc", classes)
}

/// The network of the MLPerf Tiny image classification task: its shortcuts are not normalised.
fn resnet8(net: &mut Builder, classes: usize) -> Built {
    net.conv("conv1", 16, SAME3, false)?;
    net.batch_norm("bn1", 1.0);
    net.relu("relu");
    for (stage, channels, stride) in [(1, 16, 1), (2, 32, 2), (3, 64, 2)] {
        residual_block(net, &format!("layer{stage}.0"), channels, stride, false)?;
    }
    net.global_average("avgpool");
    net.dense("fc", classes)
}

/// Two convolutions beside a shortcut, which has a convolution of its own where the size changes.
fn basic_block(net: &mut Builder, name: &str, channels: usize, stride: usize) -> Built {
    residual_block(net, name, channels, stride, true)
}

/// The same, where the shortcut's convolution is normalised or has a bias.
fn residual_block(net: &mut Builder, name: &str, channels: usize, stride: usize, normalised: bool) -> Built {
    let start = net.tip();
    net.conv(&format!("{name}.conv1"), channels, Windows::new(3, stride, 1), false)?;
    net.batch_norm(&format!("{name}.bn1"), 1.0);
    net.relu(&format!("{name}.relu1"));
    net.conv(&format!("{name}.conv2"), channels, SAME3, false)?;
    // Smaller than the shortcut, so that the sums do not grow from block to block.
    net.batch_norm(&format!("{name}.bn2"), 0.5);
    let mut shortcut = start.clone();
    if stride != 1 {
        let branch = net.go_on(start);
        net.conv(&format!("{name}.downsample.0"), channels, Windows::new(1, stride, 0), !normalised)?;
        if normalised {
            net.batch_norm(&format!("{name}.downsample.1"), 1.0);
        }
        shortcut = net.go_on(branch);
    }
    net.add(&format!("{name}.add"), &shortcut);
    net.relu(&format!("{name}.relu2"));
    Ok(())
}
