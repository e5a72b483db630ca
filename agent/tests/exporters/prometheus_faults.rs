//! Clients that misbehave, and the answers every client gets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use gpu_agent::config::value::Millis;
use gpu_agent::export::prometheus::Options;

use super::prometheus::{get, serve};

fn impatient() -> Options {
    Options { timeout_ms: Some(Millis(300)), max_connections: Some(4), ..Options::default() }
}

/// Connects, sends `bytes`, and returns how long the server kept the connection, and what it said.
fn kept(address: &str, bytes: &[u8]) -> (Duration, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _may_be_cut = stream.write_all(bytes);
    let started = Instant::now();
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    (started.elapsed(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_have_the_usual_answers() {
    let served = serve(1, Options::default());
    assert_eq!(get(&served.address, "/", "").0, 200);
    assert_eq!(get(&served.address, "/nothing", "").0, 404);
    let (status, _, body) = get(&served.address, "/healthz", "");
    assert_eq!((status, body.as_slice()), (200, b"alive\n".as_slice()));
    let (status, _, body) = get(&served.address, "/readyz", "");
    assert_eq!((status, body.as_slice()), (503, b"no target yet\n".as_slice()));
    let (_, answer) = kept(
        &served.address,
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 405") && answer.contains("allow: get, head"), "{answer}");
    let (_, answer) =
        kept(&served.address, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.ends_with(b"\r\n\r\n"), "HEAD has no body");
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_used_where_it_is_accepted_and_says_the_same() {
    let served = serve(2, Options::default());
    let (_, plain_head, plain) = get(&served.address, "/metrics", "");
    let (_, head, body) = get(&served.address, "/metrics", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip") && !plain_head.contains("content-encoding"));
    let mut unpacked = Vec::new();
    GzDecoder::new(body.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(body.len() * 4 < plain.len(), "{} of {} bytes", body.len(), plain.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_finish_its_request_is_cut_off() {
    let served = serve(1, impatient());
    for request in [b"".as_slice(), b"GET /metrics HTTP/1.1\r\nHost:"] {
        let (time, _) = kept(&served.address, request);
        assert!(time < Duration::from_secs(5), "kept for {time:?}");
    }
    assert_eq!(get(&served.address, "/metrics", "").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_heads_are_refused() {
    let served = serve(1, Options::default());
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for request in [long, many] {
        let (time, answer) = kept(&served.address, request.as_bytes());
        assert!(time < Duration::from_secs(5));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(get(&served.address, "/metrics", "").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let served = serve(300, impatient());
    let mut stream = TcpStream::connect(&served.address).unwrap();
    for _ in 0..50 {
        // Many answers on one connection: more than the sockets' buffers hold.
        if stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        taken += count;
    }
    let one = get(&served.address, "/metrics", "").2.len();
    assert!(taken < 50 * one, "all {taken} bytes were delivered although nobody read for 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_up_to_the_limit_do_not_keep_a_scrape_away_for_long() {
    let served = serve(1, impatient());
    let idle: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&served.address).unwrap()).collect();
    let started = Instant::now();
    assert_eq!(get(&served.address, "/metrics", "").0, 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_at_once_are_all_answered_alike() {
    let served = serve(50, Options::default());
    let address = served.address.clone();
    let scrapers: Vec<_> = (0..16)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || get(&address, "/metrics", ""))
        })
        .collect();
    let bodies: Vec<Vec<u8>> = scrapers.into_iter().map(|scraper| scraper.join().unwrap().2).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0] && !body.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_frees_the_port_and_takes_no_longer_than_told() {
    let served = serve(1, Options::default());
    let _silent = TcpStream::connect(&served.address).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    served.serving.shutdown(Duration::from_millis(500)).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(TcpStream::connect(&served.address).is_err());
}
