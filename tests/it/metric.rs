//! What the gateway counts of itself: connections, logins, and what people were refused.

use hyper::Method;
use hyper::header::{AUTHORIZATION, DATE};
use ledge::cli::client::Client;
use ledge::gateway::ConnectionLimits;
use serde_json::json;

use crate::fc_api::signer::date;
use crate::harness::client::post;
use crate::harness::{PASSWORD, TestGateway, eventually, gateway, raw};

/// Waits until the metrics say all of this. They are asked for on the local socket, whose places are its own.
async fn say(gw: &TestGateway, wanted: &[&str]) {
    let said = || async {
        let answer = Client::local(gw.data.path()).send(Method::GET, "/metrics", &[], "".into()).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        wanted.iter().all(|wanted| text.lines().any(|line| line == *wanted))
    };
    eventually(&format!("the metrics to say {wanted:?}"), said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_and_those_turned_away_by_the_bound_that_they_met() {
    let gw = gateway().connections(ConnectionLimits { per_address_max: 2, max: 3 }).start().await;
    say(&gw, &[r#"ledge_open_connections{listener="api"} 0"#, r#"ledge_open_connections{listener="local"} 1"#]).await;
    let mut open = Vec::new();
    for address in [1, 1, 2] {
        open.push(raw::connect_tls(&gw, raw::address(address)).await.unwrap());
    }
    say(&gw, &[r#"ledge_open_connections{listener="api"} 3"#]).await;
    for (address, wanted) in [(1, [1, 0]), (3, [1, 1]), (4, [1, 2])] {
        drop(raw::connect_tls(&gw, raw::address(address)).await);
        let [of_address, of_all] = wanted;
        let of_address = format!(r#"ledge_connections_turned_away_total{{listener="api",bound="address"}} {of_address}"#);
        let of_all = format!(r#"ledge_connections_turned_away_total{{listener="api",bound="all"}} {of_all}"#);
        say(&gw, &[&of_address, &of_all, r#"ledge_open_connections{listener="api"} 3"#]).await;
    }
    drop(open);
    say(&gw, &[r#"ledge_open_connections{listener="api"} 0"#]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_failed_and_requests_that_were_denied_are_counted() {
    let gw = gateway().start().await;
    let none = ["ledge_failed_logins_total 0", "ledge_throttled_logins_total 0", "ledge_denied_requests_total 0"];
    say(&gw, &none).await;
    let eve = json!({"role": "viewer", "password": PASSWORD}).to_string();
    assert_eq!(gw.admin().send(Method::PUT, "/ledge/v1/users/eve", &[], eve.into()).await.unwrap().status, 201);
    let as_eve = gw.stranger().with_password("eve", PASSWORD);
    for _ in 0..3 {
        assert_eq!(as_eve.send(Method::GET, "/ledge/v1/users", &[], "".into()).await.unwrap().status, 403);
    }
    // Who says nothing of who they are has not tried to log in.
    assert_eq!(gw.stranger().send(Method::GET, "/ledge/v1/users", &[], "".into()).await.unwrap().status, 401);
    say(&gw, &["ledge_failed_logins_total 0", "ledge_throttled_logins_total 0", "ledge_denied_requests_total 3"]).await;

    let guess = json!({"params": {"UserName": "eve", "Password": "wrong wrong wrong"}}).to_string();
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(post(&gw.stranger(), "/auth/login", &guess).await.0);
    }
    assert_eq!(statuses, [400, 400, 400, 400, 400, 503, 503]);
    let signed = [(AUTHORIZATION, "FC LK00:AAAA"), (DATE, &*date(0))];
    assert_eq!(gw.stranger().send(Method::GET, "/ledge/v1/users", &signed, "".into()).await.unwrap().status, 403);
    say(&gw, &["ledge_failed_logins_total 6", "ledge_throttled_logins_total 2", "ledge_denied_requests_total 3"]).await;
}
