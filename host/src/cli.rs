//! The command line: parses it, and turns every error into one message and an exit code (1; wrong usage: 2).

mod access_key;
mod asks;
mod audit;
mod bindgen;
pub mod build;
mod certificate;
pub mod client;
mod compile_component;
mod curl;
mod dead_letters;
mod demo;
mod deploy;
mod history;
mod invoke;
mod list;
pub mod new;
pub mod output;
mod product;
mod release;
mod route;
mod rule;
mod signing;
mod up;
mod user;
mod version;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_appender::non_blocking::NonBlockingBuilder;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;
use zeroize::Zeroizing;

use self::signing::AccessKey;
use crate::bench;
use crate::clock::Clock;
use crate::function;
use crate::gateway;
use crate::limit;
use crate::name::FunctionName;

/// Ledge, an edge gateway: functions and device drivers as WebAssembly components.
#[derive(Parser)]
#[command(name = "ledge", version, after_help = "Start with `ledge demo`, or with `ledge new function hello` and `ledge up hello`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and run the demo: a light sensor, a function that decides, a light that switches.
    Demo(RunArgs),
    /// Build a project, start the gateway and deploy the project on it.
    Up {
        #[command(flatten)]
        project: ProjectArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Build the functions and drivers of a project, and say how large each component is.
    Build(ProjectArgs),
    /// Build a project and deploy it on a running gateway. Entries that are on the gateway already and not in the
    /// project stay there.
    Deploy(DeployArgs),
    /// Call a function, and print its result.
    Invoke {
        /// The function, as SERVICE/FUNCTION.
        function: FunctionName,
        /// The event: text, or @FILE for a file's bytes, or @- for standard input. Nothing if it is not given.
        #[arg(short = 'd', long = "event", value_name = "DATA")]
        event: Option<String>,
        /// Do not wait for the result: print the id of the accepted invocation, which is on the gateway's disk then.
        #[arg(long = "async")]
        is_async: bool,
        /// With --async: invocations of a day that give the same key are one. 1 to 128 characters.
        #[arg(long, value_name = "TEXT", requires = "is_async")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Where an async invocation is: waiting, running, done or dead.
    Status {
        /// The invocation's id, as `ledge invoke --async` printed it.
        id: Uuid,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Change the routes of messages on a running gateway.
    #[command(subcommand)]
    Route(route::Command),
    /// Keep what is deployed of a service, as a version that never changes.
    #[command(subcommand)]
    Version(version::VersionCommand),
    /// Names that lead to versions, or to two of them by weight.
    #[command(subcommand)]
    Alias(version::AliasCommand),
    /// Put what was deployed before in a function's place again. The last two are kept.
    Rollback(version::RollbackArgs),
    /// Products on a running gateway: their models.
    #[command(subcommand)]
    Product(product::Command),
    /// Who may use a gateway, and for what.
    #[command(subcommand)]
    User(user::Command),
    /// What was done on a gateway of this machine and by whom, and whether that record is as the gateway wrote it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The certificate that a gateway shows to its clients.
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// What a thing reported, by time.
    History(history::HistoryArgs),
    /// Automation rules on a running gateway: change them, run them, ask what they did and why.
    #[command(subcommand)]
    Rule(rule::Command),
    /// Async invocations that failed at every attempt: look at them, try them again, delete them.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// List what is on a running gateway.
    List {
        what: Listing,
        /// Print JSON, whole, instead of a table, which cuts long cells.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Start a driver or a persistent function again that was quarantined because it failed too often.
    Release {
        /// The driver, by its name in `ledge list drivers`, or the function, as SERVICE/FUNCTION.
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Write a new project that builds and deploys at once, with the SDK beside it.
    New {
        kind: NewKind,
        /// Its name, and the name of the directory that is made: a letter, and then letters, digits, `-` and `_`. A driver's has at most 20.
        name: String,
    },
    /// Write a module in which a product's properties, events and services are types, for functions and for drivers.
    Bindgen(bindgen::Args),
    /// Measure this build on this machine, against the bare runtime in the same run.
    Bench(bench::Args),
    #[command(hide = true)]
    CompileComponent(compile_component::Args),
}

#[derive(Args)]
struct ProjectArgs {
    /// The directory that holds `ledge.toml`.
    #[arg(default_value = ".")]
    project_dir: PathBuf,
}

#[derive(Args)]
struct DeployArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Take everything off the gateway that is not in the project.
    #[arg(long)]
    prune: bool,
    /// Only show what the components ask for and what would change: nothing is sent but the names, and nothing is deployed.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Args)]
struct RunArgs {
    /// The address and port of HTTPS. Port 0 takes any free one; the real one is printed.
    #[arg(long, default_value = "127.0.0.1:9999", value_name = "ADDR")]
    listen: SocketAddr,
    /// Serve the same over plain HTTP too, for programs on this machine that speak no TLS. Nowhere if it is not given.
    #[arg(long, value_name = "ADDR")]
    plain_listen: Option<SocketAddr>,
    /// Where functions answer HTTP requests (`http` in ledge.toml): http://ADDR, https://ADDR, or ADDR alone for http. Nowhere if it is
    /// not given.
    #[arg(long, value_name = "URL")]
    http_listen: Option<gateway::HttpListen>,
    /// A name by which people call this gateway, besides the machine's own and those in its certificate; may be given several times. Requests
    /// to any other name are refused: a web page could have made it lead here.
    #[arg(long = "host-name", value_name = "NAME", value_parser = gateway::parse_host_name)]
    host_names: Vec<String>,
    /// Open connections of one address (of IPv6: of one /64) to each listener of HTTP. One more is answered 421.
    #[arg(long, default_value_t = limit::CONNECTIONS_PER_ADDRESS_MAX, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections_per_address_max: u32,
    /// Open connections to each listener of HTTP in all. One more is answered 421.
    #[arg(long, default_value_t = limit::CONNECTIONS_MAX, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections_max: u32,
    /// Where the gateway keeps everything. It is made if it is not there.
    #[arg(long, default_value = ".ledge", value_name = "DIR")]
    data: PathBuf,
    /// The key file that seals the gateway's secrets, if it is not to be DATA/key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Set the password of `admin`: 12 to 128 characters. Without it the first start makes one and prints it once.
    /// Other users of this machine can read the command line: LEDGE_ADMIN_PASSWORD is the safer way.
    #[arg(long, env = "LEDGE_ADMIN_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    admin_password: Option<String>,
    /// Accept the manual's `admin` / `admin1234` as well. Only with a loopback address.
    #[arg(long)]
    compat_default_login: bool,
    /// Unload a function that was not called for so many seconds; its next call loads it again, which takes about a millisecond.
    #[arg(long, default_value_t = function::IDLE.as_secs(), value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_s: u64,
    /// When to deploy the driver `gateway_monitor`, by which the gateway itself is a thing: once, so that it stays deleted where it was
    /// deleted; always, which puts it back; or never.
    #[arg(long, default_value = "once", value_name = "WHEN")]
    gateway_monitor: Monitor,
}

/// As [`gateway::monitor::Bring`] has it.
#[derive(Clone, Copy, ValueEnum)]
enum Monitor {
    Once,
    Always,
    Never,
}

/// Which gateway a command speaks to.
#[derive(Args)]
struct TargetArgs {
    /// The data directory of a gateway on this machine.
    #[arg(long, default_value = ".ledge", value_name = "DIR")]
    data: PathBuf,
    /// A gateway elsewhere, as in https://10.0.0.7:9999. Needs --fingerprint, and the password in LEDGE_PASSWORD, or an access
    /// key in LEDGE_ACCESS_KEY_ID and LEDGE_ACCESS_KEY_SECRET.
    #[arg(long, value_name = "URL", requires = "fingerprint")]
    gateway: Option<String>,
    /// The TLS fingerprint that the other gateway printed when it started.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// The user on the other gateway. An access key says by itself whose it is.
    #[arg(long, default_value = "admin", value_name = "NAME")]
    user: String,
    #[arg(long, env = "LEDGE_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// Read when the command line is: it has no option, since other users of this machine can read that.
    #[arg(skip = AccessKey::of_environment())]
    access_key: AccessKey,
}

#[derive(Clone, Copy, ValueEnum)]
enum Listing {
    Functions,
    Drivers,
    Things,
    Products,
    Routes,
    Timers,
    Rules,
    Versions,
    Aliases,
    Users,
}

#[derive(Clone, Copy, ValueEnum)]
enum NewKind {
    Function,
    Driver,
}

/// Lines of the log that may wait for stderr. Room for all of them is taken at the start, 32 bytes each.
const LOG_LINES_WAITING_MAX: usize = 8_192;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // clap itself ends the process with 2 for a wrong usage, and with 0 for --help.
    let cli = Cli::parse();
    if let Command::CompileComponent(args) = &cli.command {
        return compile_component::run(args);
    }
    let level = if matches!(cli.command, Command::Bench(_)) { "error" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::io::stderr().is_terminal();
    // Guests write to the log: a stderr that nobody reads must not hold them up, nor the gateway. Lines are dropped then.
    let writer = NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES_WAITING_MAX);
    let (stderr, _flushed_when_dropped) = writer.finish(std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colour).init();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) if output::is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln: a stderr that cannot be written is no reason to panic.
            let _ = writeln!(std::io::stderr(), "ledge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(run) => {
            let monitor = run.gateway_monitor.into();
            wait(demo::run(run.into(), monitor))
        }
        Command::Up { project, run } => {
            let monitor = run.gateway_monitor.into();
            wait(up::run(&project.project_dir, run.into(), monitor))
        }
        Command::Build(project) => deploy::build_only(&project.project_dir),
        Command::Deploy(args) => wait(deploy::run(args)),
        Command::Invoke { function, event, is_async, idempotency_key, target } => {
            let kind = if is_async { invoke::Kind::Async { idempotency_key } } else { invoke::Kind::Sync };
            wait(invoke::run(&function, event, kind, target))
        }
        Command::Status { id, target } => wait(dead_letters::status(id, target)),
        Command::Route(command) => wait(route::run(command)),
        Command::Version(command) => wait(version::version(command)),
        Command::Alias(command) => wait(version::alias(command)),
        Command::Rollback(args) => wait(version::roll_back(args)),
        Command::Product(command) => wait(product::run(command)),
        Command::User(command) => wait(user::run(command)),
        Command::Audit(command) => audit::run(command),
        Command::Certificate(command) => wait(certificate::run(command)),
        Command::History(args) => wait(history::run(args)),
        Command::Rule(command) => wait(rule::run(command)),
        Command::DeadLetters(command) => wait(dead_letters::run(command)),
        Command::List { what, json, target } => wait(list::run(what, json, target)),
        Command::Release { name, target } => wait(release::run(&name, target)),
        Command::New { kind, name } => new_project(kind, &name),
        Command::Bindgen(args) => bindgen::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::CompileComponent(args) => Ok(compile_component::run(&args)),
    }
}

fn wait(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(work);
    // What still runs now (a component that is being compiled, say) is nobody's any more: nothing waits for it.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

fn new_project(kind: NewKind, name: &str) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir()?;
    let made = match kind {
        NewKind::Function => new::new_function(&here, name)?,
        NewKind::Driver => new::new_driver(&here, name)?,
    };
    let made = crate::config::manifest::shown(&made);
    let made = made.display();
    output::say(format_args!("wrote {made}\n\nnext: ledge up {made}\nor, beside a gateway that runs: ledge deploy {made}"))?;
    Ok(ExitCode::SUCCESS)
}

impl From<Monitor> for gateway::monitor::Bring {
    fn from(when: Monitor) -> Self {
        match when {
            Monitor::Once => Self::Once,
            Monitor::Always => Self::Always,
            Monitor::Never => Self::Never,
        }
    }
}

impl From<RunArgs> for gateway::Options {
    fn from(args: RunArgs) -> Self {
        Self {
            listen: args.listen,
            plain_listen: args.plain_listen,
            http_listen: args.http_listen,
            host_names: args.host_names,
            connections: gateway::ConnectionLimits { per_address_max: args.connections_per_address_max, max: args.connections_max },
            data: args.data,
            key_file: args.key_file,
            admin_password: args.admin_password.map(Zeroizing::new),
            compat_default_login: args.compat_default_login,
            restarts: gateway::RestartPolicy::default(),
            idle: Duration::from_secs(args.idle_s),
            clock: Clock::system(),
            program: gateway::this_program(),
        }
    }
}
