//! Functions that answer HTTP requests: any component of `wasi:http` 0.2, in the sandbox of every other function.

use std::time::{Duration, Instant};

use base64::Engine;
use hyper::Method;
use hyper::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use ledge::deploy::DeployError;
use ledge::set::{HttpAuth, HttpTrigger};

use crate::harness::http::{streamed, whole};
use crate::harness::{PASSWORD, Setup, TestGateway, eventually, gateway};

const PLAIN: &str = "http://127.0.0.1:0";

fn echo() -> Setup {
    gateway().answers("echo", "http-echo", "/echo").http_listen(PLAIN)
}

fn basic(password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("admin:{password}")))
}

async fn refusal(setup: Setup) -> String {
    let gw = gateway().start().await;
    match gw.deploy(setup).await {
        Err(DeployError::Refused(problems)) => problems.join("\n"),
        other => panic!("it was not refused: {other:?}"),
    }
}

async fn is_idle(gw: &TestGateway, name: &str) {
    let name = format!("test/{name}").parse().unwrap();
    eventually("the call to end", || async { gw.gateway.functions.get(&name).unwrap().gate.running() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_every_path_does_not_take_those_of_the_api() {
    let gw = gateway().answers("all", "http-hello", "/").http_listen(PLAIN).start().await;
    assert_eq!(gw.get("/anything").await.status, 200);
    for path in ["/auth/login", "/ledge/v1/gateway", "/2020-04-30/functions/x/invocations", "/thing"] {
        assert_eq!(gw.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_wasi_http_answers_below_its_prefix() {
    let gw = gateway().answers("hello", "http-hello", "/hello").http_listen(PLAIN).start().await;
    for path in ["/hello", "/hello/", "/hello/you?x=/", "/hello?x"] {
        let answer = gw.get(path).await;
        assert_eq!((answer.status, answer.text(), answer.header("content-length")), (200, "hello\n", Some("6")), "{path}");
    }
    for path in ["/", "/hell", "/hellos", "//hello", "/x/hello", "/HELLO"] {
        let answer = gw.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["message"].as_str().unwrap().contains("no function answers"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_prefix_wins_and_a_deployment_moves_it() {
    let setup = gateway().answers("root", "http-echo", "/").answers("hello", "http-hello", "/a/b").http_listen(PLAIN);
    let gw = setup.start().await;
    assert_eq!(gw.get("/a/b/c").await.text(), "hello\n");
    assert!(gw.get("/a/head").await.text().contains("/a/head"));
    gw.deploy(gateway().answers("hello", "http-hello", "/c")).await.unwrap();
    assert_eq!(gw.get("/c").await.text(), "hello\n");
    assert_eq!(gw.get("/a/b/c").await.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_streams_back_before_its_end_was_sent() {
    let gw = echo().start().await;
    let (body, sent) = streamed();
    body.send("first".into()).await.unwrap();
    let mut begun = gw.begin(gw.request("POST", "/echo").body(sent).unwrap()).await.unwrap();
    assert_eq!(begun.part().await.unwrap().unwrap(), "first");
    body.send("second".into()).await.unwrap();
    assert_eq!(begun.part().await.unwrap().unwrap(), "second");
    drop(body);
    assert!(begun.part().await.is_none());
    is_idle(&gw, "echo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_far_larger_than_a_host_call_pass_in_both_directions() {
    let gw = echo().start().await;
    let answer = gw.get("/echo/big/20000000").await;
    assert_eq!((answer.status, answer.body.len()), (200, 20_000_000));
    let bytes = vec![b'y'; 5 << 20];
    let answer = gw.send(gw.request("POST", "/echo").body(whole(bytes.clone())).unwrap()).await;
    assert!(answer.body == bytes, "{} bytes came back", answer.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_says_the_status_and_the_headers_and_head_has_no_body() {
    let gw = echo().start().await;
    assert_eq!(gw.get("/echo/status/418").await.status, 418);
    assert_eq!(gw.get("/echo/set/x-one=1&set-cookie=a&set-cookie=b").await.headers.get_all("set-cookie").iter().count(), 2);
    let answer = gw.send(gw.request("HEAD", "/echo/set/content-length=100").body(whole("")).unwrap()).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("100"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_open_a_function_as_they_do_an_invocation_and_it_never_sees_how() {
    let setup = echo().with_function(|function| function.http.as_mut().unwrap().auth = HttpAuth::User);
    let gw = setup.start().await;
    let head = || gw.request("GET", "/echo/head");
    let stranger = gw.send(head().body(whole("")).unwrap()).await;
    assert_eq!((stranger.status, stranger.header("www-authenticate")), (401, Some("Basic realm=\"ledge\"")));
    let wrong = gw.send(head().header(AUTHORIZATION, basic("wrong wrong wrong")).body(whole("")).unwrap()).await;
    assert_eq!(wrong.status, 401);
    gw.audited("login failed").await;
    let seen = gw.send(head().header(AUTHORIZATION, basic(PASSWORD)).header(COOKIE, "a=1; token=x; b=2").body(whole("")).unwrap()).await;
    assert_eq!(seen.status, 200);
    assert!(!seen.text().contains("authorization") && !seen.text().contains("token"), "{}", seen.text());
    assert!(seen.text().contains("cookie: a=1; b=2\n"), "{}", seen.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_do_not_reach_a_function_of_users_and_reach_one_of_everybody() {
    let setup = echo().function("http-echo").with_function(|function| {
        function.http = Some(HttpTrigger { prefix: "/docs".into(), auth: HttpAuth::User, methods: vec![] });
    });
    let gw = setup.start().await;
    let own = format!("http://{}", gw.http());
    let other_name = format!("http://localhost:{}", gw.http().port());
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = gw.request("GET", path).header(AUTHORIZATION, basic(PASSWORD));
        for (name, value) in headers {
            request.headers_mut().unwrap().insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        gw.send(request.body(whole("")).unwrap()).await
    };
    for (headers, expected) in [
        (vec![], 200),
        (vec![("sec-fetch-site", "same-origin"), ("origin", own.as_str())], 200),
        (vec![("sec-fetch-site", "none")], 200),
        (vec![("sec-fetch-site", "cross-site")], 403),
        // As a page on the API's port is.
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("host", "evil.example")], 403),
        (vec![("host", "localhost"), ("origin", other_name.as_str())], 403),
    ] {
        // What is a page of the API's is a function here.
        let answer = get("/docs/head", &headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
        if expected == 403 {
            assert_eq!(answer.json()["code"], 403, "{headers:?}");
            assert_eq!(get("/echo/head", &headers).await.status, 200, "{headers:?}");
        }
    }
    // Who it is does not matter then: a page learns nothing from it.
    let stranger = gw.request("GET", "/docs/head").header("sec-fetch-site", "cross-site").body(whole("")).unwrap();
    assert_eq!(gw.send(stranger).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_function_gets_the_headers_of_its_own_users_but_not_those_of_the_connection() {
    let gw = echo().start().await;
    let request = gw.request("GET", "/echo/head?q=1").header(AUTHORIZATION, "Bearer theirs").header(COOKIE, "token=theirs");
    let request = request.header("connection", "keep-alive, x-hop").header("x-hop", "1").header("keep-alive", "timeout=5");
    let seen = gw.send(request.body(whole("")).unwrap()).await;
    let text = seen.text();
    assert!(text.starts_with(&format!("Method::Get /echo/head?q=1 Some(Scheme::Http) {}\n", gw.http())), "{text}");
    assert!(text.contains("authorization: Bearer theirs\n") && text.contains("cookie: token=theirs\n"), "{text}");
    for hop in ["connection", "keep-alive", "x-hop", "host:"] {
        assert!(!text.lines().skip(1).any(|line| line.starts_with(hop)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_shadows_the_api_or_belongs_to_another_is_refused() {
    let problem = refusal(gateway().answers("a", "http-hello", "/ledge/v1")).await;
    assert!(problem.contains("the gateway's own API"), "{problem}");
    let problem = refusal(gateway().answers("a", "http-hello", "/x").answers("b", "http-hello", "/x")).await;
    assert!(problem.contains("HTTP prefix") && problem.contains("/x"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_answer_http_as_it_is_declared_is_refused_by_name() {
    for setup in [gateway().function("http-next"), gateway().answers("next", "http-next", "/x")] {
        let problem = refusal(setup).await;
        assert!(problem.contains("wasi:http/handler@0.3.0") && problem.contains("wasi:http 0.2"), "{problem}");
    }
    let problem = refusal(gateway().function("http-hello")).await;
    assert!(problem.contains("http = { prefix = \"/...\" }"), "{problem}");
    let problem = refusal(gateway().answers("count", "count", "/x")).await;
    assert!(problem.contains("wasi:http/incoming-handler@0.2"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_may_be_invoked_and_answer_requests_and_one_that_only_answers_says_so() {
    let gw = gateway().answers("both", "http-both", "/both").answers("hello", "http-hello", "/hello").http_listen(PLAIN).start().await;
    assert_eq!(gw.get("/both").await.text(), "requested");
    assert_eq!(gw.result("both", "").await, "invoked");
    let refused = gw.invoke("hello", "").await.unwrap_err().to_string();
    assert!(refused.contains("answers HTTP requests"), "{refused}");
    let gw = gateway().function("http-both").start().await;
    assert_eq!(gw.result("http-both", "").await, "invoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_fails_is_answered_for_with_its_limit_and_the_next_is_well() {
    let gw = echo().limits(|limits| (limits.deadline_ms, limits.breaker_failures) = (300, 0)).start().await;
    let cases = [
        ("spin", 504, Some("deadline_ms"), "300 ms"),
        ("sleep/60000", 504, Some("deadline_ms"), "300 ms"),
        ("trap", 502, None, "trapped as asked"),
        ("memory", 502, Some("memory_bytes"), "64 MiB"),
        ("never-answer", 502, None, "without an answer"),
        ("refuse", 502, None, "as asked"),
        ("short", 502, None, "broke its answer off"),
    ];
    for (what, status, limit, message) in cases {
        let answer = gw.get(&format!("/echo/{what}")).await;
        assert_eq!((answer.status, answer.header("x-fc-error-type")), (status, Some("Unhandled")), "{what}: {answer:?}");
        let body = answer.json();
        assert_eq!((body["Function"].as_str(), body["Limit"].as_str()), (Some("test/echo"), limit), "{what}: {body}");
        assert!(body["Message"].as_str().unwrap().contains(message), "{what}: {body}");
        assert_eq!(body["RequestId"].as_str().map(str::len), Some(36));
        assert_eq!(gw.get("/echo/status/200").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_in_the_middle_is_cut_and_never_looks_complete() {
    let gw = echo().limits(|limits| (limits.deadline_ms, limits.breaker_failures) = (300, 0)).start().await;
    for what in ["begin-and-spin", "tick/1000"] {
        let mut begun = gw.begin(gw.request("GET", &format!("/echo/{what}")).body(whole("")).unwrap()).await.unwrap();
        let cut = loop {
            match begun.part().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(cut, Some(Err(_))), "{what}: {cut:?}");
        is_idle(&gw, "echo").await;
    }
    // This one fails before anything was sent, so it can still be told.
    assert_eq!(gw.get("/echo/begin-and-trap").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_call() {
    let gw = echo().limits(|limits| limits.deadline_ms = 60_000).start().await;
    let name = "test/echo".parse().unwrap();
    let request = |path| gw.request("GET", path).body(whole("")).unwrap();
    let mut begun = gw.begin(request("/echo/tick/100000")).await.unwrap();
    begun.part().await.unwrap().unwrap();
    assert_eq!(gw.gateway.functions.get(&name).unwrap().gate.running(), 1);
    drop(begun);
    is_idle(&gw, "echo").await;
    // The same before an answer has begun.
    let waiting = tokio::time::timeout(Duration::from_millis(50), gw.begin(request("/echo/sleep/50000")));
    assert!(waiting.await.is_err());
    is_idle(&gw, "echo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_go_on_after_its_answer_and_nobody_waits_for_it() {
    let gw = echo().limits(|limits| limits.deadline_ms = 60_000).start().await;
    let began = Instant::now();
    assert_eq!(gw.get("/echo/after/400").await.text(), "answered");
    assert!(began.elapsed() < Duration::from_millis(400), "the answer waited for the guest: {:?}", began.elapsed());
    assert_eq!(gw.gateway.functions.get(&"test/echo".parse().unwrap()).unwrap().gate.running(), 1);
    is_idle(&gw, "echo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_function_and_a_broken_one_are_503_with_when_to_come_again() {
    let setup = echo().limits(|limits| (limits.concurrency, limits.deadline_ms, limits.breaker_failures) = (1, 300, 2));
    let gw = setup.start().await;
    let (first, second) = tokio::join!(gw.get("/echo/sleep/60000"), gw.get("/echo/sleep/60000"));
    let statuses = [first.status, second.status];
    assert!(statuses.contains(&504), "{statuses:?}");
    while gw.get("/echo/trap").await.status == 502 {}
    let refused = gw.get("/echo/status/200").await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{refused:?}");
    assert!(refused.json()["message"].as_str().unwrap().contains("in a row"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_kept_answers_the_next_request_too() {
    let setup = gateway().answers("hello", "http-hello", "/hello").with_function(|function| function.reuse = 10).http_listen(PLAIN);
    let gw = setup.answers("echo", "http-echo", "/echo").with_function(|function| function.reuse = 10).start().await;
    for _ in 0..25 {
        assert_eq!(gw.get("/hello").await.text(), "hello\n");
    }
    for what in ["begin-and-trap", "never-answer", "status/201", "big/100000", "trap", "status/202"] {
        gw.get(&format!("/echo/{what}")).await;
    }
    assert_eq!(gw.get("/echo/status/203").await.status, 203);
}

/// How often the instance that answers was asked.
async fn count(gw: &TestGateway) -> String {
    let answer = gw.get("/echo/count").await;
    // An instance is kept once its guest has ended, which may be just after its answer.
    is_idle(gw, "echo").await;
    answer.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_answers_so_many_requests_one_after_another_and_then_a_fresh_one_does() {
    let setup = echo().with_function(|function| function.reuse = 3);
    let gw = setup.start().await;
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(count(&gw).await);
    }
    assert_eq!(answers, ["1", "2", "3", "1", "2", "3", "1"]);
    gw.deploy(echo()).await.unwrap();
    assert_eq!((count(&gw).await, count(&gw).await), ("1".into(), "1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_trapped_or_met_its_deadline_answers_no_other_request() {
    let setup = echo().limits(|limits| (limits.deadline_ms, limits.breaker_failures) = (200, 0));
    let gw = setup.with_function(|function| function.reuse = 100).start().await;
    for (ending, status) in [("trap", 502), ("memory", 502), ("begin-and-trap", 502), ("spin", 504), ("sleep/60000", 504)] {
        assert_eq!((count(&gw).await, count(&gw).await), ("1".into(), "2".into()), "before {ending}");
        assert_eq!(gw.get(&format!("/echo/{ending}")).await.status, status, "{ending}");
    }
    assert_eq!(count(&gw).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_a_function_until_its_logout_and_the_guest_never_sees_it() {
    let setup = echo().with_function(|function| function.http.as_mut().unwrap().auth = HttpAuth::User);
    let gw = setup.start().await;
    let user = serde_json::json!({"request": {"apiVer": "0.6"}, "params": {"UserName": "admin", "Password": PASSWORD}}).to_string();
    let stranger = gw.stranger();
    let login = stranger.send(Method::POST, "/auth/login", &[], user.clone().into()).await.unwrap();
    let session = login.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let get = async |cookie: &str| {
        let request = gw.request("GET", "/echo/head").header(COOKIE, cookie);
        gw.send(request.body(whole("")).unwrap()).await
    };
    let seen = get(&format!("a=1; {session}; b=2")).await;
    assert_eq!(seen.status, 200);
    assert!(seen.text().contains("cookie: a=1; b=2\n") && !seen.text().contains(&session), "{}", seen.text());
    assert_eq!(get(&format!("{session}x")).await.status, 401);
    stranger.send(Method::POST, "/auth/logout", &[(COOKIE, &session)], user.into()).await.unwrap();
    assert_eq!(get(&session).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_asks_granted_hosts_and_no_others() {
    let there = gateway().answers("hello", "http-hello", "/hello").http_listen(PLAIN).start().await;
    let port = there.http().port();
    let grants = [format!("http://127.0.0.1:{port}"), format!("http://127.1:{port}"), format!("http://localhost:{port}")];
    let gw = echo().grants(|grant| grant.http = grants.iter().map(|host| host.parse().unwrap()).collect()).start().await;
    for host in ["127.0.0.1", "localhost"] {
        let fetched = gw.get(&format!("/echo/fetch/http/{host}:{port}/hello")).await;
        assert_eq!((fetched.status, fetched.text()), (200, "hello\n"));
    }
    let other_port = if port == 1 { 2 } else { 1 };
    for denied in [format!("http/127.0.0.1:{other_port}"), format!("https/127.0.0.1:{port}"), "http/example.com".into()] {
        let answer = gw.get(&format!("/echo/fetch/{denied}/hello")).await;
        assert_eq!((answer.status, answer.text()), (502, "ErrorCode::HttpRequestDenied"), "{denied}");
    }
    gw.audited("http http://example.com:80").await;
    // A name, to every resolver, and it is this machine.
    let rebound = gw.get(&format!("/echo/fetch/http/127.1:{port}/hello")).await;
    assert_eq!((rebound.status, rebound.text()), (502, "ErrorCode::DestinationIpProhibited"));
    gw.audited("which resolves to an address of this machine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outgoing_request_that_gets_no_answer_ends_with_its_call() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let grant = format!("http://{host}").parse().unwrap();
    let setup = echo().grants(|grants| grants.http = vec![grant]).limits(|limits| limits.deadline_ms = 300);
    let gw = setup.start().await;
    let answer = gw.get(&format!("/echo/fetch/http/{host}/x")).await;
    // Whichever of the two clocks is first: that of the request or that of the call.
    assert!(answer.status == 504 || answer.text().contains("ConnectionReadTimeout"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_speaks_tls_with_the_gateways_certificate() {
    let setup = gateway().answers("hello", "http-hello", "/hello").http_listen("https://127.0.0.1:0");
    let gw = setup.start().await;
    let line = format!("curl -sS --fail --cacert $CERT https://127.0.0.1:{}/hello", gw.http().port());
    assert_eq!(gw.shell(&line).await.stdout, "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answers_where_no_listener_is_asked_for() {
    let gw = gateway().answers("hello", "http-hello", "/hello").start().await;
    assert!(gw.gateway.http.is_none());
    let answer = gw.admin().send(Method::GET, "/hello", &[], Default::default()).await.unwrap();
    assert_eq!(answer.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_functions_shows_prefix_and_auth() {
    let setup = gateway().answers("hello", "http-hello", "/hello");
    let user = HttpTrigger { prefix: "/both".into(), auth: HttpAuth::User, methods: vec![] };
    let gw = setup.function("http-both").with_function(|function| function.http = Some(user)).start().await;
    let listed = gw.admin().get_json("/ledge/v1/functions").await.unwrap();
    assert_eq!(listed[0]["http"], serde_json::json!({"prefix": "/hello", "auth": "anonymous"}));
    assert_eq!(listed[1]["http"], serde_json::json!({"prefix": "/both", "auth": "user"}));
}
