//! What people and programs call over HTTP: the manual's OpenAPI, the invocation of functions, and Ledge's own API.
//!
//! Functions' own answers to HTTP requests are in `front`. It binds no sockets: `gateway` hands it requests.

mod body;
mod caller;
mod error;
mod event_stream;
mod front;
mod history;
mod invocation;
mod invoke;
mod ledge;
mod login;
mod product;
mod rule;
mod spaced_json;
mod thing;
mod v1;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post, put};

pub use caller::Peer;
pub use front::Front;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::deploy::Deploy;
use crate::driver::Drivers;
use crate::function::Functions;
use crate::metric::Metrics;
use crate::persistent::Persistents;
use crate::queue::Queue;
use crate::shutdown::Shutdown;
use crate::thing::Things;
use crate::trigger::route::Routes;
use crate::trigger::rule::Rules;
use crate::trigger::timer::Timers;

/// What the handlers work with.
pub struct Api {
    pub auth: Auth,
    pub things: Arc<Things>,
    pub functions: Arc<Functions>,
    pub drivers: Arc<Drivers>,
    pub persistents: Arc<Persistents>,
    pub routes: Arc<Routes>,
    pub timers: Arc<Timers>,
    pub rules: Arc<Rules>,
    pub queue: Arc<Queue>,
    pub bus: Arc<Bus>,
    pub deploy: Arc<Deploy>,
    pub audit: Audit,
    pub metrics: Metrics,
    /// What the runtime chose for this machine, in words.
    pub sandbox: String,
    pub clock: Clock,
    pub shutdown: Shutdown,
    /// Where guests run, so that a busy guest does not delay the API.
    pub guests: tokio::runtime::Handle,
}

/// Every path of the API.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/auth/login", post(login::login))
        .route("/auth/logout", post(login::logout))
        .route("/thing/device/count", post(thing::count))
        .route("/thing/device/list-authed", post(thing::list))
        .route("/thing/device/properties/set", post(thing::set_properties))
        .route("/thing/device/property/query", post(thing::query_properties))
        .route("/thing/device/service/invoke", post(thing::invoke_service))
        .route("/thing/device/events/get", post(event_stream::get))
        .route("/2020-04-30/functions/{arn}/invocations", post(invoke::invoke))
        .route("/ledge/v1/gateway", get(ledge::gateway))
        .route("/ledge/v1/metrics", get(ledge::metrics))
        .route("/ledge/v1/functions", get(ledge::functions))
        .route("/ledge/v1/drivers", get(ledge::drivers))
        .route("/ledge/v1/drivers/{name}/release", post(ledge::release))
        .route("/ledge/v1/functions/{service}/{function}/rollback", post(version::roll_back))
        .route("/ledge/v1/versions", get(version::list))
        .route("/ledge/v1/versions/{service}", post(version::publish))
        .route("/ledge/v1/versions/{service}/{number}", delete(version::delete))
        .route("/ledge/v1/aliases", get(version::aliases))
        .route("/ledge/v1/aliases/{service}/{name}", put(version::set_alias).delete(version::delete_alias))
        .route("/ledge/v1/functions/{service}/{function}/release", post(ledge::release_function))
        .route("/ledge/v1/invocations/{id}", get(invocation::show))
        .route("/ledge/v1/dead-letters", get(invocation::dead_letters).post(invocation::requeue_all).delete(invocation::purge_all))
        .route("/ledge/v1/dead-letters/{id}", get(invocation::dead_letter).post(invocation::requeue).delete(invocation::purge))
        .route("/ledge/v1/things", get(ledge::things))
        .route("/ledge/v1/things/{product}/{name}/history", get(history::show))
        .route("/ledge/v1/products", get(product::list))
        .route("/ledge/v1/products/{key}", get(product::show).put(product::put).delete(product::delete))
        .route("/ledge/v1/timers", get(ledge::timers))
        .route("/ledge/v1/rules", get(rule::list))
        .route("/ledge/v1/rules/{name}", get(rule::show).put(rule::put).delete(rule::delete))
        .route("/ledge/v1/rules/{name}/enable", post(rule::enable))
        .route("/ledge/v1/rules/{name}/disable", post(rule::disable))
        .route("/ledge/v1/rules/{name}/trigger", post(rule::trigger))
        .route("/ledge/v1/rules/{name}/runs", get(rule::runs))
        .route("/ledge/v1/rule-events", get(rule::events))
        .route("/ledge/v1/rule-tests", post(rule::test))
        .route("/ledge/v1/routes", get(ledge::routes).post(ledge::add_route).delete(ledge::delete_route))
        .route("/ledge/v1/components/{digest}", get(ledge::has_component).put(ledge::put_component))
        .route("/ledge/v1/deployments", post(ledge::deploy))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(api)
}
