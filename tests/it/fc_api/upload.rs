//! Large bodies: many at once, and slow ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::RETRY_AFTER;
use ledge::cli::client::{Answer, Client};
use ledge::set::Digest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::signer::zipped;
use super::with_echo;
use crate::harness::eventually;
use crate::hostile::gateway::Gateway;

/// As large as a component may be.
const COMPONENT_BYTES: usize = 32 << 20;
const AT_ONCE: usize = 10;
/// What two bodies at once may take, unpacked and checked: 110 MiB each (160 in all were seen). All at once took 750.
const PEAK_MIB_MAX: f64 = 300.0;

/// Sends the same so many times at once, again where it is told to, and gives the last answers.
async fn all_at_once(client: &Client, method: Method, path: &str, body: Bytes) -> Vec<Answer> {
    let once = || async {
        let until = Instant::now() + Duration::from_secs(300);
        loop {
            let answer = client.send(method.clone(), path, &[], body.clone()).await.unwrap();
            if answer.status != 503 || Instant::now() > until {
                return answer;
            }
            let pause = answer.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=10).contains(&pause), "{pause}");
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
    };
    futures_util::future::join_all((0..AT_ONCE).map(|_| once())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_at_once_all_come_in_and_take_the_memory_of_a_few() {
    let gateway = Gateway::start().await;
    // Random, so that nothing about it is small.
    let component: Vec<u8> = std::iter::repeat_with(|| uuid::Uuid::new_v4().into_bytes()).take(COMPONENT_BYTES / 16).flatten().collect();
    let client = &gateway.client;
    let before = gateway.peak_mib();
    let path = format!("/2016-08-15/components/{}", Digest::of(&component));
    let component = Bytes::from(component);
    for answer in all_at_once(client, Method::PUT, &path, component.clone()).await {
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
    // In base64, and compressed as well as zeros are.
    for package in [STANDARD.encode(&component), zipped(&[("a.wasm", &vec![0; COMPONENT_BYTES])])] {
        let body = Bytes::from(json!({"functionName": "f", "code": {"zipFile": package}}).to_string());
        for answer in all_at_once(client, Method::POST, "/2016-08-15/services/none/functions", body).await {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!((400..500).contains(&answer.status.as_u16()), "{} {said}", answer.status);
        }
    }
    let grown = gateway.peak_mib() - before;
    println!("{AT_ONCE} uploads at once: {grown:.0} MiB more at their peak");
    assert!(grown < PEAK_MIB_MAX, "it grew by {grown:.0} MiB");
}

/// A client that says what it is about to send, and does not.
async fn stuck(socket: &std::path::Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!("PUT /2016-08-15/components/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", "0".repeat(64));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_nothing_hold_up_no_small_request_and_a_large_one_is_told_when_to_come_again() {
    let (gw, _) = with_echo().await;
    let socket = Arc::new(gw.path("api.sock"));
    let held = [stuck(&socket).await, stuck(&socket).await];
    let component: Bytes = vec![1; 1 << 20].into();
    let path = format!("/2016-08-15/components/{}", Digest::of(&component));
    let put = || async { gw.admin().send(Method::PUT, &path, &[], component.clone()).await.unwrap() };
    // Their heads may come after the first of these.
    let refused = async {
        loop {
            let answer = put().await;
            if answer.status == 503 {
                return answer;
            }
        }
    };
    let small = async {
        let began = Instant::now();
        let path = "/2016-08-15/services/app/functions/echo";
        let answer = gw.admin().send(Method::PUT, path, &[], "{\"timeout\": 3}".into()).await.unwrap();
        (answer.status.as_u16(), began.elapsed())
    };
    let (refused, (status, took)) = tokio::join!(tokio::time::timeout(Duration::from_secs(14), refused), small);
    let refused = refused.expect("it was neither refused nor answered in time");
    assert_eq!(refused.headers[RETRY_AFTER], "5");
    assert!(String::from_utf8_lossy(&refused.body).contains("\"ServiceUnavailable\""), "{:?}", refused.body);
    assert!(status == 200 && took < Duration::from_secs(8), "a small request was held up: {status}, {took:?}");
    drop(held);
    eventually("a place to be free", || async { put().await.status == 201 }).await;

    // One that stays is answered when its time is over, and gives its place back.
    let mut slow = stuck(&socket).await;
    let mut said = String::new();
    let answered = tokio::time::timeout(Duration::from_secs(20), slow.read_to_string(&mut said)).await;
    assert!(answered.is_ok() && said.contains("did not arrive"), "{said}");
}
