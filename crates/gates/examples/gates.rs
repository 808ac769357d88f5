//! What an element of each gate costs in one thread: `cargo run --release -p ariann-gates --example gates [elements]`.

use ariann_gates::bench;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let elements = std::env::args().nth(1).map_or(Ok(1 << 20), |arg| arg.parse())?;
    println!("{:<16} {:>4} {:>3} {:>9} {:>9} {:>9} {:>7}", "gate", "ring", "w", "deal ns", "P0 ns", "P1 ns", "bytes");
    for row in bench::measure(elements, &mut |_, _| {})? {
        let bench::Row { gate, ring, width, deal_ns, p0_ns, p1_ns, material_bytes, .. } = row;
        println!("{gate:<16} {ring:>4} {width:>3} {deal_ns:>9.2} {p0_ns:>9.2} {p1_ns:>9.2} {material_bytes:>7.1}");
    }
    Ok(())
}
