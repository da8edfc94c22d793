//! Typed access to a request's parameters. Query strings carry everything as text, so every reader
//! takes a value as text or as its own JSON type.

use lifeboat_engine::types::{Price, Qty};
use serde_json::{Map, Value};

use crate::decimal;
use crate::error::RpcError;

/// A request's parameters by name.
#[derive(Clone, Debug, Default)]
pub struct Params(Map<String, Value>);

impl Params {
    /// From the `params` of a JSON-RPC request: an object, or nothing.
    ///
    /// # Errors
    /// `Invalid Request` for anything else.
    pub fn from_json(value: Value) -> Result<Self, RpcError> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            Value::Null => Ok(Self::default()),
            Value::Array(list) if list.is_empty() => Ok(Self::default()),
            _ => Err(RpcError::request("params must be an object")),
        }
    }

    /// From a query string. Values stay text.
    ///
    /// # Errors
    /// `Invalid params` when an escape is broken.
    pub fn from_query(query: &str) -> Result<Self, RpcError> {
        let mut map = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.insert(unescape(name)?, Value::String(unescape(value)?));
        }
        Ok(Self(map))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether the parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Text, if given.
    pub fn text(&self, name: &str) -> Result<Option<&str>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RpcError::param(name, "must be a string")),
        }
    }

    /// Text that must be given.
    pub fn required_text(&self, name: &str) -> Result<&str, RpcError> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| missing(name))
    }

    /// Text or a number, as text (ids come as both).
    pub fn id(&self, name: &str) -> Result<Option<String>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(RpcError::param(name, "must be a string or a number")),
        }
    }

    /// A whole number, if given.
    pub fn uint(&self, name: &str) -> Result<Option<u64>, RpcError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        decimal::from_json(value, 1)
            .and_then(|raw| u64::try_from(raw).ok())
            .map(Some)
            .ok_or_else(|| RpcError::param(name, "must be a non-negative integer"))
    }

    /// A flag; absent is `false`.
    pub fn flag(&self, name: &str) -> Result<bool, RpcError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(RpcError::param(name, "must be true or false")),
        }
    }

    /// A price in USDC, if given.
    pub fn price(&self, name: &str) -> Result<Option<Price>, RpcError> {
        self.fixed(name, decimal::CASH_SCALE)
            .map(|raw| raw.map(Price::new))
    }

    /// A size in coin, if given.
    pub fn qty(&self, name: &str) -> Result<Option<Qty>, RpcError> {
        self.fixed(name, decimal::QTY_SCALE)
            .map(|raw| raw.map(Qty::new))
    }

    fn fixed(&self, name: &str, scale: i64) -> Result<Option<i64>, RpcError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        decimal::from_json(value, scale)
            .map(Some)
            .ok_or_else(|| RpcError::param(name, "must be a decimal number of allowed precision"))
    }

    /// A list of text: a JSON array, a JSON array as text, or comma-separated text.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, RpcError> {
        let list = match self.get(name) {
            None => return Err(missing(name)),
            Some(Value::Array(list)) => list.clone(),
            Some(Value::String(text)) if text.starts_with('[') => serde_json::from_str(text)
                .map_err(|_| RpcError::param(name, "must be an array of strings"))?,
            Some(Value::String(text)) => text.split(',').map(Value::from).collect(),
            Some(_) => return Err(RpcError::param(name, "must be an array of strings")),
        };
        list.into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(RpcError::param(name, "must be an array of strings")),
            })
            .collect()
    }

    /// A list of objects: a JSON array, or one as text.
    pub fn objects(&self, name: &str) -> Result<Vec<Self>, RpcError> {
        let wrong = || RpcError::param(name, "must be an array of objects");
        let list = match self.get(name) {
            None => return Err(missing(name)),
            Some(Value::Array(list)) => list.clone(),
            Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        list.into_iter()
            .map(|item| match item {
                Value::Object(map) => Ok(Self(map)),
                _ => Err(wrong()),
            })
            .collect()
    }

    /// A nested object, if given.
    pub fn object(&self, name: &str) -> Result<Option<Self>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map.clone()))),
            Some(_) => Err(RpcError::param(name, "must be an object")),
        }
    }
}

/// The error for a missing parameter.
pub fn missing(name: &str) -> RpcError {
    RpcError::param(name, "must not be empty")
}

/// Undoes percent-escapes and `+`.
fn unescape(text: &str) -> Result<String, RpcError> {
    let wrong = || RpcError::new(-32_602, "Invalid params").because("broken escape in the query");
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = hex_digit(bytes.next()).ok_or_else(wrong)?;
                let low = hex_digit(bytes.next()).ok_or_else(wrong)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| wrong())
}

fn hex_digit(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_and_json_values_read_alike() {
        let json = Params::from_json(json!({
            "amount": 0.1, "price": 5, "post_only": true, "count": 3, "order_id": 17
        }))
        .expect("an object");
        let query = Params::from_query("amount=0.1&price=5&post_only=true&count=3&order_id=17")
            .expect("a query");
        for params in [json, query] {
            assert_eq!(params.qty("amount"), Ok(Some(Qty::new(10_000_000))));
            assert_eq!(params.price("price"), Ok(Some(Price::new(5_000_000))));
            assert_eq!(params.flag("post_only"), Ok(true));
            assert_eq!(params.uint("count"), Ok(Some(3)));
            assert_eq!(params.id("order_id"), Ok(Some("17".into())));
            assert_eq!(params.text("absent"), Ok(None));
        }
    }

    #[test]
    fn wrong_types_name_the_parameter() {
        let params = Params::from_json(json!({
            "a": [1], "b": {"x": 1}, "c": -1, "d": "maybe", "e": 1e300
        }))
        .expect("an object");
        let errors = [
            params.text("a").err(),
            params.qty("b").err(),
            params.uint("c").err(),
            params.flag("d").err(),
            params.price("e").err(),
            params.texts("a").err(),
            params.required_text("none").err(),
        ];
        for error in errors {
            let error = error.expect("refused");
            assert_eq!(error.code, -32_602);
            assert!(error.data.expect("data")["param"].is_string());
        }
    }

    #[test]
    fn escapes_are_undone_or_refused() {
        let params = Params::from_query("label=a%20b%2Bc+d&x=%C3%A9").expect("a query");
        assert_eq!(params.text("label"), Ok(Some("a b+c d")));
        assert_eq!(params.text("x"), Ok(Some("é")));
        for query in ["a=%2", "a=%zz", "a=%ff"] {
            assert!(Params::from_query(query).is_err(), "{query}");
        }
    }

    #[test]
    fn lists_come_as_arrays_or_text() {
        for params in [
            Params::from_json(json!({"channels": ["a", "b"]})).expect("object"),
            Params::from_query("channels=%5B%22a%22,%22b%22%5D").expect("query"),
            Params::from_query("channels=a,b").expect("query"),
        ] {
            assert_eq!(params.texts("channels"), Ok(vec!["a".into(), "b".into()]));
        }
    }
}
