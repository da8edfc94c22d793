//! The asynchronous client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use borsh::BorshDeserialize as _;
use lifeboat_engine::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::wire::{FRAME_BYTES_MAX, Reply, Request, encode_frame};
use crate::handle::Status;

/// Why a client's call failed. The fate of what was submitted is open.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection broke.
    #[error("the connection to the node broke: {0}")]
    Io(#[from] io::Error),
    /// The node closed the connection.
    #[error("the node closed the connection")]
    Closed,
}

/// Requests waiting to be written.
const QUEUE_MAX: usize = 8_192;
const WRITE_BYTES: usize = 64 << 10;

/// A connection to a node. Requests are written in batches; replies come as they are ready.
#[derive(Debug)]
pub struct Client {
    requests: mpsc::Sender<Request>,
    replies: mpsc::Receiver<Reply>,
    tasks: [JoinHandle<Result<(), ClientError>>; 2],
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the node cannot be reached within five seconds.
    pub async fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address));
        let stream = connecting.await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (requests, queued) = mpsc::channel(QUEUE_MAX);
        let (arrived, replies) = mpsc::channel(QUEUE_MAX);
        let tasks = [
            tokio::spawn(write(writer, queued)),
            tokio::spawn(read(reader, arrived)),
        ];
        Ok(Self {
            requests,
            replies,
            tasks,
        })
    }

    /// Sends a request; waits while the connection is full.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&self, request: Request) -> Result<(), ClientError> {
        self.requests
            .send(request)
            .await
            .map_err(|_| ClientError::Closed)
    }

    /// A sender of requests for another task.
    pub fn sender(&self) -> mpsc::Sender<Request> {
        self.requests.clone()
    }

    /// The next reply, in the order in which they are ready.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn next(&mut self) -> Result<Reply, ClientError> {
        self.replies.recv().await.ok_or(ClientError::Closed)
    }

    /// Submits one command and waits for its answer; other replies in between are dropped.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn submit(&mut self, id: u64, command: Command) -> Result<Reply, ClientError> {
        self.send(Request::Submit { id, command }).await?;
        loop {
            let reply = self.next().await?;
            if reply.id() == Some(id) {
                return Ok(reply);
            }
        }
    }

    /// Asks how the node is doing; other replies in between are dropped.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        self.send(Request::Status).await?;
        loop {
            if let Reply::Status(status) = self.next().await? {
                return Ok(status);
            }
        }
    }
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queued: mpsc::Receiver<Request>,
) -> Result<(), ClientError> {
    let mut out = Vec::with_capacity(WRITE_BYTES);
    while let Some(request) = queued.recv().await {
        encode_frame(&request, &mut out);
        while out.len() < WRITE_BYTES
            && let Ok(request) = queued.try_recv()
        {
            encode_frame(&request, &mut out);
        }
        writer.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

async fn read(reader: OwnedReadHalf, arrived: mpsc::Sender<Reply>) -> Result<(), ClientError> {
    let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
    let mut frame = Vec::new();
    loop {
        let len = reader.read_u32_le().await? as usize;
        if len > FRAME_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        frame.resize(len, 0);
        reader.read_exact(&mut frame).await?;
        let reply = Reply::try_from_slice(&frame)?;
        if arrived.send(reply).await.is_err() {
            return Ok(());
        }
    }
}
