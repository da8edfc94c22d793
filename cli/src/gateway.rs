//! A gateway beside a validator, in its process.
//!
//! **Owns** how `run` and `node` put one up. **Never** holds an owner's key.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_gateway::{ApiKeys, Config, Gateway, Running};

use crate::descriptors::gateway_connections;
use crate::development::api_keys_path;
use crate::session::adopt;
use crate::venue::NodeVenue;

/// Whether a gateway can listen there: asked before anything is made or started.
pub fn can_listen(listen: SocketAddr) -> Result<()> {
    drop(TcpListener::bind(listen).with_context(|| cannot_listen(listen))?);
    Ok(())
}

fn cannot_listen(listen: SocketAddr) -> String {
    format!("the gateway cannot listen on {listen}; nothing was started. Choose another address")
}

/// Serves a venue to clients until it is stopped. `number` tells the gateways of one venue apart; keys
/// that come into `folder` meanwhile are served too.
pub async fn serve(
    folder: &Path,
    (listen, number): (SocketAddr, u16),
    venue: Arc<NodeVenue>,
    keys: ApiKeys,
) -> Result<Running> {
    tokio::spawn(venue.clone().follow());
    let config = Config {
        listen,
        gateway: number,
        connections_max: gateway_connections(Config::default().connections_max),
        ..Config::default()
    };
    let gateway = Gateway::new(config, venue, keys);
    tokio::spawn(adopt(api_keys_path(folder), gateway.clone()));
    gateway.start().await.with_context(|| cannot_listen(listen))
}
