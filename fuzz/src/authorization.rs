//! An HTTP authorization header.

use lifeboat_gateway::input;

/// Nobody who does not hold a secret or a token is let in; the refusal says that, and no more. `true` if
/// the header has one of the known forms.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(header) = core::str::from_utf8(bytes) else {
        return false;
    };
    let code = input::authorization(header).expect_err("a stranger is let in");
    assert!([13_004, 13_009].contains(&code), "refused with {code}");
    let forms = ["Bearer ", "bearer ", "Basic ", "deri-hmac-sha256 "];
    forms.iter().any(|form| header.starts_with(form))
}
