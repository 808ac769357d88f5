//! Prints what two peers exchange over TLS on loopback:
//! `cargo run --release -p ariann-net --example throughput [--link loopback|lan|wan] [MEGABYTES]`.
//!
//! Large messages both ways at once and one way; then exchanges of one message each way at once, by size. With a shaped
//! link, beside it what the shape allows.

use std::time::{Duration, Instant};

use ariann_net::{Allowed, Identity, Limits, Listener, NetError, Peer, Shape};

/// Sizes of exchanged messages.
const SIZES: [usize; 5] = [16, 1 << 10, 64 << 10, 1 << 20, 8 << 20];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut shape = Shape::LOOPBACK;
    let mut megabytes = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--link" => shape = arguments.next().unwrap_or_default().parse()?,
            number => megabytes = Some(number.parse::<usize>()?),
        }
    }
    let slow = shape.bits_per_second.is_some();
    let n = megabytes.unwrap_or(if slow { 16 } else { 256 }) << 20;
    let limits = Limits { shape, ..Limits::default() };
    let (p0, p1) = (Identity::ephemeral("P0")?, Identity::ephemeral("P1")?);
    let allowed = [Allowed { name: "P1".into(), pin: p1.fingerprint() }];
    let mut listener = Listener::bind("127.0.0.1:0", &p0, &allowed, &limits)?;
    let addr = listener.local_addr()?.to_string();
    let (mut a, mut b) = std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &limits));
        let accepted = listener.accept(Duration::from_secs(10))?;
        Ok::<_, NetError>((accepted, connecting.join().expect("no panic")?))
    })?;

    let began = Instant::now();
    let [at_a, at_b] = both(&mut a, &mut b, |peer| peer.measure())?;
    println!("{shape}: measured in {:.2} s", began.elapsed().as_secs_f64());
    for (end, measured) in [("P0", at_a), ("P1", at_b)] {
        let (trip, rate) = (measured.round_trip.as_secs_f64() * 1e3, measured.bits_per_second / 1e6);
        println!("  at {end}: round trip {trip:.3} ms, {rate:.1} Mbit/s{}", allows(&shape));
    }
    large(&mut a, &mut b, n, if slow { 1 } else { 3 })?;
    println!("one message each way at once:");
    for size in SIZES {
        exchanges(&mut a, &mut b, size, &shape)?;
    }
    Ok(())
}

/// The same at both ends at once.
fn both<T: Send>(
    a: &mut Peer,
    b: &mut Peer,
    run: impl Fn(&mut Peer) -> Result<T, NetError> + Sync,
) -> Result<[T; 2], NetError> {
    std::thread::scope(|s| {
        let other = s.spawn(|| run(b));
        Ok([run(a)?, other.join().expect("no panic")?])
    })
}

fn allows(shape: &Shape) -> String {
    let Some(rate) = shape.bits_per_second else { return String::new() };
    let trip = 2e3 * shape.one_way_delay.as_secs_f64();
    format!("; the shape: {trip:.3} ms, {:.1} Mbit/s", rate.get() as f64 / 1e6)
}

fn large(a: &mut Peer, b: &mut Peer, n: usize, rounds: u32) -> Result<(), NetError> {
    // Touched before the clock runs: the pages are not what is measured.
    let (mut at_a, mut at_b) = (vec![3; n], vec![3; n]);
    for step in 0..rounds {
        let (to_b, to_a) = (vec![1; n], vec![2; n]);
        let (began, cpu) = (Instant::now(), cpu_seconds());
        std::thread::scope(|s| {
            let other = s.spawn(|| {
                b.send(step, to_a)?;
                b.recv_into(step, &mut at_b, "a large message")
            });
            a.send(step, to_b)?;
            a.recv_into(step, &mut at_a, "a large message")?;
            other.join().expect("no panic")
        })?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{:3} MB both ways at once: {}{}", n >> 20, rate(n, seconds), per_core(2 * n, cpu));
    }
    for step in 0..rounds {
        let to_b = vec![1; n];
        let (began, cpu) = (Instant::now(), cpu_seconds());
        std::thread::scope(|s| {
            let other = s.spawn(|| b.recv_into(step, &mut at_b, "a large message"));
            a.send(step, to_b)?;
            other.join().expect("no panic")
        })?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{:3} MB one way: {}{}", n >> 20, rate(n, seconds), per_core(n, cpu));
    }
    Ok(())
}

fn rate(bytes: usize, seconds: f64) -> String {
    format!(
        "{:.3} GB/s, {:.1} Mbit/s each way ({seconds:.3} s)",
        bytes as f64 / seconds / 1e9,
        bytes as f64 * 8e-6 / seconds
    )
}

/// Exchanges of one message each way at once: least and median time, processor time.
fn exchanges(a: &mut Peer, b: &mut Peer, size: usize, shape: &Shape) -> Result<(), NetError> {
    let expected = shape.one_way(size as u64).as_secs_f64();
    let rounds = ((0.5 / expected.max(20e-6 + size as f64 * 3e-9)) as usize).clamp(2, 3000);
    let cpu = cpu_seconds();
    let [mut times, _] = both(a, b, |peer| {
        let mut into = vec![0; size];
        let mut times = Vec::with_capacity(rounds);
        for step in 0..rounds {
            let message = vec![7; size];
            let began = Instant::now();
            peer.send(step as u32, message)?;
            peer.recv_into(step as u32, &mut into, "a message")?;
            times.push(began.elapsed().as_secs_f64());
        }
        Ok(times)
    })?;
    let mean = times.iter().sum::<f64>() / rounds as f64;
    times.sort_by(f64::total_cmp);
    let micros = |seconds: f64| seconds * 1e6;
    print!(
        "{size:9} bytes: {:9.1} us, least {:9.1}, median {:9.1}",
        micros(mean),
        micros(times[0]),
        micros(times[rounds / 2])
    );
    if let (Some(before), Some(now)) = (cpu, cpu_seconds()) {
        print!(", {:8.1} us of processor", micros((now - before) / rounds as f64));
    }
    match expected > 0.0 {
        true => println!("; the shape: {:9.1} us", micros(expected)),
        false => println!(),
    }
    Ok(())
}

/// Processor time of this process so far, where the system tells it in /proc.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Bytes sent and received for a second of processor time, both ends and the kernel together: on a machine that does
/// other work too, this tells more than the wall clock.
fn per_core(bytes: usize, before: Option<f64>) -> String {
    match (before, cpu_seconds()) {
        (Some(before), Some(now)) if now > before => {
            format!(", {:.2} GB a CPU second of both ends", bytes as f64 / (now - before) / 1e9)
        }
        _ => String::new(),
    }
}
