//! Small machines, by the limits that a process is started under: the gateway starts, says what it chose, and serves.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{self, ECHO};
use crate::hostile::gateway::{Gateway, call};

/// What a gateway with a function and a driver keeps resident, after many calls at once.
const RSS_MIB_MAX: f64 = 80.0;

/// Deploys, and calls more at once than a small pool has places for one function.
async fn serves(gateway: &Gateway) {
    let setup = harness::gateway().function_of("test/neighbour", "count").function_of("test/hostile", "hostile").echo_thing("echo-1");
    gateway.deploy(&setup).await.unwrap();
    let answers = gateway.attack("test/hostile", "use 16", 8, Duration::from_millis(200)).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.limit.is_none()), "{}", answers[0].text);
    let mut connection = gateway.client.connect().await.unwrap();
    assert_eq!(call(&mut connection, "test/neighbour", "").await.text, "1");
    let things = gateway.client.get_json("/ledge/v1/things").await.unwrap();
    assert_eq!(things[0]["product"], ECHO);
}

/// The number of instances that it says it has room for, in the API and in the log.
async fn chosen(gateway: &Gateway) -> (u32, String) {
    let about: Json = gateway.client.get_json("/ledge/v1/gateway").await.unwrap();
    let said = about["sandbox"].as_str().unwrap().to_owned();
    gateway.logged(&said).await;
    (said.split(' ').next().unwrap().parse().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_512_mib_of_data_starts_and_serves_and_stays_small() {
    let gateway = Gateway::start_under("ulimit -d 524288").await;
    let (instances, said) = chosen(&gateway).await;
    assert!((8..100).contains(&instances) && said.contains("a limit of 512 MiB of data"), "{said}");
    serves(&gateway).await;
    let resident = gateway.rss_mib();
    println!("| RLIMIT_DATA 512 MiB | {resident:.1} MiB resident | {said} |");
    assert!(resident <= RSS_MIB_MAX, "{resident} MiB are resident");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_64_gib_of_addresses_starts_and_serves() {
    let gateway = Gateway::start_under("ulimit -v 67108864").await;
    let (instances, said) = chosen(&gateway).await;
    assert!(instances >= 8 && said.contains("64 GiB of addresses"), "{said}");
    serves(&gateway).await;
    println!("| RLIMIT_AS 64 GiB | {:.1} MiB resident | {said} |", gateway.rss_mib());
}
