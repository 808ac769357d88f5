//! What carries the bytes: a TCP socket, or a pipe in memory.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::SendFlags;

/// Two byte streams, one each way. Reading and writing happen in different threads at once.
pub trait Link: Send + Sync {
    /// Reads what is there, waiting at most `wait` for the first byte. `Ok(0)` is the end;
    /// nothing in time is `WouldBlock` or `TimedOut`.
    fn read(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;
    /// Writes some bytes, waiting at most `wait` for room.
    fn write(&self, bytes: &[u8], wait: Duration) -> io::Result<usize>;
    /// Writes some bytes if there is room at once; otherwise `WouldBlock` or `TimedOut`.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes, Duration::ZERO)
    }
    /// Tells the other end that nothing follows.
    fn finish(&self);
    /// Ends both directions at once and wakes whoever waits.
    fn shutdown(&self);
}

/// Nothing came in time, or a signal interrupted the wait: try again.
pub(crate) fn is_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// A TCP connection. Blocking, without Nagle's delay.
pub(crate) struct TcpLink {
    socket: TcpStream,
    read_wait: AtomicU64,
    write_wait: AtomicU64,
}

impl TcpLink {
    pub fn new(socket: TcpStream) -> io::Result<TcpLink> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        Ok(TcpLink { socket, read_wait: AtomicU64::new(0), write_wait: AtomicU64::new(0) })
    }
}

/// Calls `set` only when the wait differs from the last one: it is a system call.
fn set_wait(last: &AtomicU64, wait: Duration, set: impl Fn(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
    let micros = (wait.as_micros() as u64).max(1);
    if last.swap(micros, Ordering::Relaxed) != micros {
        set(Some(Duration::from_micros(micros)))?;
    }
    Ok(())
}

impl Link for TcpLink {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        set_wait(&self.read_wait, wait, |w| self.socket.set_read_timeout(w))?;
        (&self.socket).read(buffer)
    }

    fn write(&self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        set_wait(&self.write_wait, wait, |w| self.socket.set_write_timeout(w))?;
        (&self.socket).write(bytes)
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
