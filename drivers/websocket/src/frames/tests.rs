//! Against tungstenite's client, and against bytes that no client sends.

use tungstenite::handshake::client::generate_key;

use super::*;

/// For a connection that is not refused, if it comes from a device or from one of these pages.
fn frames(origins: &[&str]) -> Frames {
    Frames::new(None, origins.iter().map(|origin| (*origin).to_owned()).collect())
}

fn opened() -> Frames {
    let mut frames = self::frames(&[]);
    frames.feed(request("GET / HTTP/1.1").as_bytes());
    assert_eq!(frames.next(), Some(Event::Opened));
    assert!(String::from_utf8(frames.take()).unwrap().starts_with("HTTP/1.1 101 "));
    frames
}

fn request(line: &str) -> String {
    let key = generate_key();
    format!(
        "{line}\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// A frame as a client sends it, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// The code of the close frame that is to be sent.
fn close_code(frames: &mut Frames) -> u16 {
    let sent = frames.take();
    assert_eq!(sent[0], 0x88, "{sent:?}");
    u16::from_be_bytes([sent[2], sent[3]])
}

#[track_caller]
fn closes(bytes: &[u8], code: u16) {
    let mut frames = opened();
    frames.feed(bytes);
    let mut last = frames.next();
    while let Some(Event::Text(_) | Event::Alive) = last {
        last = frames.next();
    }
    assert!(matches!(last, Some(Event::Ended(_))), "{last:?}");
    assert_eq!(close_code(&mut frames), code);
    assert!(frames.is_over());
    // Whatever follows is thrown away.
    frames.feed(&frame(0x81, b"more"));
    assert_eq!(frames.next(), None);
}

#[test]
fn what_a_client_says_arrives_in_any_pieces() {
    let mut client = WebSocketContext::new(Role::Client, None);
    let mut wire = Wire::default();
    client.write(&mut wire, Message::text("hello")).unwrap();
    client.write(&mut wire, Message::Ping(Default::default())).unwrap();
    client.write(&mut wire, Message::text("ü".repeat(30_000))).unwrap();
    client.flush(&mut wire).unwrap();
    let mut frames = opened();
    let mut events = Vec::new();
    for piece in wire.outgoing.chunks(7) {
        frames.feed(piece);
        events.extend(std::iter::from_fn(|| frames.next()));
    }
    assert_eq!(events, [Event::Text("hello".into()), Event::Alive, Event::Text("ü".repeat(30_000))]);
    // The pong, and what is sent besides, is what the client understands.
    frames.send("good day".into());
    frames.ping();
    wire.incoming = frames.take();
    assert!(matches!(client.read(&mut wire), Ok(Message::Pong(_))));
    assert_eq!(client.read(&mut wire).unwrap(), Message::text("good day"));
    assert!(matches!(client.read(&mut wire), Ok(Message::Ping(_))));
}

#[test]
fn a_request_comes_in_pieces_and_frames_may_follow_it_at_once() {
    let mut frames = self::frames(&[]);
    let bytes = [request("GET /any/path HTTP/1.1").as_bytes(), &frame(0x81, b"hi")].concat();
    let (first, rest) = bytes.split_at(20);
    frames.feed(first);
    assert_eq!(frames.next(), None);
    assert!(frames.is_opening());
    frames.feed(rest);
    assert_eq!((frames.next(), frames.next()), (Some(Event::Opened), Some(Event::Text("hi".into()))));
}

#[test]
fn what_opens_no_web_socket_is_told_so_in_http() {
    let long = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(9_000));
    let cases = [
        (request("POST / HTTP/1.1"), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1} garbage \0\0\r\n\r\n".to_owned(), "400"),
        (request("GET / HTTP/1.1").replace("13", "8"), "400"),
        (long, "431"),
    ];
    for (sent, status) in cases {
        let mut frames = self::frames(&[]);
        frames.feed(sent.as_bytes());
        assert!(matches!(frames.next(), Some(Event::Ended(_))), "{sent}");
        let answer = String::from_utf8(frames.take()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("connection: close"), "{answer}");
        assert!(frames.is_over());
    }
    // A whole one that came at once: up to its last byte, and one more.
    let padded = |bytes: usize| {
        let usual = request("GET / HTTP/1.1");
        let pad = format!("\r\nx: {}", "y".repeat(bytes - usual.len() - 5));
        usual.replacen("\r\nHost", &format!("{pad}\r\nHost"), 1)
    };
    for (bytes, status) in [(8_192, "101"), (8_193, "431"), (9_000, "431")] {
        let (mut frames, sent) = (self::frames(&[]), padded(bytes));
        assert_eq!(sent.len(), bytes);
        // What follows it is not counted.
        frames.feed(&[sent.as_bytes(), &frame(0x81, &[b'x'; 125]).repeat(20)].concat());
        assert!(frames.next().is_some());
        assert!(String::from_utf8(frames.take()).unwrap().starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}");
    }
    let mut full = Frames::new(Some("too many".into()), [].into());
    full.feed(request("GET / HTTP/1.1").as_bytes());
    assert_eq!(full.next(), Some(Event::Ended("too many".into())));
    assert!(String::from_utf8(full.take()).unwrap().starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_web_page_may_connect_only_if_its_origin_is_listed() {
    let listed = ["https://plant.example", "http://10.0.0.1:8080"];
    let open = |origins: &[&str], headers: &[&str]| {
        let lines: String = headers.iter().map(|header| format!("\r\n{header}")).collect();
        let mut frames = self::frames(origins);
        frames.feed(request("GET / HTTP/1.1").replacen("\r\nHost", &format!("{lines}\r\nHost"), 1).as_bytes());
        frames.next().unwrap();
        String::from_utf8(frames.take()).unwrap()
    };
    for headers in [&["Origin: https://plant.example"][..], &["ORIGIN: http://10.0.0.1:8080"], &[]] {
        assert!(open(&listed, headers).starts_with("HTTP/1.1 101 "), "{headers:?}");
    }
    let long = format!("Origin: https://{}", "x".repeat(1_000));
    for (headers, said) in [
        (&["Origin: https://evil.example"][..], "`https://evil.example`"),
        (&["Origin: https://plant.example.evil.example"], "evil"),
        (&["Origin: https://plant.example:443"], "443"),
        (&["Origin: HTTPS://plant.example"], "HTTPS"),
        (&["Origin: null"], "`null`"),
        (&["Origin:"], "``"),
        (&["Origin: https://plant.example", "Origin: https://evil.example"], "evil"),
        (&["Origin: \u{fc}"], "\\xc3\\xbc"),
        (&[&long], "xxx"),
    ] {
        let answer = open(&listed, headers);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(said) && answer.contains("`origins`"), "{headers:?}: {answer}");
        assert!(answer.len() < 400, "{answer}");
    }
    assert!(open(&[], &["Origin: https://plant.example"]).starts_with("HTTP/1.1 403 "));
}

#[test]
fn a_long_message_is_refused_by_its_header_alone_and_takes_no_memory() {
    // 100 MiB, of which nothing has come yet.
    let header = [&[0x81, 0xff][..], &(100_u64 << 20).to_be_bytes(), &[0; 4]].concat();
    closes(&header, 1009);
    // A length beyond what the machine can count.
    closes(&[&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat(), 1009);
    // In small pieces.
    let mut pieces = frame(0x01, &[b'x'; 125]);
    for _ in 0..600 {
        pieces.extend(frame(0x00, &[b'x'; 125]));
    }
    closes(&pieces, 1009);
}

#[test]
fn what_breaks_the_rules_is_closed_with_its_code() {
    closes(&frame(0x82, b"binary"), 1003);
    closes(&frame(0x81, &[0xff, 0xfe]), 1007);
    // Not masked, a reserved bit (compression), an unknown opcode, a continuation of nothing, a ping in pieces.
    closes(&[0x81, 2, b'h', b'i'], 1002);
    closes(&frame(0xc1, b"x"), 1002);
    closes(&frame(0x83, b"x"), 1002);
    closes(&frame(0x80, b"x"), 1002);
    closes(&frame(0x09, b"x"), 1002);
}

#[test]
fn a_goodbye_is_answered() {
    let mut frames = opened();
    frames.feed(&frame(0x88, &1000_u16.to_be_bytes()));
    assert!(matches!(frames.next(), Some(Event::Ended(_))));
    assert_eq!(close_code(&mut frames), 1000);
    // Ours is said once.
    let mut frames = opened();
    frames.close(Close::TakenOver, &"é".repeat(100));
    assert_eq!(close_code(&mut frames), 4001);
    frames.close(Close::Policy, "again");
    frames.send("after the end".into());
    assert_eq!(frames.waiting(), 0);
}

#[test]
fn only_an_address_is_an_origin_of_its_own() {
    let request = |host: &str, origin: &str| Request::builder().header("host", host).header("origin", origin).body(()).unwrap();
    for host in ["192.168.1.1:17682", "192.168.1.1", "[fe80::1]:17682", "[fe80::1]"] {
        assert_eq!(stranger(&request(host, &format!("http://{host}")), &[]), None, "{host}");
    }
    for (host, origin) in [
        ("192.168.1.1:17682", "http://192.168.1.1"),
        ("192.168.1.1:17682", "http://evil.example"),
        ("evil.example:17682", "http://evil.example:17682"),
        ("", "http://"),
        ("localhost", "http://localhost"),
    ] {
        assert!(stranger(&request(host, origin), &[]).is_some(), "{origin} of {host}");
    }
    assert_eq!(stranger(&request("gw", "http://gw"), &["http://gw".to_owned()]), None);
}
