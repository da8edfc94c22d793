#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    lifeboat_fuzz::snapshot_message::check(bytes);
});
