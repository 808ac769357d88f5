//! A link as slow as a network between machines: paced and delayed by its sender.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::channel::TICK;
use crate::error::{ConfigError, system};
use crate::link::is_wait;
use crate::{Link, NetError};

/// Bandwidth and delay of one direction. Both ends of a connection take the same shape, each for what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shape {
    /// Bits a second of one direction; unlimited when none.
    pub bits_per_second: Option<NonZeroU64>,
    /// From the last bit's departure to its arrival: half a round trip.
    pub one_way_delay: Duration,
}

impl Shape {
    /// The link as it is.
    pub const LOOPBACK: Shape = Shape { bits_per_second: None, one_way_delay: Duration::ZERO };
    /// 1 Gbit/s, 0.5 ms round trip.
    pub const LAN: Shape =
        Shape { bits_per_second: NonZeroU64::new(1_000_000_000), one_way_delay: Duration::from_micros(250) };
    /// 100 Mbit/s, 70 ms round trip.
    pub const WAN: Shape =
        Shape { bits_per_second: NonZeroU64::new(100_000_000), one_way_delay: Duration::from_millis(35) };

    /// Names that parse.
    pub const NAMES: [(&'static str, Shape); 3] =
        [("loopback", Shape::LOOPBACK), ("lan", Shape::LAN), ("wan", Shape::WAN)];

    /// How long `bytes` occupy the line.
    pub fn occupies(&self, bytes: u64) -> Duration {
        let nanos = |rate: NonZeroU64| u128::from(bytes) * 8_000_000_000 / u128::from(rate.get());
        self.bits_per_second.map_or(Duration::ZERO, |rate| Duration::from_nanos(nanos(rate) as u64))
    }

    /// From handing `bytes` to an idle line until the last of them has arrived.
    pub fn one_way(&self, bytes: u64) -> Duration {
        self.occupies(bytes) + self.one_way_delay
    }

    /// Bytes that the line carries in `time`; `otherwise` when it is unlimited.
    fn carries(&self, time: Duration, otherwise: usize) -> usize {
        self.bits_per_second.map_or(otherwise, |rate| (time.as_secs_f64() * rate.get() as f64 / 8.0) as usize)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = Shape::NAMES.iter().find(|(_, shape)| shape == self) {
            return f.write_str(name);
        }
        match self.bits_per_second {
            Some(rate) => write!(f, "{} Mbit/s", rate.get() as f64 / 1e6)?,
            None => f.write_str("unlimited")?,
        }
        write!(f, ", {} ms round trip", self.one_way_delay.as_secs_f64() * 2e3)
    }
}

impl FromStr for Shape {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Shape, ConfigError> {
        let known = Shape::NAMES.iter().find(|(name, _)| *name == text);
        known.map(|(_, shape)| *shape).ok_or_else(|| ConfigError::Shape(text.to_owned()))
    }
}

impl TryFrom<String> for Shape {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Shape, ConfigError> {
        text.parse()
    }
}

impl From<Shape> for String {
    fn from(shape: Shape) -> String {
        shape.to_string()
    }
}

/// Bytes that wait for the line before a write blocks: what a socket's send buffer holds.
const WAITING: usize = 1 << 20;
/// What arrives together: the line's bytes of this time, but no fewer than a packet holds and no more than four records.
const TOGETHER: Duration = Duration::from_millis(1);
const SEGMENT: std::ops::RangeInclusive<usize> = 1500..=64 << 10;

/// A segment is handed over when it is due or as close to it as this.
const CLOSE: Duration = Duration::from_micros(10);
/// The most that a sleep is shortened by because sleepers wake late.
const LATEST: Duration = Duration::from_micros(150);

/// A link whose written bytes leave at the shape's rate and arrive after its delay. Written and in flight overlap: the
/// delay costs no throughput.
pub struct ShapedLink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inner: Box<dyn Link>,
    shape: Shape,
    segment: usize,
    capacity: usize,
    line: Mutex<Line>,
    work: Condvar,
    room: Condvar,
}

struct Line {
    in_flight: VecDeque<Segment>,
    bytes: usize,
    /// When the last byte written so far has left.
    free: Instant,
    /// A segment is being delivered.
    delivering: bool,
    stopped: bool,
    failure: Option<(io::ErrorKind, String)>,
}

struct Segment {
    due: Instant,
    bytes: Vec<u8>,
}

impl ShapedLink {
    /// `inner` with `shape` for what is written to it.
    pub fn new(inner: Box<dyn Link>, shape: Shape) -> Result<ShapedLink, NetError> {
        let in_flight = shape.carries(shape.one_way_delay, 8 * WAITING);
        let line = Line {
            in_flight: VecDeque::new(),
            bytes: 0,
            free: Instant::now(),
            delivering: false,
            stopped: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            inner,
            shape,
            segment: shape.carries(TOGETHER, usize::MAX).clamp(*SEGMENT.start(), *SEGMENT.end()),
            capacity: in_flight + 2 * WAITING,
            line: Mutex::new(line),
            work: Condvar::new(),
            room: Condvar::new(),
        });
        let mine = shared.clone();
        let thread = std::thread::Builder::new()
            .name("in flight".to_owned())
            .spawn(move || mine.deliver())
            .map_err(|e| system("start a thread for the shaped link", e))?;
        Ok(ShapedLink { shared, thread: Some(thread) })
    }
}

/// `link` itself when there is nothing to shape.
pub(crate) fn shaped(link: Box<dyn Link>, shape: Shape) -> Result<Box<dyn Link>, NetError> {
    match shape == Shape::LOOPBACK {
        true => Ok(link),
        false => Ok(Box::new(ShapedLink::new(link, shape)?)),
    }
}

impl Link for ShapedLink {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.shared.inner.read(buffer, wait)
    }

    fn write(&self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        let shared = &*self.shared;
        let until = Instant::now() + wait;
        let mut line = shared.lock();
        loop {
            line.usable()?;
            let now = Instant::now();
            let ahead = line.free.saturating_duration_since(now);
            let most = shared.shape.occupies(WAITING as u64);
            if line.bytes < shared.capacity && ahead <= most {
                let n = bytes.len().min(WAITING);
                shared.enter(&mut line, &bytes[..n], now);
                return Ok(n);
            }
            if now >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // Room comes with the time, or when a receiver that lags behind takes something.
            let pause = ahead.saturating_sub(most / 2).max(Duration::from_millis(1));
            line = shared.wait(&shared.room, line, pause.min(until - now));
        }
    }

    fn finish(&self) {
        let shared = &*self.shared;
        let mut line = shared.lock();
        while line.usable().is_ok() && (line.delivering || !line.in_flight.is_empty()) {
            line = shared.wait(&shared.room, line, TICK);
        }
        drop(line);
        shared.inner.finish();
    }

    fn shutdown(&self) {
        self.shared.lock().stopped = true;
        self.shared.inner.shutdown();
        self.shared.work.notify_all();
        self.shared.room.notify_all();
    }
}

impl Drop for ShapedLink {
    fn drop(&mut self) {
        self.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Line {
    fn usable(&self) -> io::Result<()> {
        match &self.failure {
            Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
            None if self.stopped => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, on: &Condvar, line: MutexGuard<'a, Line>, most: Duration) -> MutexGuard<'a, Line> {
        on.wait_timeout(line, most).unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    /// Puts bytes on the line behind what is there.
    fn enter(&self, line: &mut Line, bytes: &[u8], now: Instant) {
        let idle = line.in_flight.is_empty();
        line.free = line.free.max(now);
        for part in bytes.chunks(self.segment) {
            line.free += self.shape.occupies(part.len() as u64);
            let due = line.free + self.shape.one_way_delay;
            line.in_flight.push_back(Segment { due, bytes: part.to_vec() });
        }
        line.bytes += bytes.len();
        if idle {
            self.work.notify_one();
        }
    }

    /// Hands each segment over when it is due.
    fn deliver(&self) {
        punctual();
        let mut late = Duration::ZERO;
        let mut line = self.lock();
        while line.usable().is_ok() {
            let Some(due) = line.in_flight.front().map(|segment| segment.due) else {
                line = self.work.wait(line).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            let early = due.saturating_duration_since(Instant::now());
            if early > CLOSE {
                // A sleeper wakes late, and about as late as the last time.
                let wake = due - late.min(early - CLOSE);
                line = self.wait(&self.work, line, wake.saturating_duration_since(Instant::now()));
                let now = Instant::now();
                if now >= wake {
                    late = ((late * 7 + (now - wake)) / 8).min(LATEST);
                }
                continue;
            }
            let segment = line.in_flight.pop_front().expect("looked at above");
            line.delivering = true;
            drop(line);
            let written = self.write_all(&segment.bytes);
            line = self.lock();
            line.delivering = false;
            line.bytes -= segment.bytes.len();
            if let Err(error) = written {
                line.failure = Some((error.kind(), error.to_string()));
            }
            self.room.notify_all();
        }
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.inner.write(bytes, TICK) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if is_wait(&e) && !self.lock().stopped => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Lets this thread's timers fire when they are due: by default the system gathers those of 50 microseconds.
fn punctual() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        for (name, shape) in Shape::NAMES {
            assert_eq!(name.parse::<Shape>().unwrap(), shape);
            assert_eq!(shape.to_string(), name);
        }
        let error = "moon".parse::<Shape>().unwrap_err().to_string();
        assert!(error.contains("moon") && error.contains("loopback, lan or wan"), "{error}");
        let other = Shape { one_way_delay: Duration::from_micros(1500), ..Shape::WAN };
        assert_eq!(other.to_string(), "100 Mbit/s, 3 ms round trip");
    }

    #[test]
    fn a_line_is_occupied_by_its_bits() {
        assert_eq!(Shape::LAN.occupies(125_000), Duration::from_millis(1));
        assert_eq!(Shape::WAN.one_way(1_250_000), Duration::from_millis(135));
        assert_eq!(Shape::LOOPBACK.one_way(u64::MAX), Duration::ZERO);
    }
}
