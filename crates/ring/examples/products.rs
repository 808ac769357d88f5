//! Prints the rates of the products: `cargo run --release -p ariann-ring --example products [MILLISECONDS]`.

use std::time::Duration;

fn main() {
    let each = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    let figures = ariann_ring::bench::products(Duration::from_millis(each), &mut |_, _| {});
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
