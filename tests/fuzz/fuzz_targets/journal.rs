#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rimg::properties::check("journal", data));
