//! Pages for operators: status, readiness, metrics.

use std::fmt::Write as _;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};

use crate::gateway::Gateway;
use crate::methods::lifeboat;
use crate::metrics;
use crate::names;
use crate::server::text;

/// `/health`: 200 while the process serves, with the venue's mode on the second line.
pub fn health(gateway: &Gateway) -> String {
    let mode = gateway.state().memory.clock.mode;
    format!("ok\nmode {mode:?}\n")
}

/// `/ready`: 200 when a root is agreed and fresh, else 503 and why.
pub fn ready(gateway: &Gateway) -> Response<Full<Bytes>> {
    match lifeboat::not_ready(gateway) {
        None => text("text/plain", "ready\n".into()),
        Some(reason) => {
            let mut reply = text("text/plain", format!("not ready: {reason}\n"));
            *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            reply
        }
    }
}

/// `/metrics`: the gateway's counters and the venue's figures as Prometheus text.
pub fn metrics(gateway: &Gateway) -> String {
    let mut out = gateway.metrics.text();
    let status = gateway.venue.status();
    let agreed = status.agreed.map_or(0, |agreed| agreed.height.get());
    let ready = u8::from(lifeboat::not_ready(gateway).is_none());
    let (mode, open, channels) = {
        let state = gateway.state();
        let open = state.memory.outcomes.open_count();
        (state.memory.clock.mode as u8, open, state.hub.channels())
    };
    let published = status.published.unwrap_or_default().get();
    let lag = status.height.get().saturating_sub(published);
    let figures: [(&str, &str, f64); 11] = [
        (
            "lifeboat_height",
            "Height of the latest block",
            status.height.get() as f64,
        ),
        (
            "lifeboat_agreed_height",
            "Height of the latest agreed root",
            agreed as f64,
        ),
        (
            "lifeboat_published_height",
            "Height up to which blocks are published outside the venue, 0 for none",
            published as f64,
        ),
        (
            "lifeboat_publishing_lag_blocks",
            "Blocks that are not published outside the venue",
            lag as f64,
        ),
        (
            "lifeboat_block_age_ms",
            "Age of the latest block",
            status.block_age_ms as f64,
        ),
        (
            "lifeboat_order_pressure",
            "How full the validator is of waiting orders; at 1 new ones are refused",
            gateway.venue.pressure(),
        ),
        (
            "lifeboat_ready",
            "1 when a root is agreed and fresh",
            f64::from(ready),
        ),
        (
            "lifeboat_mode",
            "The mode's number, 0 is open",
            f64::from(mode),
        ),
        (
            "lifeboat_gateway_commands_open",
            "Commands without a known fate",
            open as f64,
        ),
        (
            "lifeboat_gateway_channels",
            "Channels with listeners",
            channels as f64,
        ),
        (
            "lifeboat_gateway_uptime_seconds",
            "Time since the gateway started",
            gateway.started.elapsed().as_secs_f64(),
        ),
    ];
    for (name, help, value) in figures {
        metrics::line(&mut out, name, "gauge", help, value);
    }
    out
}

/// `/`: one page that reloads itself.
pub fn html(gateway: &Gateway) -> String {
    let status = lifeboat::status(gateway);
    let shown = |name: &str| match &status[name] {
        serde_json::Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    };
    let mut rows = String::new();
    let agreed = &status["agreed"];
    let ready = match status["not_ready_because"].as_str() {
        None => "yes".to_owned(),
        Some(reason) => format!("no: {}", escape(reason)),
    };
    for (name, value) in [
        ("Mode", shown("mode")),
        ("Why", shown("detail")),
        ("Ready", ready),
        ("Height", shown("height")),
        ("Root", format!("<code>{}</code>", shown("root"))),
        (
            "Agreed root at height",
            escape(&agreed["height"].to_string()),
        ),
        (
            "Age of the last block",
            format!("{} ms", shown("block_age_ms")),
        ),
        ("Commands without a known fate", shown("commands_open")),
        (
            "Open sockets",
            gateway.metrics.connections.get().to_string(),
        ),
        ("Requests", gateway.metrics.requests_total.get().to_string()),
    ] {
        let _ = write!(rows, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    let mut validators = String::new();
    for validator in status["validators"].as_array().into_iter().flatten() {
        let name = validator["name"].as_str().unwrap_or_default();
        let connected = validator["connected"].as_bool().unwrap_or(false);
        let _ = write!(
            validators,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            if connected {
                "connected"
            } else {
                "not connected"
            },
            validator["height"]
        );
    }
    let markets = markets(gateway);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"2\"><title>Lifeboat: {mode}</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:52rem;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%;margin-bottom:1.5rem}}\
         th,td{{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;\
         word-break:break-all}}th{{font-weight:600;white-space:nowrap}}</style></head><body>\
         <h1>Lifeboat</h1><table>{rows}</table><h2>Validators</h2><table><tr><th>Name</th>\
         <th>State</th><th>Height</th></tr>{validators}</table><h2>Markets</h2><table><tr>\
         <th>Index</th><th>Price</th><th>Open instruments</th><th>Coin traded in 24 h</th>\
         <th>USDC traded in 24 h</th></tr>{markets}</table></body></html>",
        mode = shown("mode"),
    )
}

fn markets(gateway: &Gateway) -> String {
    let state = gateway.state();
    let memory = &state.memory;
    let mut rows = String::new();
    for underlying in memory.directory.underlyings() {
        let listed = || {
            memory
                .directory
                .iter()
                .filter(|listed| listed.instrument.terms.underlying == underlying.id)
        };
        let open = listed().filter(|listed| listed.instrument.open).count();
        let (mut volume, mut cost) = (0.0, 0.0);
        for tape in listed().filter_map(|listed| memory.tapes.get(&listed.instrument.id)) {
            let stats = tape.stats(memory.clock.time);
            volume += stats.volume.get() as f64 * 1e-8;
            cost += stats.cost;
        }
        let index = memory
            .indices
            .get(&underlying.id)
            .and_then(|history| history.last());
        let index = index.map_or("none".to_owned(), |price| price.to_string());
        let name = names::index_name(&underlying.coin);
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{index}</td><td>{open}</td><td>{volume:.2}</td><td>{cost:.0}</td></tr>",
            escape(&name)
        );
    }
    rows
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(
            super::escape("<a href=\"&\">"),
            "&lt;a href=&quot;&amp;&quot;&gt;"
        );
    }
}
