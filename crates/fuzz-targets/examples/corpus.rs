//! Writes every target's samples to FOLDER/<target>/, where libFuzzer begins.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for target in ariann_fuzz_targets::TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, sample) in (target.samples)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("sample-{number:03}")), sample)?;
        }
    }
    Ok(())
}
