//! What `config` in `ledge.toml` may say, read once.

use std::rc::Rc;
use std::time::Duration;

use ledge_sdk::serde_json::Value as Json;
use ledge_sdk::thing_access::DriverConfig;

pub struct Settings {
    /// Where devices connect to.
    pub listen: String,
    /// Connections at once.
    pub connections_max: usize,
    /// Of them, from one address; of IPv6, from one network of 64 bits.
    pub connections_per_address_max: usize,
    /// For the HTTP request that opens a connection.
    pub handshake: Duration,
    /// From the acceptance of a connection to the first device that is online on it.
    pub online: Duration,
    /// For a device's reply.
    pub reply: Duration,
    /// Silence after which a peer is asked whether it is there, and between two such questions.
    pub ping: Duration,
    /// For a connection whose devices have all gone offline.
    pub idle: Duration,
    /// Messages that one connection may send; more of them are read more slowly.
    pub messages_per_s: u32,
    /// The web pages that may connect, as their `Origin` header says it.
    pub origins: Rc<[String]>,
}

const NAMES: [&str; 10] = [
    "listen",
    "connections_max",
    "connections_per_address_max",
    "handshake_ms",
    "online_ms",
    "reply_ms",
    "ping_ms",
    "idle_ms",
    "messages_per_s",
    "origins",
];

impl Settings {
    /// The defaults where the configuration is silent.
    pub fn read(config: &DriverConfig) -> Result<Self, String> {
        let mut settings = config.settings(&NAMES);
        settings.no_files();
        let mut number = |name: &str, usual: u64| settings.number(name, 1..=86_400_000, usual);
        let (connections_max, connections_per_address_max) = (number("connections_max", 200), number("connections_per_address_max", 16));
        let messages_per_s = number("messages_per_s", 200);
        let mut time = |name: &str, usual_ms: u64| Duration::from_millis(number(name, usual_ms));
        let (handshake, online, reply) = (time("handshake_ms", 5_000), time("online_ms", 10_000), time("reply_ms", 9_500));
        let (ping, idle) = (time("ping_ms", 30_000), time("idle_ms", 60_000));
        let listen = settings.other("listen", "an address and a port as text", "0.0.0.0:17682", Json::as_str).to_owned();
        let origins = settings.other("origins", "a list of texts such as \"https://plant.example\"", [].into(), origins);
        settings.end(Self {
            listen,
            connections_max: connections_max as usize,
            connections_per_address_max: connections_per_address_max as usize,
            handshake,
            online,
            reply,
            ping,
            idle,
            messages_per_s: messages_per_s as u32,
            origins,
        })
    }
}

fn origins(found: &Json) -> Option<Rc<[String]>> {
    found.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        Settings::read(&format!(r#"{{"config":{{"json":{json}}}}}"#).parse().unwrap())
    }

    #[test]
    fn what_is_not_set_is_the_original_s() {
        let settings = read(r#"{"ping_ms": 100}"#).unwrap();
        assert_eq!((settings.listen.as_str(), settings.ping), ("0.0.0.0:17682", Duration::from_millis(100)));
        assert_eq!((settings.connections_max, settings.connections_per_address_max), (200, 16));
        assert_eq!(settings.online, Duration::from_secs(10));
        assert!(settings.origins.is_empty());
        assert_eq!(*read(r#"{"origins": ["https://plant.example"]}"#).unwrap().origins, ["https://plant.example"]);
        assert!(Settings::read(&"{}".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (wrong, said) in [
            (r#"{"listen": 17682}"#, "`listen`"),
            (r#"{"ping_ms": 0}"#, "`ping_ms`"),
            (r#"{"ping_ms": "soon"}"#, "soon"),
            (r#"{"pingms": 5}"#, "`pingms`"),
            (r#"{"connections_per_address_max": 0}"#, "`connections_per_address_max`"),
            (r#"{"online_ms": "10 s"}"#, "`online_ms`"),
            (r#"{"origins": "https://plant.example"}"#, "`origins`"),
            (r#"{"origins": ["https://plant.example", 7]}"#, "`origins`"),
        ] {
            let error = read(wrong).err().unwrap();
            assert!(error.contains(said), "{error}");
        }
    }
}
