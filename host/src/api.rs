//! What people and programs call over HTTP: the manual's OpenAPI, the invocation of functions, and Ledge's own API.
//!
//! Functions' own answers to HTTP requests are in `front`. It binds no sockets: `gateway` hands it requests.

mod access_key;
mod asked;
mod body;
mod caller;
mod certificate;
mod describe;
mod docs;
mod driver;
mod error;
mod event_stream;
mod front;
mod function;
mod function_compute;
mod given;
mod guard;
mod health;
mod history;
mod invocation;
mod invoke;
mod later;
mod ledge;
mod login;
mod product;
mod rule;
mod signature;
mod spaced_json;
mod thing;
mod trigger;
mod turned_away;
mod upload;
mod user;
mod v1;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use caller::Peer;
pub use front::Front;
pub use guard::{Guard, parse_host_name};
pub use turned_away::{to_https, too_many, unreadable};
pub use upload::Uploads;

use self::error::Form;
use self::function_compute as fc;
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
use crate::store::Store;
use crate::thing::{LostTime, Things};
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
    pub store: Arc<Store>,
    pub audit: Audit,
    pub guard: Arc<Guard>,
    pub metrics: Metrics,
    /// By asking devices, on the threads that serve.
    pub lost_time: LostTime,
    /// What the runtime chose for this machine, in words.
    pub sandbox: String,
    /// Components that are being brought.
    pub component_uploads: Uploads,
    /// Sets that are being deployed.
    pub set_uploads: Uploads,
    pub clock: Clock,
    pub shutdown: Shutdown,
    /// Where guests run, so that a busy guest does not delay the API.
    pub guests: tokio::runtime::Handle,
}

/// Every operation of the API. What needs no description (the description itself, say) is everybody's.
pub fn router(api: Arc<Api>) -> Router {
    let (described, document) = OpenApiRouter::with_openapi(describe::Ledge::openapi())
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(thing::count))
        .routes(routes!(thing::list))
        .routes(routes!(thing::set_properties))
        .routes(routes!(thing::query_properties))
        .routes(routes!(thing::invoke_service))
        .routes(routes!(event_stream::get))
        .routes(routes!(invoke::invoke))
        .routes(routes!(later::session::begin))
        .routes(routes!(later::session::end))
        .routes(routes!(later::thing::list))
        .routes(routes!(later::thing::search))
        .routes(routes!(later::thing::get_properties, later::thing::set_properties))
        .routes(routes!(later::thing::call_services))
        .routes(routes!(later::thing::tsl))
        .routes(routes!(later::bulk::bulk))
        .routes(routes!(later::scene::list))
        .routes(routes!(later::scene::enable))
        .routes(routes!(later::scene::disable))
        .routes(routes!(ledge::gateway))
        .routes(routes!(ledge::metrics))
        .routes(routes!(function::list))
        .routes(routes!(driver::list))
        .routes(routes!(driver::release))
        .routes(routes!(function::release))
        .routes(routes!(version::roll_back))
        .routes(routes!(version::list))
        .routes(routes!(version::publish))
        .routes(routes!(version::delete))
        .routes(routes!(version::aliases))
        .routes(routes!(version::set_alias, version::delete_alias))
        .routes(routes!(invocation::show))
        .routes(routes!(invocation::dead_letters, invocation::requeue_all, invocation::purge_all))
        .routes(routes!(invocation::dead_letter, invocation::requeue, invocation::purge))
        .routes(routes!(ledge::things))
        .routes(routes!(history::show))
        .routes(routes!(product::list))
        .routes(routes!(product::show, product::put, product::delete))
        .routes(routes!(trigger::timers))
        .routes(routes!(rule::list))
        .routes(routes!(rule::show, rule::put, rule::delete))
        .routes(routes!(rule::enable))
        .routes(routes!(rule::disable))
        .routes(routes!(rule::trigger))
        .routes(routes!(rule::runs))
        .routes(routes!(rule::events))
        .routes(routes!(rule::test::run))
        .routes(routes!(trigger::routes, trigger::add_route, trigger::delete_route))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(user::list))
        .routes(routes!(user::show, user::put, user::delete))
        .routes(routes!(user::set_password))
        .routes(routes!(certificate::show, certificate::put))
        .routes(routes!(access_key::list, access_key::add))
        .routes(routes!(access_key::delete))
        .routes(routes!(fc::service::list, fc::service::create))
        .routes(routes!(fc::service::get, fc::service::update, fc::service::delete))
        .routes(routes!(fc::function::list, fc::function::create))
        .routes(routes!(fc::function::get, fc::function::update, fc::function::delete))
        .routes(routes!(fc::component::code))
        .routes(routes!(fc::component::package))
        .routes(routes!(fc::component::has, fc::component::put))
        .routes(routes!(fc::deployment::deploy))
        .routes(routes!(fc::invocation::invoke))
        .routes(routes!(fc::version::list, fc::version::publish))
        .routes(routes!(fc::version::delete))
        .routes(routes!(fc::alias::list, fc::alias::create))
        .routes(routes!(fc::alias::get, fc::alias::update, fc::alias::delete))
        .routes(routes!(fc::trigger::list, fc::trigger::create))
        .routes(routes!(fc::trigger::get, fc::trigger::update, fc::trigger::delete))
        .routes(routes!(fc::async_config::get, fc::async_config::put, fc::async_config::delete))
        .routes(routes!(fc::async_config::list))
        .split_for_parts();
    let document = describe::complete(&document);
    let operations = Arc::new(describe::Operations::read(&document));
    described
        .route_layer(from_fn_with_state((api.clone(), operations), caller::admit))
        .merge(docs::router(&document))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(api.guard.clone(), around))
        .with_state(api)
}

/// Around everything. One layer: axum copies each of them, and those within, for each request.
async fn around(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let form = Form::of(request.uri().path());
    let body = body::lend(&mut request);
    let response = match guard::passed(&guard, request) {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if let Some(body) = body {
        body.finish().await;
    }
    guard::marked(form.given_to(response))
}
