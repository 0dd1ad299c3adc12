//! Real processes: the binary itself, and shells.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::PATIENCE;
use super::alone::{self, Alone, Shared};

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `ledge` in a directory until it ends.
pub async fn ledge(dir: &Path, args: &[&str]) -> Output {
    run(command(dir, args)).await
}

pub async fn shell(line: &str, dir: &Path, env: &[(&str, String)]) -> Output {
    let mut command = Command::new("bash");
    command.arg("-c").arg(line).current_dir(dir).envs(env.iter().map(|(key, value)| (key, value)));
    run(command).await
}

/// A Python that has a module: the one that `LEDGE_PYTHON` names, or else `python3`.
pub async fn python_with(module: &str) -> Option<String> {
    let python = std::env::var("LEDGE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let looked = shell(&format!("{python} -c 'import {module}'"), Path::new("/"), &[]).await;
    if looked.code != 0 {
        eprintln!("not run: `{python}` has no module `{module}`; see docs/testing.md");
        return None;
    }
    Some(python)
}

/// The binary, with none of the settings of this shell.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    plain(Command::new(LEDGE), dir, args)
}

/// The same under limits that a shell command sets, such as `ulimit -v 4194304`.
pub fn command_under(limits: &str, dir: &Path, args: &[&str]) -> Command {
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("{limits} && exec \"$0\" \"$@\"")).arg(LEDGE);
    plain(shell, dir, args)
}

const LEDGE: &str = env!("CARGO_BIN_EXE_ledge");

fn plain(mut command: Command, dir: &Path, args: &[&str]) -> Command {
    command.args(args).current_dir(dir);
    for setting in
        ["LEDGE_ADMIN_PASSWORD", "LEDGE_PASSWORD", "LEDGE_ACCESS_KEY_ID", "LEDGE_ACCESS_KEY_SECRET", "RUST_LOG", "RUST_BACKTRACE"]
    {
        command.env_remove(setting);
    }
    command
}

async fn run(mut command: Command) -> Output {
    // A command beside a gateway of this test only counts twice.
    let _machine = alone::shared();
    command.stdin(Stdio::null()).kill_on_drop(true);
    // Building guests may be part of it.
    let output = tokio::time::timeout(PATIENCE * 15, command.output()).await.expect("the command did not end").unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A gateway as a process of its own. It is killed when the test ends.
pub struct Process {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Option<ChildStderr>,
    /// Everything that it has printed so far.
    pub said: String,
    _machine: Machine,
}

/// Held until the process is gone.
enum Machine {
    BesideOthers { _held: Shared },
    Alone { _held: Alone },
}

impl Process {
    pub fn start(command: Command) -> Self {
        Self::spawn(command, Stdio::piped(), Machine::BesideOthers { _held: alone::shared() })
    }

    /// The same, where everything that it writes to stderr goes to a file.
    pub fn start_with_log(command: Command, log: File) -> Self {
        Self::spawn(command, log.into(), Machine::BesideOthers { _held: alone::shared() })
    }

    /// Starts it when no other gateway runs, and keeps others from starting until it is gone.
    pub fn start_alone(command: Command, log: File) -> Self {
        Self::spawn(command, log.into(), Machine::Alone { _held: alone::alone() })
    }

    fn spawn(mut command: Command, stderr: Stdio, machine: Machine) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = child.stderr.take();
        Self { child, stdout, stderr, said: String::new(), _machine: machine }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it has ended already")
    }

    /// The first line from now on that contains `wanted`.
    pub async fn line_with(&mut self, wanted: &str) -> String {
        // Building guests may come first.
        let found = tokio::time::timeout(PATIENCE * 15, async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                self.said.push_str(&line);
                self.said.push('\n');
                if line.contains(wanted) {
                    return Some(line);
                }
            }
            None
        });
        match found.await {
            Ok(Some(line)) => line,
            _ => {
                let mut errors = String::new();
                if let Some(stderr) = &mut self.stderr {
                    let _ = tokio::time::timeout(PATIENCE / 20, stderr.read_to_string(&mut errors)).await;
                }
                panic!("it never said `{wanted}`, but:\n{}\n{errors}", self.said)
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        assert!(std::process::Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    /// Waits for its end: the exit code, and what it wrote to stderr.
    pub async fn end(mut self) -> (i32, String) {
        let mut errors = String::new();
        let ended = tokio::time::timeout(PATIENCE, async {
            if let Some(stderr) = &mut self.stderr {
                stderr.read_to_string(&mut errors).await.unwrap();
            }
            self.child.wait().await.unwrap()
        });
        let status = ended.await.expect("it did not end");
        (status.code().unwrap_or(-1), errors)
    }
}
