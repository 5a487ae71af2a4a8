//! A way to an instance that no address leads to: AWS's Session Manager, through the plugin of its command line.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Client;
use super::run_options::RunOptions;
use crate::engine::{BuildCx, Resource, Seconds};
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

/// Starts a session that leads from a port of this host to one of the instance, and returns the former.
pub async fn tunnel(
    client: &Client,
    options: &RunOptions,
    instance: &str,
    port: u16,
    tasks: &TaskTracker,
    cx: &BuildCx,
) -> Result<u16> {
    let stop = CancellationToken::new();
    let plugin = which(PLUGIN).ok_or_else(|| {
        Error::new(Kind::Host, format!("ssh_interface = \"session_manager\" needs {PLUGIN}, which is not on this host"))
            .hint("AWS publishes it: \"Install the Session Manager plugin for the AWS CLI\"")
            .hint("or reach the instance by an address: ssh_interface = \"private_ip\"")
    })?;
    if let Some(Seconds(pause)) = options.pause_before_ssm {
        tokio::time::sleep(pause).await;
    }
    let local = match options.session_manager_port {
        Some(port) => port,
        None => free_port()?,
    };
    let parameters = [("portNumber", port), ("localPortNumber", local)];
    let begun = tokio::time::Instant::now();
    let session = loop {
        let mut request = client.ssm().start_session().target(instance).document_name(DOCUMENT);
        for (name, value) in parameters {
            request = request.parameters(name, vec![value.to_string()]);
        }
        match request.send().await {
            Ok(session) => break session,
            // The agent has not reported yet.
            Err(e) if super::error::code(&e) == Some("TargetNotConnected") && begun.elapsed() < AGENT => {
                tokio::time::sleep(client.polling.delay()).await;
            }
            Err(e) => return Err(client.failed("ssm:StartSession", e).await),
        }
    };
    let answer = json!({
        "SessionId": session.session_id(),
        "StreamUrl": session.stream_url(),
        "TokenValue": session.token_value(),
    });
    if let Some(token) = session.token_value() {
        cx.ui.secrets().add(token);
    }
    let asked = json!({
        "Target": instance,
        "DocumentName": DOCUMENT,
        "Parameters": { "portNumber": [port.to_string()], "localPortNumber": [local.to_string()] },
    });
    let mut command = Command::new(plugin);
    command.arg(answer.to_string()).args([&*client.region, "StartSession", ""]).arg(asked.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let entered = cx.resources.enter(Resource::process("session", format!("{PLUGIN} to {instance}")), {
        let stop = stop.clone();
        move || async move {
            stop.cancel();
            Ok(())
        }
    });
    let id = entered.await?;
    let mut process = Process::spawn(&mut command)?;
    cx.resources.has_process(id, process.id());
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = process.wait() => {}
        }
        process.end(GRACE).await;
    });
    Ok(local)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(Kind::Host, "no free port on this host")?;
    Ok(listener.local_addr().context(Kind::Host, "no free port on this host")?.port())
}
