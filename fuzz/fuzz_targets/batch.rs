#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    lifeboat_fuzz::batch::check(bytes);
});
