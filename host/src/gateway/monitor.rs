//! The gateway itself as a thing: the driver `gateway_monitor`, which is in this binary, and when it is deployed.
//!
//! It is deployed as anything else is, so whoever wants it otherwise changes or deletes it, and so it stays: a row of the store says what
//! was brought, and nothing that was changed since is touched. Deliberately absent: rows that a user cannot change.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::deploy::{Deploy, DeployError, Report};
use crate::grant::Grants;
use crate::limit::{HISTORY_BYTES_USUAL, Limits};
use crate::set::{Digest, Driver, Product, Set, Thing};
use crate::store::{Batch, Store, Table};

/// The product and the device of the gateway itself.
pub const PRODUCT: &str = "b1Gateway";
pub const DEVICE: &str = "gateway";
pub const DRIVER: &str = "gateway_monitor";

/// When a gateway brings itself as a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bring {
    /// The first time that it is started on its data, and a newer driver with a newer gateway. What was deleted stays deleted.
    #[default]
    Once,
    /// Also where it was deleted or changed.
    Always,
    Never,
}

/// What was brought last, as it was then.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Brought {
    component: Digest,
    tsl: Digest,
}

const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest/wasm32-wasip2/release/gateway_monitor.wasm"));
const TSL: &str = include_str!("../../../drivers/gateway_monitor/tsl/b1Gateway.json");
/// The row that says what was brought.
const ROW: &str = DRIVER;
/// Who deployed it, in the audit.
const WHO: &str = "the gateway itself";

/// Deploys it where that is due. `None`: it was not.
pub async fn bring(deploy: &Deploy, store: &Store, when: Bring) -> anyhow::Result<Option<Report>> {
    let before: Option<Brought> = tokio::task::block_in_place(|| store.get_json(Table::Meta, ROW))?;
    let ours = Brought { component: Digest::of(COMPONENT), tsl: Digest::of(TSL.as_bytes()) };
    if when == Bring::Never {
        return Ok(None);
    }
    let Some(due) = rows(&deploy.current(), when, before.as_ref(), &ours) else { return Ok(None) };
    let _loaded = if due == Set::default() {
        None
    } else {
        tokio::task::block_in_place(|| deploy.components().put(&ours.component, COMPONENT))?;
        // Before its turn, which others may wait for. What is wrong with it, the deployment says.
        Some(deploy.load_driver(&ours.component, Limits::of_driver().stack_bytes).await)
    };
    // By now somebody else may have deployed something of the same names.
    let beside = |now: &Set| rows(now, when, before.as_ref(), &ours).unwrap_or_default();
    let report = deploy.apply_beside(beside, WHO).await.map_err(|error| match error {
        DeployError::Refused(problems) => anyhow::anyhow!("{}", problems.join("; ")),
        DeployError::Failed(error) => error,
    })?;
    let mut batch = Batch::new();
    batch.put_json(Table::Meta, ROW, &ours)?;
    tokio::task::block_in_place(|| store.commit(batch)).context("noting what was deployed")?;
    Ok(Some(report))
}

/// Whether there is nothing but the gateway itself.
pub fn is_alone(set: &Set) -> bool {
    let Set { products, things, drivers, functions, routes, rules } = set;
    let others = products.iter().any(|row| row.key != PRODUCT)
        || things.iter().any(|row| row.product_key != PRODUCT)
        || drivers.iter().any(|row| row.name != DRIVER);
    !others && functions.is_empty() && routes.is_empty() && rules.is_empty()
}

/// What is to be deployed beside what is there. `None`: nothing is to be done; and an empty set is only noted.
fn rows(now: &Set, when: Bring, before: Option<&Brought>, ours: &Brought) -> Option<Set> {
    let all = || set(&ours.component);
    match before {
        _ if when == Bring::Always => (!holds(now, &all())).then(all),
        // A driver of that name which nobody brought is somebody's own.
        None if now.drivers.iter().any(|row| row.name == DRIVER) => Some(Set::default()),
        None => Some(all()),
        Some(before) if before == ours => None,
        Some(before) => Some(newer(now, before, ours)),
    }
}

/// A newer driver, and its newer model, in the place of those that are still as they were brought.
fn newer(now: &Set, before: &Brought, ours: &Brought) -> Set {
    let driver = now.drivers.iter().find(|row| row.name == DRIVER && row.component == before.component);
    let Some(driver) = driver else { return Set::default() };
    let product = now.products.iter().find(|row| row.key == PRODUCT && Digest::of(row.tsl.as_bytes()) == before.tsl);
    Set {
        products: product.map(|row| Product { tsl: TSL.to_owned(), ..row.clone() }).into_iter().collect(),
        drivers: vec![Driver { component: ours.component.clone(), ..driver.clone() }],
        ..Set::default()
    }
}

fn holds(now: &Set, rows: &Set) -> bool {
    rows.products.iter().all(|row| now.products.contains(row))
        && rows.things.iter().all(|row| now.things.contains(row))
        && rows.drivers.iter().all(|row| now.drivers.contains(row))
}

fn set(component: &Digest) -> Set {
    let grants = Grants { gateway_info: true, ..Grants::default() };
    Set {
        products: vec![Product {
            key: PRODUCT.to_owned(),
            name: "Gateway".to_owned(),
            tsl: TSL.to_owned(),
            tsl_ext: None,
            history_bytes: HISTORY_BYTES_USUAL,
        }],
        things: vec![Thing {
            product_key: PRODUCT.to_owned(),
            device_name: DEVICE.to_owned(),
            driver: DRIVER.to_owned(),
            local_name: None,
            tags: [].into(),
            custom: None,
        }],
        drivers: vec![Driver {
            name: DRIVER.to_owned(),
            component: component.clone(),
            config: None,
            files: vec![],
            limits: Limits::of_driver(),
            grants,
        }],
        ..Set::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(component: &str, tsl: &str) -> Brought {
        Brought { component: Digest::of(component.as_bytes()), tsl: Digest::of(tsl.as_bytes()) }
    }

    fn on_a_gateway(brought: &Brought, tsl: &str) -> Set {
        let mut set = set(&brought.component);
        set.products[0].tsl = tsl.to_owned();
        set
    }

    #[test]
    fn it_comes_once_and_what_was_deleted_or_changed_stays_so() {
        let (old, ours) = (brought("old", "{}"), brought("new", TSL));
        let empty = Set::default();
        assert_eq!(rows(&empty, Bring::Once, None, &ours), Some(set(&ours.component)));
        // Deleted, and still so with a newer gateway.
        assert_eq!(rows(&empty, Bring::Once, Some(&ours), &ours), None);
        assert_eq!(rows(&empty, Bring::Once, Some(&old), &ours), Some(Set::default()));
        // Somebody's own, before anything was brought and after.
        let own = on_a_gateway(&brought("own", ""), "{}");
        assert_eq!(rows(&own, Bring::Once, None, &ours), Some(Set::default()));
        assert_eq!(rows(&own, Bring::Once, Some(&old), &ours), Some(Set::default()));
    }

    #[test]
    fn a_newer_gateway_brings_the_newer_driver_and_leaves_its_settings() {
        let (old, ours) = (brought("old", "{}"), brought("new", TSL));
        let mut now = on_a_gateway(&old, "{}");
        now.drivers[0].config = Some(serde_json::json!({"json": {"period_ms": 60_000}}));
        let newer = rows(&now, Bring::Once, Some(&old), &ours).unwrap();
        assert_eq!(newer.drivers, [Driver { component: ours.component.clone(), ..now.drivers[0].clone() }]);
        assert_eq!((newer.products[0].tsl.as_str(), newer.things.len()), (TSL, 0));
        // A model of one's own stays.
        now.products[0].tsl = "{\"properties\": []}".to_owned();
        assert!(rows(&now, Bring::Once, Some(&old), &ours).unwrap().products.is_empty());
    }

    #[test]
    fn where_it_is_always_wanted_it_is_put_back_and_is_left_where_it_is_right() {
        let ours = brought("new", TSL);
        let wanted = set(&ours.component);
        assert_eq!(rows(&Set::default(), Bring::Always, Some(&ours), &ours), Some(wanted.clone()));
        assert_eq!(rows(&wanted, Bring::Always, Some(&ours), &ours), None);
    }

    #[test]
    fn a_gateway_with_something_else_on_it_is_not_alone() {
        let mut set = set(&Digest::of(b""));
        assert!(is_alone(&set) && is_alone(&Set::default()));
        set.drivers[0].name = "other".into();
        assert!(!is_alone(&set));
    }
}
