//! Prints the speed of comparisons and of key generation on one thread:
//! `cargo run --release -p ariann-fss --example speed -- 512` for 512 MB of keys. `ARIANN_AES` forces an AES path.

use ariann_fss::bench;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes = std::env::args().nth(1).map_or(Ok(512), |text| text.parse())?;
    ariann_prg::Backend::active()?;
    let figures = bench::measure(megabytes, &mut |_, _| {})?;
    println!("AES path {}, {megabytes} MB of keys, one thread, best of {} passes", figures.backend, bench::PASSES);
    println!(
        "limits: {:.0} M AES blocks/s, {:.1} GB/s read",
        figures.aes_blocks_per_second / 1e6,
        figures.memory_bytes_per_second / 1e9
    );
    println!(
        "{:>4} {:>6} {:>14} {:>14} {:>8} {:>16}",
        "bits", "bytes", "ns/comparison", "M AES/s", "GB/s", "M key pairs/s"
    );
    for d in figures.domains {
        println!(
            "{:>4} {:>6} {:>14.1} {:>14.0} {:>8.1} {:>16.2}",
            d.domain_bits,
            d.key_bytes,
            d.ns_per_comparison,
            d.aes_blocks_per_second / 1e6,
            d.key_bytes_per_second / 1e9,
            d.key_pairs_per_second / 1e6
        );
    }
    Ok(())
}
