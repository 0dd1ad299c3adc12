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
        if let Some(unknown) = unknown(config) {
            return Err(format!("there is no setting `{unknown}`; expected one of {}", NAMES.join(", ")));
        }
        let number = |name: &str, usual: u64| match (config.setting(name), config.setting_u64(name)) {
            (None, _) => Ok(usual),
            (Some(_), Some(number @ 1..=86_400_000)) => Ok(number),
            (Some(found), _) => Err(format!("the setting `{name}` is {found}; expected a whole number from 1 to 86400000")),
        };
        let time = |name: &str, usual: u64| number(name, usual).map(Duration::from_millis);
        let listen = match config.setting("listen") {
            None => "0.0.0.0:17682",
            Some(Json::String(listen)) => listen,
            Some(other) => return Err(format!("the setting `listen` is {other}; expected an address and a port as text")),
        };
        Ok(Self {
            listen: listen.to_owned(),
            connections_max: number("connections_max", 200)? as usize,
            connections_per_address_max: number("connections_per_address_max", 16)? as usize,
            handshake: time("handshake_ms", 5_000)?,
            online: time("online_ms", 10_000)?,
            reply: time("reply_ms", 9_500)?,
            ping: time("ping_ms", 30_000)?,
            idle: time("idle_ms", 60_000)?,
            messages_per_s: number("messages_per_s", 200)? as u32,
            origins: origins(config)?,
        })
    }
}

fn origins(config: &DriverConfig) -> Result<Rc<[String]>, String> {
    let Some(found) = config.setting("origins") else { return Ok([].into()) };
    let origin = |item: &Json| item.as_str().map(str::to_owned);
    let origins = found.as_array().and_then(|items| items.iter().map(origin).collect());
    origins.ok_or_else(|| format!("the setting `origins` is {found}; expected a list of texts such as \"https://plant.example\""))
}

fn unknown(config: &DriverConfig) -> Option<&str> {
    let json = config.config["json"].as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
    let kv = config.config["kv"].as_array().into_iter().flatten().filter_map(|entry| entry["key"].as_str());
    json.chain(kv).find(|name| !NAMES.contains(name))
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
