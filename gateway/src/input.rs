//! The gateway's decoders by themselves, for tests that bring bytes of their own: what comes in, and
//! the code of what is refused.

use crate::auth::Auth;
use crate::error::RpcError;
use crate::gateway::now_ms;
use crate::keys::ApiKeys;
use crate::params::Params;
use crate::rpc;

/// Names of parameters that the methods read.
const NAMES: [&str; 8] = [
    "instrument_name",
    "amount",
    "price",
    "valid_until",
    "post_only",
    "channels",
    "quotes",
    "bid",
];

/// The method of a request, whose parameters are read in every way there is.
///
/// # Errors
/// The code of the refusal: of the request, or of the first parameter.
pub fn request(text: &[u8]) -> Result<String, i64> {
    let request = rpc::request(text).map_err(|(_, error)| error.code)?;
    read_all(&request.params)?;
    Ok(request.method)
}

/// Reads a query string in the same way.
///
/// # Errors
/// The code of the refusal.
pub fn query(text: &str) -> Result<(), i64> {
    read_all(&Params::from_query(text).map_err(|error| error.code)?)
}

/// Reads an authorization header where nobody has a key.
///
/// # Errors
/// The code of the refusal.
pub fn authorization(header: &str) -> Result<(), i64> {
    let auth = Auth::new(ApiKeys::default());
    let login = auth.header(header, "GET", "/api/v2/private/buy", "", now_ms());
    login.map(drop).map_err(|error| error.code)
}

/// Every reader on every name: the first refusal counts, and none keeps the others from reading.
fn read_all(params: &Params) -> Result<(), i64> {
    let code = |error: RpcError| error.code;
    let mut verdict = Ok(());
    for name in NAMES {
        let readings = [
            params.text(name).map(drop),
            params.id(name).map(drop),
            params.uint(name).map(drop),
            params.flag(name).map(drop),
            params.price(name).map(drop),
            params.qty(name).map(drop),
            params.texts(name).map(drop),
            params.objects(name).map(drop),
            params.object(name).map(drop),
        ];
        // A value fits some readers and not others; only one that fits none is refused.
        if readings.iter().all(Result::is_err) {
            let first = readings.into_iter().find_map(Result::err);
            verdict = verdict.and(first.map_or(Ok(()), |error| Err(code(error))));
        }
    }
    verdict
}
