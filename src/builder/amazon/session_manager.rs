//! A way to an instance that no address leads to: AWS's Session Manager, through the plugin of its command line.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Client;
use super::error::is_not_found;
use super::made::{Made, Sort};
use super::run_options::RunOptions;
use super::watch::Watch;
use crate::engine::{BuildCx, Health, Resource, ResourceId, Seconds};
use crate::error::{Context, Error, Kind, Result};
use crate::host::process::{Process, which};

/// AWS's program that speaks the protocol.
const PLUGIN: &str = "session-manager-plugin";
/// What a session does that forwards a port.
const DOCUMENT: &str = "AWS-StartPortForwardingSession";
/// How long an agent may take to report to AWS after its instance has started.
const AGENT: Duration = Duration::from_secs(5 * 60);
/// How long the plugin may take to end the session.
const GRACE: Duration = Duration::from_secs(5);
/// A plugin that ends sooner will not do better the next time. A later end is that of the instance's agent: a reboot.
const YOUNG: Duration = Duration::from_secs(20);
/// How much is kept of what the plugin says.
const LINES: usize = 20;

/// Finds the plugin: without it, nothing need be made.
pub fn plugin() -> Result<PathBuf> {
    which(PLUGIN).ok_or_else(|| {
        Error::new(Kind::Host, format!("ssh_interface = \"session_manager\" needs {PLUGIN}, which is not on this host"))
            .hint("AWS publishes it: \"Install the Session Manager plugin for the AWS CLI\"")
            .hint("or reach the instance by an address: ssh_interface = \"private_ip\"")
    })
}

/// What leads from a port of this host to one of an instance.
struct Tunnel {
    client: Client,
    instance: String,
    port: u16,
    local: u16,
    cx: BuildCx,
}

/// A session, and the plugin that carries it.
struct Session {
    made: Made,
    process: Process,
    said: Arc<Mutex<VecDeque<String>>>,
    begun: Instant,
}

/// Starts a session that leads from a port of this host to one of the instance, and returns the former. A session that
/// ends is followed by another on the same port; where that does not help, the instance counts as lost.
pub async fn tunnel(
    client: &Client,
    options: &RunOptions,
    watch: &Arc<Watch>,
    port: u16,
    tasks: &TaskTracker,
    cx: &BuildCx,
) -> Result<u16> {
    if let Some(Seconds(pause)) = options.pause_before_ssm {
        tokio::time::sleep(pause).await;
    }
    let local = match options.session_manager_port {
        Some(port) => port,
        None => free_port()?,
    };
    let tunnel = Tunnel { client: client.clone(), instance: watch.id.clone(), port, local, cx: cx.clone() };
    // Whoever is done with the machine is done with the way to it.
    let (stop, ended) = (watch.stop.child_token(), CancellationToken::new());
    let entered = cx.resources.enter(Resource::process("tunnel", format!("{PLUGIN} to {}", watch.id)), {
        let (stop, ended) = (stop.clone(), ended.clone());
        move || async move {
            stop.cancel();
            ended.cancelled().await;
            Ok(())
        }
    });
    let id = entered.await?;
    // Nobody is left to wait for where the first session does not come about.
    let ends = ended.drop_guard();
    let first = tunnel.begin(id).await?;
    let watch = watch.clone();
    tasks.spawn(async move {
        if let Err(e) = tunnel.carry_on(first, id, &watch, &stop).await {
            watch.health.send_replace(Health::Dead(e.to_string()));
        }
        drop(ends);
    });
    Ok(local)
}

impl Tunnel {
    /// Begins a session, as soon as the instance's agent is there, and starts the plugin.
    async fn begin(&self, id: ResourceId) -> Result<Session> {
        let (client, cx) = (&self.client, &self.cx);
        let made = Made::enter(client, Sort::Session, cx).await?;
        let parameters = [("portNumber", self.port), ("localPortNumber", self.local)];
        let begun = Instant::now();
        let session = loop {
            let request = client.ssm().start_session().target(&self.instance).document_name(DOCUMENT);
            // It has neither tags nor a token: what finds it is its reason.
            let mut request = request.reason(&made.thing.mark);
            for (name, value) in parameters {
                request = request.parameters(name, vec![value.to_string()]);
            }
            match request.send().await {
                Ok(session) => break session,
                // The agent has not reported yet.
                Err(e) if super::error::code(&e) == Some("TargetNotConnected") && begun.elapsed() < AGENT => {
                    tokio::time::sleep(client.polling.delay()).await;
                }
                Err(e) => {
                    let failed = client.failed("ssm:StartSession", e).await;
                    return Err(failed.hint(
                        "the instance needs the agent, a way to AWS, and a role with AmazonSSMManagedInstanceCore: \
                         iam_instance_profile",
                    ));
                }
            }
        };
        if let Some(id) = session.session_id() {
            made.is(id);
        }
        if let Some(token) = session.token_value() {
            cx.ui.secrets().add(token);
        }
        let answer = json!({
            "SessionId": session.session_id(),
            "StreamUrl": session.stream_url(),
            "TokenValue": session.token_value(),
        });
        let asked = json!({
            "Target": self.instance,
            "DocumentName": DOCUMENT,
            "Parameters": { "portNumber": [self.port.to_string()], "localPortNumber": [self.local.to_string()] },
        });
        let profile = client.access().profile.as_deref().unwrap_or_default();
        let mut command = Command::new(plugin()?);
        command.arg(answer.to_string()).args([&*client.region, "StartSession", profile]).arg(asked.to_string());
        command.args(client.endpoint());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command)?;
        cx.resources.has_process(id, process.id());
        let said = Arc::default();
        let child = process.child();
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(keep_lines(pipe, Arc::clone(&said)));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(keep_lines(pipe, Arc::clone(&said)));
        }
        Ok(Session { made, process, said, begun: Instant::now() })
    }

    /// Keeps a session up until it is stopped; an error where that is not to be had.
    async fn carry_on(&self, first: Session, id: ResourceId, watch: &Watch, stop: &CancellationToken) -> Result<()> {
        let mut session = first;
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    session.process.end(GRACE).await;
                    return Ok(());
                }
                ended = session.process.wait() => {
                    // The agent ends with its instance.
                    if watch.going_off.load(Ordering::Acquire) {
                        return Ok(());
                    }
                    let why = match ended {
                        Ok(status) => session.last_words(&status.to_string()).await,
                        Err(e) => e.to_string(),
                    };
                    let what = format!("the tunnel to {} is gone: {PLUGIN} has ended: {why}", self.instance);
                    if session.begun.elapsed() < YOUNG {
                        return Err(Error::new(Kind::Connect, what));
                    }
                    self.cx.ui.warn(format!("{what}; another session is begun"));
                }
            }
            self.cx.resources.release(session.made.resource).await?;
            session = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                next = self.begin(id) => next?,
            };
        }
    }
}

impl Session {
    /// Returns how the plugin ended and what it said last.
    async fn last_words(&self, status: &str) -> String {
        // What it wrote may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = said.iter().map(String::as_str).collect();
        match lines.is_empty() {
            true => status.to_owned(),
            false => format!("{status}: {}", lines.join("\n")),
        }
    }
}

async fn keep_lines(pipe: impl AsyncRead + Unpin, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == LINES {
            said.pop_front();
        }
        if !line.trim().is_empty() {
            said.push_back(line.trim().to_owned());
        }
    }
}

/// Ends a session, found by its reason where its id is not known; with `dry_run`, only looks. Tells whether it was there.
pub async fn end(client: &Client, mark: &str, id: Option<&str>, dry_run: bool) -> Result<bool> {
    let ssm = client.ssm();
    let ids = match id {
        Some(id) => vec![id.to_owned()],
        None => {
            let search = ssm.describe_sessions().state(aws_sdk_ssm::types::SessionState::Active);
            let found: Vec<_> = match search.into_paginator().items().send().try_collect().await {
                Ok(found) => found,
                Err(e) => return Err(client.failed("ssm:DescribeSessions", e).await),
            };
            let ours = found.into_iter().filter(|session| session.reason() == Some(mark));
            ours.filter_map(|session| session.session_id).collect()
        }
    };
    for id in ids.iter().filter(|_| !dry_run) {
        match ssm.terminate_session().session_id(id).send().await {
            Err(e) if !is_not_found(&e) => return Err(client.failed("ssm:TerminateSession", e).await),
            _ => {}
        }
    }
    Ok(!ids.is_empty())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(Kind::Host, "no free port on this host")?;
    Ok(listener.local_addr().context(Kind::Host, "no free port on this host")?.port())
}
