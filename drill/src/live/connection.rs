//! A client's connection that never blocks: it sends and receives what it can, and returns.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use borsh::BorshDeserialize as _;
use lifeboat_node::ingress::{FRAME_BYTES_MAX, Reply, Request, encode_frame};

const CONNECT_PATIENCE: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 64 << 10;

/// One connection to a validator's ingress.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    inbox: Vec<u8>,
    /// How much of `inbox` is read.
    read: usize,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the validator cannot be reached.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            out: Vec::new(),
            written: 0,
            inbox: Vec::new(),
            read: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Adds a request to what is sent next.
    pub fn queue(&mut self, request: &Request) {
        encode_frame(request, &mut self.out);
    }

    /// Sends and receives as much as goes without waiting.
    ///
    /// # Errors
    /// When the connection broke. Replies that came before are handed over all the same.
    pub fn pump(&mut self, replies: &mut Vec<Reply>) -> io::Result<()> {
        let sent = self.send();
        let received = self.receive();
        self.decode(replies)?;
        sent.and(received)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.inbox.extend_from_slice(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn decode(&mut self, replies: &mut Vec<Reply>) -> io::Result<()> {
        while let Some(len) = self.inbox[self.read..].first_chunk::<4>() {
            let len = u32::from_le_bytes(*len) as usize;
            if len > FRAME_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            let start = self.read + 4;
            let Some(frame) = self.inbox.get(start..start + len) else {
                break;
            };
            replies.push(Reply::try_from_slice(frame)?);
            self.read = start + len;
        }
        self.inbox.drain(..self.read);
        self.read = 0;
        Ok(())
    }
}
