//! The code of functions, as it goes out.

use std::io::{Cursor, Read};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value as Json, json};
use zip::ZipArchive;

use super::signer::Signer;
use super::{refusal, with_echo};
use crate::harness::{PASSWORD, TestGateway, component};

async fn put_user(gw: &TestGateway, name: &str, mut rights: Json) {
    rights["password"] = PASSWORD.into();
    let answer = gw.admin().send(Method::PUT, &format!("/ledge/v1/users/{name}"), &[], rights.to_string().into()).await.unwrap();
    assert!(answer.status.is_success(), "{:?}", answer.body);
}

/// Follows a link without any proof of who does.
async fn follow(gw: &TestGateway, path: &str) -> (u16, Bytes) {
    let answer = gw.stranger().send(Method::GET, path, &[], "".into()).await.unwrap();
    (answer.status.as_u16(), answer.body)
}

/// Where a function's code is, from the path on, and its checksum.
async fn link(gw: &TestGateway, signer: &Signer, function: &str) -> (String, String) {
    let code = signer.done(Method::GET, &format!("/services/{function}/code"), Json::Null).await;
    let path = code["url"].as_str().unwrap().strip_prefix(&gw.url()).expect("it leads elsewhere").to_owned();
    (path, code["checksum"].as_str().unwrap().to_owned())
}

fn unzipped(package: &[u8], name: &str) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(package)).unwrap();
    let mut unpacked = Vec::new();
    archive.by_name(name).unwrap().read_to_end(&mut unpacked).unwrap();
    unpacked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_code_is_where_its_url_leads_also_that_of_a_version() {
    let (gw, signer) = with_echo().await;
    signer.done(Method::POST, "/services/app/versions", Json::Null).await;
    let changed = json!({"code": super::code("count")});
    signer.done(Method::PUT, "/services/app/functions/echo", changed).await;
    for (function, guest) in [("app/functions/echo", "count"), ("app.1/functions/echo", "misbehave")] {
        let (path, checksum) = link(&gw, &signer, function).await;
        let (status, package) = follow(&gw, &path).await;
        assert_eq!(status, 200, "{package:?}");
        assert_eq!(unzipped(&package, "echo.wasm"), component(guest));
        let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(&package);
        assert_eq!(checksum, crc.to_string());
    }
    assert_eq!(signer.refused(Method::GET, "/services/app/functions/nobody/code", Json::Null).await, refusal(404, "FunctionNotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_code_opens_nothing_else_and_ends_with_the_right_to_it() {
    let (gw, admin) = with_echo().await;
    let other = json!({"functionName": "count", "code": super::code("count")});
    admin.done(Method::POST, "/services/app/functions", other).await;
    put_user(&gw, "eye", json!({"role": "viewer"})).await;
    put_user(&gw, "blind", json!({"role": "viewer", "permissions": ["things.read"]})).await;
    let blind = Signer::of(&gw, "blind").await;
    assert_eq!(blind.refused(Method::GET, "/services/app/functions/echo/code", Json::Null).await, refusal(403, "AccessDenied"));
    assert_eq!(gw.stranger().send(Method::GET, "/2016-08-15/services/app/functions/echo/code", &[], "".into()).await.unwrap().status, 401);

    let eye = Signer::of(&gw, "eye").await;
    let (path, _) = link(&gw, &eye, "app/functions/echo").await;
    assert_eq!(follow(&gw, &path).await.0, 200);
    let parts: Vec<&str> = path.split(['?', '&', '=']).collect();
    let [base, _, digest, _, user, _, until, _, signature] = parts.as_slice() else { panic!("{path}") };
    let of_count = ledge::set::Digest::of(&component("count"));
    for (changed, status) in [
        (path.replace("/echo/", "/count/"), 401),
        (path.replace(digest, of_count.as_str()), 401),
        (path.replace(&format!("user={user}"), "user=admin"), 401),
        (path.replace(until, &format!("{until}0")), 401),
        (path.replace(signature, ""), 401),
        (path.replace(signature, &signature[1..]), 401),
        (path.replace(digest, "../../key"), 400),
        ((*base).to_owned(), 400),
    ] {
        let (found, said) = follow(&gw, &changed).await;
        assert_eq!(found, status, "{changed}: {said:?}");
        assert!(!said.windows(4).any(|window| window == b"\0asm"));
    }
    put_user(&gw, "eye", json!({"role": "viewer", "permissions": ["things.read"]})).await;
    assert_eq!(follow(&gw, &path).await.0, 401, "the right was taken away");
    let (path, _) = link(&gw, &admin, "app/functions/echo").await;
    let gw = gw.restart().await;
    assert_eq!(follow(&gw, &path).await.0, 401, "it outlives the gateway that made it");
}
