//! Plays recordings as things: each line of a file is reported when it is due, at any speed.
//!
//! Each thing names its file in `custom`. What is wrong with one is said, and the others play. The driver keeps no more of a file in
//! memory than it reads at once.

mod model;
mod pace;
mod player;
mod recording;
mod schedule;
mod settings;
mod tally;
mod time;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

use model::Model;
use pace::Pace;
use player::Player;
use settings::Settings;

ledge_sdk::driver!(Replay);

#[derive(Default)]
struct Replay {
    players: RefCell<BTreeMap<ThingId, Rc<Player>>>,
    pace: Rc<Pace>,
}

impl Driver for Replay {
    async fn run(&self) -> Result<(), Error> {
        let (mut playing, mut why) = (FuturesUnordered::new(), "no device is declared for this driver".to_owned());
        let config = thing_access::driver_config().await?;
        settings::of_driver(&config)?;
        for device in &config.devices {
            match player(device, self.pace.clone()).await {
                Ok((id, player)) => {
                    let player = Rc::new(player);
                    self.players.borrow_mut().insert(id, player.clone());
                    playing.push(async move { player.play().await });
                }
                Err(reason) => {
                    why = format!("{}/{}: {reason}", device.product_key, device.device_name);
                    eprintln!("{why}");
                }
            }
        }
        if playing.is_empty() {
            return Err(why.into());
        }
        while playing.next().await.is_some() {}
        // To return would be to begin again.
        std::future::pending().await
    }

    /// What was played last. What has had no value yet has none.
    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let values = self.player(thing)?.values();
        Ok(values.into_iter().filter(|value| identifiers.contains(&value.identifier)).collect())
    }

    async fn set_properties(&self, thing: &ThingId, _properties: Properties) -> Result<(), Fault> {
        Err(Fault::new(Fault::PROPERTY_READ_ONLY, format!("`{thing}` plays a recording, in which nothing can be set")))
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let player = self.player(thing)?;
        match service {
            "pause" => player.pause(),
            "resume" => player.resume(),
            "seek" => player.seek(position(&arguments)?),
            _ => return Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("`{thing}` plays a recording, and has no service `{service}`"))),
        }
        Ok(Properties::new())
    }
}

impl Replay {
    fn player(&self, id: &ThingId) -> Result<Rc<Player>, Fault> {
        let player = self.players.borrow().get(id).cloned();
        player.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("`{id}` is not registered yet; ask again")))
    }
}

/// A thing that can be played, online.
async fn player(device: &DeviceInfo, pace: Rc<Pace>) -> Result<(ThingId, Player), String> {
    let settings = Settings::parse(&device.custom)?;
    let tsl = thing_access::get_tsl(&device.product_key).await.map_err(|fault| fault.to_string())?;
    let model = Model::parse(&tsl)?;
    // Once before it is online, so that nobody takes a thing for there that has nothing to play.
    let (_, unknown) = player::open(&settings, &model)?;
    for column in unknown {
        eprintln!("{}: its column `{column}` is left out: it is no property of the product `{}`", settings.file, device.product_key);
    }
    let thing = Thing::register(device).await.map_err(|fault| fault.to_string())?;
    Ok((thing.id(), Player::new(thing, settings, model, pace)))
}

/// Seconds from the recording's first line.
fn position(arguments: &Properties) -> Result<Duration, Fault> {
    let wrong = |why: String| Fault::new(Fault::SERVICE_INPUT_PARAM, why);
    let position_s: f64 = arguments.get("position_s").map_err(|error| wrong(error.to_string()))?;
    Duration::try_from_secs_f64(position_s)
        .map_err(|_| wrong(format!("`position_s` is {position_s}; expected seconds from the first line")))
}
