//! Answers HTTP requests in every way that the tests ask for. The second segment of the path says how.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

struct Echo;

wasip2::http::proxy::export!(Echo);

/// What `blocking-write-and-flush` takes at once.
const WRITE_BYTES_MAX: usize = 4_096;

impl Guest for Echo {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.splitn(4, '/').skip(2);
        let (what, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match what.split('?').next().unwrap_or_default() {
            "status" => respond(answer, rest.parse().unwrap_or(500), Fields::new(), |_| {}),
            "head" => respond(answer, 200, Fields::new(), |out| write(out, &head(&request))),
            "set" => respond(answer, 200, fields(rest), |_| {}),
            "fetch" => fetch(answer, rest),
            "big" => respond(answer, 200, Fields::new(), |out| big(out, rest.parse().unwrap_or(0))),
            "count" => respond(answer, 200, Fields::new(), |out| write(out, count().to_string().as_bytes())),
            "spin" => spin(),
            "trap" => panic!("trapped as asked"),
            "memory" => drop(std::hint::black_box(vec![1_u8; 1 << 30])),
            "never-answer" => {}
            "sleep" => sleep_ms(rest.parse().unwrap_or(0)),
            "refuse" => ResponseOutparam::set(answer, Err(ErrorCode::InternalError(Some("as asked".into())))),
            "begin-and-trap" => respond(answer, 200, Fields::new(), |out| {
                write(out, b"begun");
                panic!("trapped as asked")
            }),
            "begin-and-spin" => respond(answer, 200, Fields::new(), |out| {
                write(out, b"begun");
                spin()
            }),
            "short" => respond(answer, 200, fields("content-length=100"), |out| write(out, b"short")),
            "tick" => respond(answer, 200, Fields::new(), |out| tick(out, rest.parse().unwrap_or(0))),
            "after" => {
                respond(answer, 200, Fields::new(), |out| write(out, b"answered"));
                sleep_ms(rest.parse().unwrap_or(0));
                println!("done afterwards");
            }
            _ => echo(&request, answer),
        }
    }
}

/// Sends a head and whatever `body` writes.
fn respond(answer: ResponseOutparam, status: u16, headers: Fields, body: impl FnOnce(&OutputStream)) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let stream = outgoing.write().unwrap();
    body(&stream);
    drop(stream);
    let _ = OutgoingBody::finish(outgoing, None);
}

fn write(out: &OutputStream, bytes: &[u8]) {
    for part in bytes.chunks(WRITE_BYTES_MAX) {
        out.blocking_write_and_flush(part).expect("somebody reads");
    }
}

/// Each chunk goes back as it comes.
fn echo(request: &IncomingRequest, answer: ResponseOutparam) {
    let body = request.consume().unwrap();
    let stream = body.stream().unwrap();
    respond(answer, 200, Fields::new(), |out| pass(&stream, out));
}

fn pass(from: &InputStream, to: &OutputStream) {
    loop {
        match from.blocking_read(WRITE_BYTES_MAX as u64) {
            Ok(bytes) => write(to, &bytes),
            Err(StreamError::Closed) => return,
            Err(StreamError::LastOperationFailed(error)) => panic!("the request broke off: {}", error.to_debug_string()),
        }
    }
}

fn head(request: &IncomingRequest) -> Vec<u8> {
    let mut text = format!(
        "{:?} {} {:?} {}\n",
        request.method(),
        request.path_with_query().unwrap_or_default(),
        request.scheme(),
        request.authority().unwrap_or_default()
    )
    .into_bytes();
    for (name, value) in request.headers().entries() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(&value);
        text.push(b'\n');
    }
    text
}

/// `name=value`, with `&` between them.
fn fields(pairs: &str) -> Fields {
    let fields = Fields::new();
    for (name, value) in pairs.split('&').filter_map(|pair| pair.split_once('=')) {
        fields.append(name, value.as_bytes()).unwrap();
    }
    fields
}

/// `http/HOST:PORT/PATH`: asks there and passes the answer on. An error is answered 502 with its name.
fn fetch(answer: ResponseOutparam, target: &str) {
    let mut parts = target.splitn(3, '/');
    let scheme = if parts.next() == Some("https") { Scheme::Https } else { Scheme::Http };
    let authority = parts.next().unwrap_or_default();
    let path = format!("/{}", parts.next().unwrap_or_default());
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(&path)).unwrap();
    let response = outgoing_handler::handle(request, None).and_then(|future| {
        future.subscribe().block();
        future.get().expect("it is there").expect("it was not taken yet")
    });
    match response {
        Ok(response) => {
            let body: IncomingBody = response.consume().unwrap();
            let stream = body.stream().unwrap();
            respond(answer, response.status(), Fields::new(), |out| pass(&stream, out));
        }
        Err(code) => respond(answer, 502, Fields::new(), |out| write(out, format!("{code:?}").as_bytes())),
    }
}

fn big(out: &OutputStream, bytes: usize) {
    let part = [b'x'; WRITE_BYTES_MAX];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(part.len());
        out.blocking_write_and_flush(&part[..now]).expect("somebody reads");
        left -= now;
    }
}

/// How often this instance was asked.
fn count() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

fn tick(out: &OutputStream, times: usize) {
    for at in 0..times {
        write(out, format!("tick {at}\n").as_bytes());
        sleep_ms(20);
    }
}

fn sleep_ms(ms: u64) {
    subscribe_duration(ms * 1_000_000).block();
}

fn spin() {
    loop {
        std::hint::black_box(());
    }
}
