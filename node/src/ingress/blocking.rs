//! The blocking client, for scripts and load generators without a runtime.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use borsh::BorshDeserialize as _;

use super::wire::{FRAME_BYTES_MAX, Reply, Request, encode_frame};

/// A connection to a node. Requests gather until [`BlockingClient::flush`].
#[derive(Debug)]
pub struct BlockingClient {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    out: Vec<u8>,
}

impl BlockingClient {
    /// Connects; reads and writes fail after `patience` without progress.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let writer = TcpStream::connect_timeout(&address, patience)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(patience))?;
        writer.set_write_timeout(Some(patience))?;
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, writer.try_clone()?),
            writer,
            out: Vec::new(),
        })
    }

    /// Adds a request to what the next flush sends.
    pub fn queue(&mut self, request: &Request) {
        encode_frame(request, &mut self.out);
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// When the connection broke; the fate of what was sent is open.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// When the connection broke or the node was silent for too long.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut len = [0; 4];
        self.reader.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; len];
        self.reader.read_exact(&mut frame)?;
        Reply::try_from_slice(&frame)
    }
}
