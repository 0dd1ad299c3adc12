//! Requests that are wrong, or look so, byte by byte.

use base64::Engine;

use crate::harness::PASSWORD;

/// What may come of it.
pub enum Expected {
    /// Each answer is 4xx, or there is none.
    Refused,
    /// One answer at most, below 500: what follows it is nobody's request.
    NothingAfter,
    /// These, one after another.
    Answers(&'static [u16]),
}

pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// The path that no answer may name: it is only in what must not be understood as a request.
pub const SMUGGLED: &str = "/smuggled";
const BODY: &str = r#"{"params": {}}"#;

struct Table(Vec<Case>);

impl Table {
    fn add(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>, expected: Expected) {
        self.0.push(Case { name: name.into(), bytes: bytes.as_ref().to_vec(), expected });
    }

    fn refused(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) {
        self.add(name, bytes, Expected::Refused);
    }
}

/// On a port without TLS.
pub fn plain() -> Vec<Case> {
    let mut table = Table(Vec::new());
    fine(&mut table);
    lengths(&mut table);
    smuggling(&mut table);
    chunks(&mut table);
    header_lines(&mut table);
    request_lines(&mut table);
    hosts(&mut table);
    unfinished(&mut table);
    other_protocols(&mut table);
    table.0
}

/// Everything that a right request has but the lines of its body's length.
fn head(more: &str) -> String {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    format!("POST /thing/device/count HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n{more}\r\n")
}

fn with_body(more: &str) -> String {
    head(&format!("Content-Length: {}\r\n{more}", BODY.len())) + BODY
}

fn chunked(more: &str, body: &str) -> String {
    head(&format!("Transfer-Encoding: chunked\r\n{more}")) + body
}

fn whole_chunks() -> String {
    format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len())
}

/// What is right is answered: the others are not refused for another reason than their own.
fn fine(table: &mut Table) {
    let ok = || Expected::Answers(&[200]);
    table.add("as it should be", with_body(""), ok());
    table.add("as it should be, in chunks", chunked("", &whole_chunks()), ok());
    table.add("chunk extension", chunked("", &whole_chunks().replace("e\r\n{", "e;a=b;c=\"d\"\r\n{")), ok());
    table.add("trailer", chunked("", &whole_chunks().replace("0\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n")), ok());
    table.add("empty lines before", "\r\n\r\n".to_owned() + &with_body(""), ok());
    table.add("lines that end in LF alone", with_body("").replace("\r\n", "\n"), ok());
    table.add("the same length twice", head("Content-Length: 14\r\nContent-Length: 14\r\n") + BODY, ok());
    table.add("upgrade to h2c", with_body("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), ok());
    table.add("expects 100-continue", with_body("Expect: 100-continue\r\n"), Expected::Answers(&[100, 200]));
    let too_large = head("Content-Length: 100000\r\nExpect: 100-continue\r\n");
    table.add("would send too much, if it were told to", too_large, Expected::Answers(&[400]));
    let two = with_body("").replace("Connection: close\r\n", "") + &with_body("");
    table.add("two at once", two, Expected::Answers(&[200, 200]));
    table.add("bytes after the last one", with_body("") + "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n", Expected::NothingAfter);
}

fn lengths(table: &mut Table) {
    let wrong = [
        "-1",
        "+14",
        "0x0e",
        "14.0",
        "1e1",
        "abc",
        "14 14",
        "14,14",
        "14, 15",
        "14;",
        "\"14\"",
        "14a",
        "",
        "99999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "0o16",
        "1_4",
        "٤",
        "NaN",
        "--14",
    ];
    for length in wrong {
        table.refused(format!("Content-Length: {length}"), head(&format!("Content-Length: {length}\r\n")) + BODY);
    }
    for pair in [("14", "15"), ("14", "0"), ("0", "14"), ("14", "x"), ("x", "14"), ("14", "-14")] {
        let lines = format!("Content-Length: {}\r\nContent-Length: {}\r\n", pair.0, pair.1);
        table.refused(format!("two lengths, {pair:?}"), head(&lines) + BODY);
    }
    table.refused("a body that is too large", head("Content-Length: 100000\r\n") + &" ".repeat(100_000));
    table.refused("a length of a TiB", head("Content-Length: 1099511627776\r\n") + BODY);
    table.refused("too large in chunks", chunked("", &("ffff\r\n".to_owned() + &" ".repeat(65_535) + "\r\n").repeat(3)));
}

fn smuggling(table: &mut Table) {
    let smuggled = format!("GET {SMUGGLED} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let end = "0\r\n\r\n";
    for (name, lines) in [
        ("CL.TE", "Content-Length: 54\r\nTransfer-Encoding: chunked\r\n"),
        ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("CL.0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("CL.TE in other letters", "content-length: 54\r\ntransfer-encoding: CHUNKED\r\n"),
    ] {
        // It is not asked to close, as an attacker would not.
        let bytes = head(lines).replace("Connection: close\r\n", "") + end + &smuggled;
        table.add(name, bytes, Expected::NothingAfter);
    }
    for coding in [
        "identity",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "gzip",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked, chunked",
        "chunked,",
        ", chunked",
        "cow",
        "chunk ed",
        "",
        "[chunked]",
        "chunked\u{a0}",
    ] {
        table.refused(format!("Transfer-Encoding: {coding}"), head(&format!("Transfer-Encoding: {coding}\r\n")) + &whole_chunks());
    }
    let cases = [
        ("chunked and then another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"),
        ("another and then chunked", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        ("vertical tab before the value", "Transfer-Encoding: \u{b}chunked\r\n"),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("after a folded line", "X: y\r\n z\r\nTransfer-Encoding: chunked\r\n"),
        ("length with a space before the colon", "Content-Length : 14\r\n"),
        ("underscore", "Content_Length : 14\r\n"),
    ];
    for (name, lines) in cases {
        table.refused(name, head(lines) + &whole_chunks());
    }
    let old = chunked("", &whole_chunks()).replace("HTTP/1.1", "HTTP/1.0");
    table.refused("chunks in HTTP/1.0", old);
}

fn chunks(table: &mut Table) {
    for size in [
        "g",
        "-1",
        "-e",
        "+e",
        "0xe",
        "e e",
        "ffffffffffffffff",
        "10000000000000000",
        "fffffffffffffffff",
        "",
        "\"e\"",
        "e\0",
        "\u{b}e",
        "e,",
        ".e",
        "ë",
    ] {
        table.refused(format!("chunk of size {size:?}"), chunked("", &format!("{size}\r\n{BODY}\r\n0\r\n\r\n")));
    }
    for (name, body) in [
        ("a chunk longer than its size", format!("d\r\n{BODY}\r\n0\r\n\r\n")),
        ("a chunk without its end", format!("e\r\n{BODY}0\r\n\r\n")),
        ("a chunk that ends in something else", format!("e\r\n{BODY}XX0\r\n\r\n")),
        ("a size that ends in CR alone", format!("e\r{BODY}\r\n0\r\n\r\n")),
        ("a size that ends in LF alone, as an extension", format!("e;a\n{BODY}\r\n0\r\n\r\n")),
        ("an extension with CR", format!("e;a\rb\r\n{BODY}\r\n0\r\n\r\n")),
        ("an extension of 100 KiB", format!("e;{}\r\n{BODY}\r\n0\r\n\r\n", "a".repeat(100 << 10))),
        ("many chunks with extensions", format!("1;{}\r\n \r\n", "a".repeat(4_000)).repeat(100) + "0\r\n\r\n"),
        ("a trailer of 1 MiB", format!("e\r\n{BODY}\r\n0\r\nX: {}\r\n\r\n", "a".repeat(1 << 20))),
        ("10,000 trailers", format!("e\r\n{BODY}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(10_000))),
        ("a trailer without a colon", format!("e\r\n{BODY}\r\n0\r\nno colon\r\n\r\n")),
        ("a trailer with NUL", format!("e\r\n{BODY}\r\n0\r\nX: \0\r\n\r\n")),
    ] {
        table.refused(name, chunked("", &body));
    }
}

fn header_lines(table: &mut Table) {
    for byte in b"(),/:;<=>?@[\\]{}\"\x00\x01\x08\x0b\x0c\x1f\x7f\x80\xff ".iter().copied().filter(|byte| *byte != b':') {
        let mut bytes = with_body("X@Y: 1\r\n").into_bytes();
        let at = bytes.windows(3).position(|part| part == b"X@Y").unwrap() + 1;
        bytes[at] = byte;
        table.refused(format!("byte {byte:#04x} in a header's name"), bytes);
    }
    for byte in [0x00, 0x01, 0x07, 0x08, 0x0b, 0x0c, 0x0d, 0x1b, 0x1f, 0x7f] {
        let mut bytes = with_body("X: a@b\r\n").into_bytes();
        let at = bytes.windows(3).position(|part| part == b"a@b").unwrap() + 1;
        bytes[at] = byte;
        table.refused(format!("byte {byte:#04x} in a header's value"), bytes);
    }
    for (name, lines) in [
        ("no colon", "no colon\r\n".to_owned()),
        ("no name", ": value\r\n".to_owned()),
        ("a folded line", "X: a\r\n b\r\n".to_owned()),
        ("a line folded with a tab", "X: a\r\n\tb\r\n".to_owned()),
        ("101 headers", "X: y\r\n".repeat(101)),
        ("1,000 headers", "X: y\r\n".repeat(1_000)),
        ("100,000 headers", "X: y\r\n".repeat(100_000)),
        ("a million headers", "X:\r\n".repeat(1_000_000)),
        ("a header of 100 KiB", format!("X: {}\r\n", "a".repeat(100 << 10))),
        ("a header of a million bytes", format!("X: {}\r\n", "a".repeat(1_000_000))),
        ("a name of 100 KiB", format!("{}: y\r\n", "a".repeat(100 << 10))),
        ("a cookie of 1 MiB", format!("Cookie: token={}\r\n", "a".repeat(1 << 20))),
    ] {
        table.refused(name, with_body(&lines));
    }
    table.refused("the first line folded", with_body("").replace("\r\nHost:", "\r\n Host:"));
}

fn request_lines(table: &mut Table) {
    let with = |line: &str| with_body("").replace("POST /thing/device/count HTTP/1.1", line);
    let path = "/thing/device/count";
    for method in
        ["BREW", "post", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "PROPFIND", "POST\t", "PO ST", "P\0ST", "(POST)", "PÖST", "", " "]
    {
        table.refused(format!("method {method:?}"), with(&format!("{method} {path} HTTP/1.1")));
    }
    table.refused("a method of 100 KiB", with(&format!("{} {path} HTTP/1.1", "A".repeat(100 << 10))));
    for version in [
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1",
        "HTTP/11",
        "HTTP/2",
        "HTTP/2.0",
        "HTTP/3.0",
        "http/1.1",
        "HTTP/1.1 x",
        "HTTP/1.1\0",
        "HTP/1.1",
        "ICY",
        "",
    ] {
        table.refused(format!("version {version:?}"), with(&format!("POST {path} {version}")));
    }
    for target in [
        "*",
        "localhost:9999",
        "http://evil.example/thing/device/count",
        "http://localhost@evil.example/",
        "http:///thing/device/count",
        "//thing/device/count",
        "thing/device/count",
        "../../etc/passwd",
        "/../../etc/passwd",
        "/thing/device/count/",
        "/thing//device/count",
        "/thing/device/count%00",
        "/thing/device/%63ount",
        "/thing/./device/count",
        "/%zz",
        "/%",
        "/\0",
        "/a b",
        "/<script>",
        "/2020-04-30/functions/%ff/invocations",
        "",
        "?",
        "#",
        "\\thing\\device\\count",
    ] {
        table.refused(format!("target {target:?}"), with(&format!("POST {target} HTTP/1.1")));
    }
    table.refused("a target of 100 KiB", with(&format!("POST /{} HTTP/1.1", "a".repeat(100 << 10))));
    table.refused("a query of 1 MiB", with(&format!("POST {path}?{} HTTP/1.1", "a".repeat(1 << 20))));
    table.refused("CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n");
    table.refused("CONNECT to itself", "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\nConnection: close\r\n\r\n");
    table.refused("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    table.refused("HTTP/0.9", "GET /\r\n");
    table.refused("HTTP/0.9 with a CR alone", "GET /\r");
    table.add("an own absolute target", with("POST http://localhost/thing/device/count HTTP/1.1"), Expected::Answers(&[200]));
}

fn hosts(table: &mut Table) {
    let with = |line: &str| with_body("").replace("Host: localhost\r\n", line);
    for line in [
        "",
        "Host:\r\n",
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: a b\r\n",
        "Host: localhost:99999\r\n",
        "Host: localhost:x\r\n",
        "Host: localhost, evil.example\r\n",
        "Host: localhost/evil\r\n",
        "Host: evil@localhost\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: löcalhost\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
    ] {
        table.refused(format!("{line:?}"), with(line));
    }
}

/// Nothing more comes: these wait for the gateway's patience to end.
fn unfinished(table: &mut Table) {
    for (name, bytes) in [
        ("nothing", String::new()),
        ("one byte", "P".to_owned()),
        ("half a request line", "POST /thing".to_owned()),
        ("a request line", "POST /thing/device/count HTTP/1.1\r\n".to_owned()),
        ("half the headers", head("").trim_end().to_owned()),
        ("no body", head("Content-Length: 14\r\n")),
        ("half a body", head("Content-Length: 14\r\n") + "{\"par"),
        ("half a chunk", chunked("", "e\r\n{\"par")),
        ("half a chunk's size", chunked("", "e")),
        ("no last chunk", chunked("", &format!("e\r\n{BODY}\r\n"))),
        ("half a trailer", chunked("", &format!("e\r\n{BODY}\r\n0\r\nX-S"))),
        ("half a login", "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{".to_owned()),
        ("empty lines for ever", "\r\n".repeat(500_000)),
        ("spaces for ever", " ".repeat(1_000_000)),
    ] {
        table.refused(format!("unfinished: {name}"), bytes);
    }
}

fn other_protocols(table: &mut Table) {
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03";
    table.refused("TLS", [&hello[..], &[7; 160]].concat());
    table.refused("TLS, only begun", hello);
    table.refused("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    table.refused("HTTP/2, only begun", "PRI * HTTP/2.0\r\n");
    table.refused("SSH", "SSH-2.0-OpenSSH_9.9\r\n");
    table.refused("SMTP", "EHLO localhost\r\n");
    table.refused("SOCKS", b"\x05\x01\x00");
    table.refused("Modbus", b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a");
    table.refused("MQTT", b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd");
    table.refused("RDP", b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00");
    table.refused("PROXY", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".to_owned() + &with_body(""));
    table.refused("an answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    table.refused("zeros", vec![0; 1 << 20]);
    table.refused("ones", vec![0xff; 64 << 10]);
    let noise: Vec<u8> = (0..64_u32 << 10).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    table.refused("noise", noise);
}

/// On the port of HTTPS.
pub fn on_tls_port() -> Vec<Case> {
    let mut table = Table(Vec::new());
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n");
    table.add("a request in clear", get("/docs?a=b", "Host: gateway.plant:9999\r\n"), Expected::Answers(&[302]));
    table.add("a request in clear with a body", with_body(""), Expected::Answers(&[302]));
    table.add("two in clear", get("/", "Host: localhost\r\n").repeat(2), Expected::Answers(&[302]));
    for (target, host) in [
        ("/", ""),
        ("/", "Host:\r\n"),
        ("/", "Host: evil.example/x\r\n"),
        ("/", "Host: a@b\r\n"),
        ("/", "Host: a b\r\n"),
        ("/", "Host: localhost:0\r\n"),
        ("*", "Host: localhost\r\n"),
        ("localhost:1", "Host: localhost\r\n"),
    ] {
        table.refused(format!("in clear: {target} {host:?}"), get(target, host));
    }
    table.refused("in clear, unfinished", "GET / HTTP/1.1\r\nHo");
    table.refused("in clear, one letter", "G");
    table.refused("nothing", "");
    table.refused("SSH", "SSH-2.0-OpenSSH_9.9\r\n");
    table.refused("zeros", vec![0; 64 << 10]);
    table.refused("an alert", b"\x15\x03\x03\x00\x02\x02\x28");
    table.refused("a heartbeat", b"\x18\x03\x03\x00\x03\x01\x40\x00");
    table.refused("one byte of a handshake", b"\x16");
    table.refused("half a handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    table.refused("a record that is too long", [&b"\x16\x03\x01\xff\xff"[..], &[1; 1_000]].concat());
    table.refused("a handshake of another kind", b"\x16\x03\x01\x00\x04\x63\x00\x00\x00");
    table.refused("a handshake of 16 MiB", [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &vec![0; 1 << 20]].concat());
    table.refused("empty records", b"\x16\x03\x01\x00\x00".repeat(10_000));
    table.refused("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10");
    table.0
}
