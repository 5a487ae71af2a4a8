//! Images made in AWS, which moto plays (see `support/aws.rs`): the builder `rimg.amazon.ebs` and the client.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::aws::{Aws, SOURCE};
use crate::support::rimg::{Live, Run, Sandbox};

mod build;
mod chroot;
mod client;
mod copies;
mod credentials;
mod errors;
mod faults;
mod fleets;
mod killed;
mod peer;
mod sessions;
mod windows;

/// Generous: other tests load the machine.
const LONG: Duration = Duration::from_secs(120);

/// The cloud, and a folder to build in.
struct World {
    aws: Aws,
    sandbox: Sandbox,
}

impl World {
    fn start() -> Option<World> {
        Some(World { aws: Aws::start_with_sshd()?, sandbox: Sandbox::new() })
    }

    /// Returns a script with one build: a machine with further `options`, and what is done with it.
    fn script(&self, options: &str, body: &str) -> String {
        let port = self.aws.sshd().port;
        format!(
            r#"local rimg = require "rimg"
rimg.build("web", function()
  local options = {{
    source_ami = "{SOURCE}", instance_type = "t3.micro", ami_name = "web-1",
    ssh_host = "127.0.0.1", ssh_port = {port}, ssh_username = "root",
    aws_polling = {{ delay_seconds = 0.05, max_attempts = 1000 }},
  }}
  for name, value in pairs {{ {options} }} do options[name] = value end
  if options.source_ami == "" then options.source_ami = nil end
  if options.instance_type == "" then options.instance_type = nil end
  local vm = rimg.amazon.ebs(options)
  {body}
end)
"#
        )
    }

    /// Returns a command of rimg's that asks this cloud.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        self.aws.env(&mut command);
        command
    }

    /// Runs a build to its end, and looks for what it left in the folder.
    #[track_caller]
    fn build(&self, options: &str, body: &str) -> Run {
        self.run(&self.script(options, body))
    }

    #[track_caller]
    fn run(&self, source: &str) -> Run {
        self.run_in(&[], source)
    }

    /// Runs a script with more in its environment.
    #[track_caller]
    fn run_in(&self, environment: &[(&str, &str)], source: &str) -> Run {
        self.sandbox.write("build.lua", source);
        let run = Run::of(self.command(&["run", "build.lua"]).envs(environment.iter().copied()));
        self.sandbox.assert_clean_after(&run);
        run
    }

    /// Starts a build, to be watched and interrupted.
    fn start_build(&self, options: &str, body: &str) -> Live {
        self.sandbox.write("build.lua", self.script(options, body));
        self.sandbox.watch(self.command(&["run", "build.lua"]))
    }

    /// Fails unless nothing at all is left in the account.
    #[track_caller]
    fn expect_nothing(&self, run: &dyn std::fmt::Debug) {
        let left = self.aws.left();
        assert!(left.is_empty(), "left: {left:#?}\n{run:?}\n{:?}", self.aws.actions());
    }

    /// Fails unless there are images of these names and regions, their snapshots, and nothing else.
    #[track_caller]
    fn expect_images(&self, images: &[&str], run: &dyn std::fmt::Debug) {
        let left = self.aws.left();
        let there = |kind: &str| left.iter().filter(|line| line.contains(kind)).collect::<Vec<_>>();
        let mut found: Vec<String> = there(" image ").into_iter().map(|line| name(line)).collect();
        found.sort();
        assert_eq!(found, images, "{left:#?}\n{run:?}");
        assert_eq!(there(" snapshot ").len(), images.len(), "{left:#?}\n{run:?}");
        assert_eq!(left.len(), 2 * images.len(), "left: {left:#?}\n{run:?}");
    }
}

/// Returns region and name of an image in the list of what is there.
fn name(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    format!("{} {}", words[0], words[3])
}

/// Returns one parameter of a call; empty where it is not given.
fn param<'c>(call: &'c Value, name: &str) -> &'c str {
    call["params"][name].as_str().unwrap_or_default()
}

/// Returns the tags that a call gives to a sort of thing.
fn tags(call: &Value, sort: &str) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    for spec in 1..20 {
        let spec = format!("TagSpecification.{spec}");
        if param(call, &format!("{spec}.ResourceType")) != sort {
            continue;
        }
        for tag in 1..60 {
            let key = param(call, &format!("{spec}.Tag.{tag}.Key"));
            if !key.is_empty() {
                found.insert(key.to_owned(), param(call, &format!("{spec}.Tag.{tag}.Value")).to_owned());
            }
        }
    }
    found
}
