//! Writes the sample files: `cargo run -p ariann-material --example vectors vectors/material`.

#[path = "../tests/common/vectors.rs"]
mod vectors;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "vectors/material".into()));
    std::fs::write(folder.join("valid-two-slots.mat"), vectors::valid())?;
    for (name, bytes, reason) in vectors::invalid() {
        std::fs::write(folder.join(format!("invalid-{name}.mat")), &bytes)?;
        println!("{name:36} {:4} bytes  {reason}", bytes.len());
    }
    println!("{} bytes a valid file, layout {:?}", vectors::valid().len(), vectors::expected().layout);
    Ok(())
}
