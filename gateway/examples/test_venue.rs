//! A venue of one engine behind a gateway, with a maker that quotes and an index that wanders: for
//! trying a client against. Not a venue to trade on: one process, no consensus, nothing on disk.
//!
//! `cargo run -p lifeboat-gateway --example test_venue -- 127.0.0.1:8080`

#[path = "../tests/venue/mod.rs"]
mod venue;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lifeboat_gateway::{Config, Gateway, Venue};

use venue::{Keys, Plan, TestVenue};

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_millis() as u64)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let keys = Keys::new();
    let plan = Plan {
        start: now_ms() - 5_000,
        ..Plan::default()
    };
    let venue = TestVenue::new(&keys.keys, plan);
    let config = Config {
        listen: listen.parse()?,
        ..Config::default()
    };
    let port: Arc<dyn Venue> = venue.clone();
    let running = Gateway::new(config, port, keys.keys.clone())
        .start()
        .await?;
    println!("URL http://{}", running.address);
    println!("KEY {}", keys.alice.client_id);
    println!("SECRET {}", keys.alice.client_secret);
    println!("KEY2 {}", keys.bob.client_id);
    println!("SECRET2 {}", keys.bob.client_secret);
    tokio::select! {
        () = produce(&venue) => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    println!("stopping");
    running.stop().await;
    Ok(())
}

/// A block every 50 ms of wall clock, an observation and fresh quotes every second.
async fn produce(venue: &TestVenue) {
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    for block in 0u64.. {
        clock.tick().await;
        if block % 20 == 0 {
            let wave = (block as f64 / 400.0).sin();
            venue.observe(90_000 + (wave * 300.0) as i64, 3_000 + (wave * 10.0) as i64);
        }
        if block % 20 == 10 {
            venue.make_quotes(20 + (block as i64 / 20) % 3, 500);
        }
        venue.step_at(now_ms());
    }
}
