//! Prints how fast two peers exchange large messages over TLS on loopback, both sending at once:
//! `cargo run --release -p ariann-net --example throughput [MEGABYTES]`.

use std::time::{Duration, Instant};

use ariann_net::{Allowed, Identity, Limits, Listener, NetError, Peer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: usize = std::env::args().nth(1).map_or(Ok(256), |text| text.parse())?;
    let n = megabytes << 20;
    let limits = Limits::default();
    let (p0, p1) = (Identity::ephemeral("P0")?, Identity::ephemeral("P1")?);
    let allowed = [Allowed { name: "P1".into(), pin: p1.fingerprint() }];
    let mut listener = Listener::bind("127.0.0.1:0", &p0, &allowed, &limits)?;
    let addr = listener.local_addr()?.to_string();
    let (mut a, mut b) = std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &limits));
        let accepted = listener.accept(Duration::from_secs(10))?;
        Ok::<_, NetError>((accepted, connecting.join().expect("no panic")?))
    })?;
    // Touched before the clock runs: the pages are not what is measured.
    let (mut at_a, mut at_b) = (vec![3; n], vec![3; n]);
    for step in 0..3 {
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
        println!(
            "both at once, {megabytes} MB each way: {:.2} GB/s each way ({seconds:.3} s){}",
            n as f64 / seconds / 1e9,
            per_core(2 * n, cpu)
        );
    }
    for step in 3..5 {
        let to_b = vec![1; n];
        let (began, cpu) = (Instant::now(), cpu_seconds());
        std::thread::scope(|s| {
            let other = s.spawn(|| b.recv_into(step, &mut at_b, "a large message"));
            a.send(step, to_b)?;
            other.join().expect("no panic")
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let rate = n as f64 / seconds / 1e9;
        println!("one way, {megabytes} MB: {rate:.2} GB/s ({seconds:.3} s){}", per_core(n, cpu));
    }
    let rounds = 2000;
    let began = Instant::now();
    std::thread::scope(|s| {
        let other = s.spawn(|| {
            (0..rounds).try_for_each(|step| {
                b.send(step, vec![0; 64])?;
                b.recv(step, 64, "a small message").map(drop)
            })
        });
        (0..rounds).try_for_each(|step| {
            a.send(step, vec![0; 64])?;
            a.recv(step, 64, "a small message").map(drop)
        })?;
        other.join().expect("no panic")
    })?;
    let each = began.elapsed().as_secs_f64() / f64::from(rounds) * 1e6;
    println!("an exchange of 64 bytes: {each:.0} microseconds");
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
