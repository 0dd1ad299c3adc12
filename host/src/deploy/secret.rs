//! What is secret in grants, at rest: values of environment variables and keys of certificates, sealed.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::grant::Grants;
use crate::seal::Seal;

/// `who` has them: values cannot be swapped between two components, nor between two names.
pub fn seal(seal: &Seal, who: &str, grants: &mut Grants) {
    for (purpose, value) in secrets(who, grants) {
        *value = STANDARD_NO_PAD.encode(seal.seal(&purpose, value.as_bytes()));
    }
}

pub fn unseal(seal: &Seal, who: &str, grants: &mut Grants) -> anyhow::Result<()> {
    for (purpose, value) in secrets(who, grants) {
        let failed = || format!("reading the secret `{purpose}` (is this the key file that it was deployed with?)");
        let sealed = STANDARD_NO_PAD.decode(&*value).with_context(failed)?;
        let plain = seal.unseal(&purpose, &sealed).with_context(failed)?;
        *value = std::str::from_utf8(&plain).with_context(failed)?.to_owned();
    }
    Ok(())
}

/// Each with what it is for.
fn secrets<'a>(who: &'a str, grants: &'a mut Grants) -> impl Iterator<Item = (String, &'a mut String)> {
    let env = grants.env.0.iter_mut().map(move |(name, value)| (format!("env {who} {name}"), value));
    let keys = grants.listen.iter_mut().filter_map(move |listen| {
        let purpose = format!("listen {who} {}", listen.address);
        Some((purpose, &mut listen.certificate.as_mut()?.key))
    });
    env.chain(keys)
}
