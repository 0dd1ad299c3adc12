//! The demo's curl lines: each works when it is pasted into a shell on this machine.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::auth::FirstPassword;
use crate::gateway::Gateway;

/// Logs in, lists the things, asks the light, switches it, and calls a function. `given` is the password that the
/// user chose; one of an earlier start is not known any more, and is asked for.
pub fn lines(gateway: &Gateway, data: &Path, given: Option<&str>) -> Vec<String> {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let cookie = quote(&data.join("demo.cookie").display().to_string());
    let curl = format!("curl --cacert {}", quote(&gateway.certificate.display().to_string()));
    let url = format!("https://{}:{}", host(gateway), gateway.address.port());
    let call = |path: &str, params: Json| format!("{curl} -b {cookie} -d {} {url}{path}", body(&params));
    let password = match (&gateway.first_password, given) {
        (FirstPassword::Generated(password), _) => Some(password.as_str()),
        (_, given) => given,
    };
    let login = match password {
        Some(password) => {
            let params = json!({"UserName": "admin", "Password": password});
            format!("{curl} -c {cookie} -d {} {url}/auth/login", body(&params))
        }
        // It asks for the password.
        None => format!("{curl} -c {cookie} -u admin -X POST {url}/2020-04-30/auth/cookies"),
    };
    let light = |rest: Json| {
        let mut params = json!({"productKey": "a1Light", "deviceName": "lamp-1"});
        if let (Json::Object(params), Json::Object(rest)) = (&mut params, rest) {
            params.extend(rest);
        }
        params
    };
    vec![
        login,
        call("/thing/device/list-authed", json!({"PageSize": 15, "CurrentPage": 1})),
        call("/thing/device/property/query", light(json!({"propertyIdentifier": ["LightSwitch"]}))),
        call("/thing/device/properties/set", light(json!({"properties": {"LightSwitch": 1}}))),
        format!("{curl} -b {cookie} -d 'Hello from curl' {url}/2020-04-30/functions/service:EdgeFC:function:helloworld/invocations"),
    ]
}

fn host(gateway: &Gateway) -> String {
    match gateway.address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    }
}

fn body(params: &Json) -> String {
    quote(&json!({"request": {"apiVer": "0.6"}, "params": params}).to_string())
}

/// Quotes text for a POSIX shell.
fn quote(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:".contains(&b)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_quote_in_a_password_cannot_end_the_shells_quoting() {
        assert_eq!(super::quote("a'b"), r"'a'\''b'");
    }
}
