//! A connection's outgoing queue. Bounded in messages and bytes; a client that does not keep up is
//! disconnected rather than given a stream with gaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages that may wait.
const MESSAGES_MAX: usize = 8_192;

/// Why the gateway closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Closing {
    /// It stays open.
    No = 0,
    /// The client reads too slowly.
    Slow = 1,
    /// The gateway missed blocks and cannot continue its streams without a gap.
    Gap = 2,
    /// The gateway stops.
    Shutdown = 3,
    /// Nothing more will be queued; what is queued is still sent.
    Finished = 4,
}

impl Closing {
    /// What the client is told.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::No | Self::Finished => "",
            Self::Slow => "slow consumer: messages were not read in time; connect again",
            Self::Gap => "stream interrupted: connect again for a fresh snapshot",
            Self::Shutdown => "the gateway is stopping",
        }
    }
}

#[derive(Debug, Default)]
struct Control {
    bytes: AtomicUsize,
    closing: AtomicU8,
    wake: Notify,
}

/// The sending end.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Utf8Bytes>,
    control: Arc<Control>,
    bytes_max: usize,
}

/// The receiving end.
#[derive(Debug)]
pub struct Outgoing {
    queue: mpsc::Receiver<Utf8Bytes>,
    control: Arc<Control>,
}

/// A queue that holds at most `bytes_max` bytes.
pub fn outbox(bytes_max: usize) -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let control = Arc::new(Control::default());
    let outbox = Outbox {
        queue: sender,
        control: Arc::clone(&control),
        bytes_max,
    };
    let outgoing = Outgoing {
        queue: receiver,
        control,
    };
    (outbox, outgoing)
}

impl Outbox {
    /// Queues a message, or marks the connection for closing when the queue is full.
    pub fn push(&self, message: Utf8Bytes) {
        let length = message.len();
        let queued = self.control.bytes.fetch_add(length, Ordering::Relaxed);
        if queued + length > self.bytes_max || self.queue.try_send(message).is_err() {
            self.close(Closing::Slow);
        }
    }

    /// Nothing more will be queued: what is queued is sent, then the connection is closed.
    pub fn finish(&self) {
        self.close(Closing::Finished);
    }

    /// Asks for the connection to be closed. The first reason stays.
    pub fn close(&self, why: Closing) {
        let _ = self.control.closing.compare_exchange(
            Closing::No as u8,
            why as u8,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.control.wake.notify_one();
    }
}

impl Outgoing {
    /// A message that waits already.
    pub fn waiting(&mut self) -> Option<Utf8Bytes> {
        self.queue.try_recv().ok()
    }

    /// The next message; `None` when all senders are gone.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        let message = self.queue.recv().await?;
        self.control
            .bytes
            .fetch_sub(message.len(), Ordering::Relaxed);
        Some(message)
    }

    /// Watches for the end.
    pub fn watch(&self) -> ClosingWatch {
        ClosingWatch(Arc::clone(&self.control))
    }
}

/// Watches for a connection's end.
#[derive(Debug)]
pub struct ClosingWatch(Arc<Control>);

impl ClosingWatch {
    /// Resolves when the connection is to be closed.
    pub async fn asked(&self) -> Closing {
        loop {
            match self.0.closing.load(Ordering::Relaxed) {
                0 => self.0.wake.notified().await,
                1 => return Closing::Slow,
                2 => return Closing::Gap,
                3 => return Closing::Shutdown,
                _ => return Closing::Finished,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_closes_the_connection() {
        let (outbox, mut outgoing) = outbox(10);
        outbox.push("12345".into());
        assert_eq!(outgoing.next().await.as_deref(), Some("12345"));
        outbox.push("1234567890".into());
        outbox.push("1".into());
        assert_eq!(outgoing.watch().asked().await, Closing::Slow);
        outbox.close(Closing::Shutdown);
        assert_eq!(outgoing.watch().asked().await, Closing::Slow);
    }
}
