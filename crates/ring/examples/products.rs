//! Prints the rates of the products: `cargo run --release -p ariann-ring --example products [WHAT] [MILLISECONDS]`.
//!
//! WHAT is `kernels` (every kernel on a few shapes), `training` (products forwards and backwards), or a part of a network's name (`all` for every one): its layers with the kernel in use. All if nothing is said.

use std::time::Duration;

use ariann_ring::bench::backward::backward;
use ariann_ring::bench::layers::{LayerRow, layers, limits, networks};
use ariann_ring::{Kernel, Ring};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let each = Duration::from_millis(arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    if what.is_empty() || what == "training" {
        pool.install(|| {
            trained::<u32>(each);
            trained::<u64>(each);
        });
    }
    if what != "kernels" && what != "training" {
        let limits = limits(each);
        let tiles = |rate: Option<f64>| rate.map_or("none".into(), |rate| format!("{rate:.0} G/s"));
        println!(
            "limits of one thread: AMX u32 {}, u64 {}; reading 32 MB {:.1} GB/s, 512 MB {:.1} GB/s\n",
            tiles(limits.tiles_u32),
            tiles(limits.tiles_u64),
            limits.near,
            limits.far
        );
        pool.install(|| {
            show::<u32>(&what, each);
            show::<u64>(&what, each);
        });
    }
    if what.is_empty() || what == "kernels" {
        kernels(each);
    }
}

fn show<R: Ring>(what: &str, each: Duration) {
    let kernel = Kernel::active().unwrap_or_else(|error| panic!("{error}"));
    let mut list = networks();
    list.retain(|layer| what.is_empty() || what == "all" || layer.network.contains(what));
    let rows = layers::<R>(kernel, &list, each);
    for network in rows.chunk_by(|a, b| (a.network, a.items) == (b.network, b.items)) {
        println!(
            "{}, batch of {}, u{}, {kernel}, one thread: weights as they come, weights packed before",
            network[0].network,
            network[0].items,
            R::BITS
        );
        for row in network {
            let percent = 100.0 * row.ratio.unwrap_or(f64::NAN);
            let (count, layer, once, kept, rate) = (row.count, &row.layer, row.once, row.kept, row.rate);
            println!("  {count} x {layer:35} {once:9.3} ms {kept:9.3} ms {rate:8.2} G/s {percent:6.1} %");
        }
        let sum = |f: fn(&LayerRow) -> f64| network.iter().map(|row| row.count as f64 * f(row)).sum::<f64>();
        let (once, kept) = (sum(|row| row.once), sum(|row| row.kept));
        let rate = sum(|row| row.multiply_adds as f64) / kept / 1e6;
        println!("  sum {:36} {once:9.3} ms {kept:9.3} ms {rate:8.2} G/s\n", "");
    }
}

fn trained<R: Ring>(each: Duration) {
    println!("training, u{}, one thread", R::BITS);
    for row in backward::<R>(each) {
        let (network, layer, items, product) = (row.network, &row.layer, row.items, row.product);
        println!("  {network:13} x {items:3} {layer:35} {product:8} {:9.3} ms {:8.2} G/s", row.ms, row.rate);
    }
    println!();
}

fn kernels(each: Duration) {
    let figures = ariann_ring::bench::products(each, &mut |_, _| {});
    println!("active kernel {}, float rate {:.1} G/s", figures.active, figures.float_rate.unwrap_or(f64::NAN));
    for row in figures.products {
        let [m, k, n] = row.shape;
        let percent = 100.0 * row.ratio.unwrap_or(f64::NAN);
        println!(
            "{:11} {m:5} x {k:4} x {n:5}  u{} {:8} {:8.2} G/s {percent:6.1} %",
            row.kind, row.ring, row.kernel, row.rate
        );
    }
}
