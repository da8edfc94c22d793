//! Order books in a snapshot, as a peer sent it.

use lifeboat_engine::book::Books;

/// Books are read or refused; what was read writes the same bytes again. `true` if it was read.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok(books) = Books::read(&mut rest) else {
        return false;
    };
    let mut again = Vec::new();
    books.write(&mut again).expect("a Vec takes any bytes");
    let read = bytes.len() - rest.len();
    assert!(
        bytes.get(..read) == Some(&again[..]),
        "two encodings of the same books"
    );
    true
}
