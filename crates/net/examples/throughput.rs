//! Prints how fast two peers exchange large messages over TLS on loopback, both sending at once:
//! `cargo run --release -p ariann-net --example throughput [MEGABYTES]`.

use std::time::{Duration, Instant};

use ariann_net::{Allowed, Identity, Limits, Listener, NetError, Peer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: usize = std::env::args()
        .nth(1)
        .map_or(Ok(256), |text| text.parse())?;
    let n = megabytes << 20;
    let limits = Limits::default();
    let (p0, p1) = (Identity::ephemeral("P0")?, Identity::ephemeral("P1")?);
    let allowed = [Allowed {
        name: "P1".into(),
        pin: p1.fingerprint(),
    }];
    let mut listener = Listener::bind("127.0.0.1:0", &p0, &allowed, &limits)?;
    let addr = listener.local_addr()?.to_string();
    let (mut a, mut b) = std::thread::scope(|s| {
        let connecting = s.spawn(|| Peer::connect(&addr, &p1, &p0.fingerprint(), "P0", &limits));
        let accepted = listener.accept(Duration::from_secs(10))?;
        Ok::<_, NetError>((accepted, connecting.join().expect("no panic")?))
    })?;
    for step in 0..3 {
        let (to_b, to_a) = (vec![1; n], vec![2; n]);
        let (mut at_a, mut at_b) = (vec![0; n], vec![0; n]);
        let began = Instant::now();
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
            "both at once, {megabytes} MB each way: {:.2} GB/s each way ({seconds:.3} s)",
            n as f64 / seconds / 1e9
        );
    }
    for step in 3..5 {
        let to_b = vec![1; n];
        let mut at_b = vec![0; n];
        let began = Instant::now();
        std::thread::scope(|s| {
            let other = s.spawn(|| b.recv_into(step, &mut at_b, "a large message"));
            a.send(step, to_b)?;
            other.join().expect("no panic")
        })?;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "one way, {megabytes} MB: {:.2} GB/s ({seconds:.3} s)",
            n as f64 / seconds / 1e9
        );
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
