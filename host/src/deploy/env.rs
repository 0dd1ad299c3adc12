//! Environment variables at rest: their names as they are, their values sealed.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::grant::Env;
use crate::seal::Seal;

/// `who` has them: values cannot be swapped between two components, nor between two names.
pub fn sealed(seal: &Seal, who: &str, env: &Env) -> Env {
    let sealed = |(name, value): (&String, &String)| {
        let sealed = seal.seal(&purpose(who, name), value.as_bytes());
        (name.clone(), STANDARD_NO_PAD.encode(sealed))
    };
    Env(env.0.iter().map(sealed).collect())
}

pub fn unsealed(seal: &Seal, who: &str, env: &Env) -> anyhow::Result<Env> {
    let unsealed = |(name, value): (&String, &String)| {
        let failed = || format!("reading the environment variable `{name}` of {who} (is this the key file that it was deployed with?)");
        let sealed = STANDARD_NO_PAD.decode(value).with_context(failed)?;
        let plain = seal.unseal(&purpose(who, name), &sealed).with_context(failed)?;
        let value = std::str::from_utf8(&plain).with_context(failed)?;
        Ok((name.clone(), value.to_owned()))
    };
    Ok(Env(env.0.iter().map(unsealed).collect::<anyhow::Result<_>>()?))
}

fn purpose(who: &str, name: &str) -> String {
    format!("env {who} {name}")
}
