#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ariann_fuzz_targets::run("job", bytes));
