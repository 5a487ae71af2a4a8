//! What may be written on the command line. Every option can also be set by its `RIMG_…` variable.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::{Bytes, Seconds};

/// Builds machine images from Lua scripts.
#[derive(Debug, Parser)]
#[command(
    name = "rimg",
    version,
    about = "Builds machine images from Lua scripts",
    after_help = "Exit codes: 0 done, 1 a build failed or --timeout was over, 2 usage or script error before anything ran, 130 cancelled.\n\
                  Folders: RIMG_CACHE_DIR and RIMG_STATE_DIR, else the XDG ones. \
                  A silent server is given up after RIMG_NETWORK_TIMEOUT (60s).\n\
                  Logs: RIMG_LOG (debug, rimg=trace, …).",
    max_term_width = 120,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a script: build its images
    Run(RunArgs),
    /// Run a whole script with machines that answer "done", touching nothing
    Check(CheckArgs),
    /// Show a script's variables and builds
    Inspect(InspectArgs),
    /// Write a first script, and what an editor needs to complete it
    Init(InitArgs),
    /// Download a file once, check it, keep it in the cache, and print its path
    Download(DownloadArgs),
    /// Show what is up: runs, their machines, and what dead runs left
    Ps(PsArgs),
    /// Remove what dead runs left: processes, files, machines
    Gc(GcArgs),
    /// Open a shell in a machine that a run has up or has kept, or run a command in it
    Ssh(SshArgs),
    /// Show or remove what is kept between runs: downloads, records, checkpoints
    Cache(CacheArgs),
    /// Bring Lua modules from elsewhere into lua_modules/, to be kept beside the script
    Vendor(VendorArgs),
    /// Print the IAM policy that a script needs
    #[cfg(feature = "amazon")]
    Amazon(AmazonArgs),
    /// Say what this host can build, and what is missing
    Doctor(DoctorArgs),
    /// Write the type annotations of the Lua API, for editors
    Types(TypesArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// The script and what it is given.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// The Lua script
    #[arg(value_name = "SCRIPT")]
    pub script: PathBuf,
    /// Set a variable of the script; repeat for more (also: RIMG_VAR_<name>=VALUE)
    #[arg(short = 'v', long = "var", value_name = "NAME=VALUE", env = "RIMG_VAR", hide_env_values = true, value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// Read variables from a JSON, TOML, YAML or Lua file; repeat for more, later ones win
    #[arg(long = "var-file", value_name = "FILE", env = "RIMG_VAR_FILE", value_delimiter = ',')]
    pub var_files: Vec<PathBuf>,
    /// Only the builds whose name matches a glob
    #[arg(long, value_name = "GLOB,…", env = "RIMG_ONLY", value_delimiter = ',')]
    pub only: Vec<String>,
    /// All builds but those whose name matches a glob
    #[arg(long, value_name = "GLOB,…", env = "RIMG_EXCEPT", value_delimiter = ',')]
    pub except: Vec<String>,
}

/// How what happens is shown.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// One JSON event a line on standard output (docs/events.md)
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Put the time before each line
    #[arg(long, env = "RIMG_TIMESTAMPS", value_parser = FalseyValueParser::new())]
    pub timestamps: bool,
    /// Also append everything, with times, to a file
    #[arg(long, value_name = "FILE", env = "RIMG_LOG_FILE")]
    pub log_file: Option<PathBuf>,
    /// No colours (also: NO_COLOR)
    #[arg(long, env = "RIMG_NO_COLOR", value_parser = FalseyValueParser::new())]
    pub no_color: bool,
    /// Say more, and stop at breakpoints
    #[arg(long, env = "RIMG_DEBUG", value_parser = FalseyValueParser::new())]
    pub debug: bool,
}

/// `rimg run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// How many builds may run at once (0: no limit)
    #[arg(long, value_name = "N", env = "RIMG_PARALLEL")]
    pub parallel: Option<usize>,
    /// Replace outputs that exist
    #[arg(long, env = "RIMG_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    /// What to do when a build fails (docs/failures.md)
    #[arg(long, value_name = "MODE", env = "RIMG_ON_ERROR", value_enum, default_value_t)]
    pub on_error: OnErrorArg,
    /// Stop the other builds when one fails
    #[arg(long, env = "RIMG_FAIL_FAST", value_parser = FalseyValueParser::new())]
    pub fail_fast: bool,
    /// How long the whole run may take, such as 90m; then it is cancelled
    #[arg(long, value_name = "DURATION", env = "RIMG_TIMEOUT", value_parser = duration)]
    pub timeout: Option<Seconds>,
    #[command(flatten)]
    pub replay: ReplayArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `--on-error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OnErrorArg {
    /// Remove what it made
    #[default]
    Cleanup,
    /// Leave its machines up: `rimg ssh` gets in, `rimg gc` ends them
    Keep,
    /// Ask on the terminal, at each operation that fails: try it again, open a shell, keep, clean up, abort
    Ask,
    /// End at once and remove nothing; `rimg gc` does later
    Abort,
}

/// What of earlier runs is used.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Replay")]
pub struct ReplayArgs {
    /// Do everything anew; what is done is recorded for later runs
    #[arg(long, env = "RIMG_FRESH", value_parser = FalseyValueParser::new())]
    pub fresh: bool,
    /// Replay nothing from a step or a checkpoint of that name on
    #[arg(long, value_name = "NAME", env = "RIMG_FROM")]
    pub from: Option<String>,
    /// Say of every operation that is done why it was not replayed
    #[arg(long, env = "RIMG_EXPLAIN", value_parser = FalseyValueParser::new())]
    pub explain: bool,
    /// Neither use nor keep records and checkpoints
    #[arg(long, env = "RIMG_NO_CACHE", conflicts_with_all = ["fresh", "from", "explain"], value_parser = FalseyValueParser::new())]
    pub no_cache: bool,
    /// How large the cache may become, such as 20G (default a fifth of its disk, 50G at most)
    #[arg(long, value_name = "SIZE", env = "RIMG_CACHE_SIZE", value_parser = size)]
    pub cache_size: Option<Bytes>,
}

/// `rimg check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `rimg inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to; made if it is not there
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Replace files that exist
    #[arg(long, env = "RIMG_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
}

/// `rimg download`.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// A URL (http, https, s3, file) or a path; of several, the first that has the file is used
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,
    /// What it must be: sha256:HEX, a bare digest, file:URL of a checksum file, or none
    #[arg(long, value_name = "CHECKSUM", env = "RIMG_CHECKSUM", default_value = "none")]
    pub checksum: String,
    /// Where to put it instead of the cache
    #[arg(long, value_name = "FILE", env = "RIMG_TO")]
    pub to: Option<PathBuf>,
    /// Print one JSON object: path, size and digest
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// No colours (also: NO_COLOR)
    #[arg(long, env = "RIMG_NO_COLOR", value_parser = FalseyValueParser::new())]
    pub no_color: bool,
    /// Say more
    #[arg(long, env = "RIMG_DEBUG", value_parser = FalseyValueParser::new())]
    pub debug: bool,
}

/// `rimg ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// What these builds or runs left, and what was kept of them on purpose; default what all dead runs left
    #[arg(value_name = "NAME|RUN")]
    pub names: Vec<String>,
    /// Only say what would be removed
    #[arg(long, env = "RIMG_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg ssh`.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// The name of the machine's build; RUN/BUILD where several runs have one of that name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What to run in place of a shell: one word is a line for the shell there, several are a program and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,
}

/// `rimg cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what is there: size, age, last use, origin
    Ls(CacheLsArgs),
    /// Remove what has not been used for long, or what is too much
    Prune(CachePruneArgs),
    /// Remove everything that no run works with
    Clear(CacheClearArgs),
}

/// `rimg cache ls`.
#[derive(Debug, Args)]
pub struct CacheLsArgs {
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg cache prune`.
#[derive(Debug, Args)]
pub struct CachePruneArgs {
    /// Remove what has not been used for that long, such as 12h or 7d (default 30d, unless --max-size is given)
    #[arg(long, value_name = "TIME", env = "RIMG_UNUSED_FOR", value_parser = duration)]
    pub unused_for: Option<Seconds>,
    /// Remove the least recently used until what is left is not larger, such as 20G
    #[arg(long, value_name = "SIZE", env = "RIMG_MAX_SIZE", value_parser = size)]
    pub max_size: Option<Bytes>,
    /// Only say what would be removed
    #[arg(long, env = "RIMG_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg cache clear`.
#[derive(Debug, Args)]
pub struct CacheClearArgs {
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg vendor`.
#[derive(Debug, Args)]
pub struct VendorArgs {
    #[command(subcommand)]
    pub command: VendorCommand,
}

/// What to do with the modules in `lua_modules/`.
#[derive(Debug, Subcommand)]
pub enum VendorCommand {
    /// Fetch a module from a git repository or an archive, for `require "NAME"`
    Add(VendorAddArgs),
    /// Show which modules there are, and where they came from
    #[command(alias = "list")]
    Ls(VendorLsArgs),
    /// Say which files are not what was fetched
    Verify(VendorVerifyArgs),
    /// Remove modules
    #[command(alias = "remove")]
    Rm(VendorRmArgs),
}

/// `rimg vendor add`.
#[derive(Debug, Args)]
pub struct VendorAddArgs {
    /// What scripts require it as
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A tar or zip archive (http, https, s3, file, or a path), or a git repository
    #[arg(value_name = "URL")]
    pub url: String,
    /// What the archive must be: sha256:…, file:URL of a checksum file, or none. Of a repository: the commit
    #[arg(long, value_name = "CHECKSUM", env = "RIMG_CHECKSUM")]
    pub checksum: Option<String>,
    /// The branch, tag or commit of a repository (default: its HEAD); the lock keeps the commit
    #[arg(long, value_name = "REV", env = "RIMG_REV")]
    pub rev: Option<String>,
    /// The folder in it that is the module (default: all of it)
    #[arg(long, value_name = "DIR", env = "RIMG_PATH")]
    pub path: Option<String>,
    /// Replace a module of that name
    #[arg(long, env = "RIMG_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
}

/// `rimg vendor ls`.
#[derive(Debug, Args)]
pub struct VendorLsArgs {
    /// Print the lock, one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `rimg vendor verify`.
#[derive(Debug, Args)]
pub struct VendorVerifyArgs {
    /// Only these modules
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// `rimg vendor rm`.
#[derive(Debug, Args)]
pub struct VendorRmArgs {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `rimg amazon`.
#[cfg(feature = "amazon")]
#[derive(Debug, Args)]
pub struct AmazonArgs {
    #[command(subcommand)]
    pub command: AmazonCommand,
}

/// What a script needs of Amazon.
#[cfg(feature = "amazon")]
#[derive(Debug, Subcommand)]
pub enum AmazonCommand {
    /// Print the least policy, as JSON, that allows what a script does; it is checked, and nobody is asked
    Policy(AmazonPolicyArgs),
}

/// `rimg amazon policy`.
#[cfg(feature = "amazon")]
#[derive(Debug, Args)]
pub struct AmazonPolicyArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
}

/// `rimg doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long, env = "RIMG_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// No colours (also: NO_COLOR)
    #[arg(long, env = "RIMG_NO_COLOR", value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// `rimg types`.
#[derive(Debug, Args)]
pub struct TypesArgs {
    /// Where to; made if it is not there
    #[arg(default_value = super::types::FOLDER)]
    pub dir: PathBuf,
}

/// `rimg completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

/// Takes `NAME=VALUE` apart; the value may be empty and may hold more equals signs.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn duration(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).ok_or_else(|| "expected a duration such as 12h or 7d".to_owned())
}

fn size(text: &str) -> Result<Bytes, String> {
    Bytes::parse(text).ok_or_else(|| "expected a size such as 20G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(args: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"rimg").chain(args)).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_everything_its_page_promises() {
        let args = "run build.lua -v a=1 -v b=x=y --var-file one.json --var-file two.lua --only web*,db --except *-old \
                    --parallel 2 --force --debug --json --log-file log --timestamps --no-color";
        let Command::Run(run) = parse(&args.split_whitespace().collect::<Vec<_>>()).unwrap() else { panic!() };
        assert_eq!(run.script.vars, [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
        assert_eq!(run.script.var_files, [PathBuf::from("one.json"), "two.lua".into()]);
        assert_eq!((run.script.only, run.script.except), (vec!["web*".into(), "db".into()], vec!["*-old".to_owned()]));
        assert_eq!(run.parallel, Some(2));
        assert!(run.force && run.output.debug && run.output.json && run.output.timestamps && run.output.no_color);
        assert_eq!(run.output.log_file, Some("log".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, expected) in [
            (vec!["run"], "<SCRIPT>"),
            (vec!["run", "x", "-v", "novalue"], "expected NAME=VALUE"),
            (vec!["run", "x", "-v", "=1"], "expected NAME=VALUE"),
            (vec!["run", "x", "--parallel", "many"], "invalid digit"),
            (vec!["run", "x", "--forse"], "--force"),
            (vec!["rum"], "run"),
            (vec!["download"], "<URL>"),
            (vec!["cache", "prune", "--max-size", "lots"], "expected a size"),
            (vec!["cache", "prune", "--unused-for", "x"], "expected a duration"),
        ] {
            let error = parse(&args).unwrap_err();
            assert!(error.to_string().contains(expected), "{args:?}: {error}");
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn every_option_has_its_variable() {
        let cli = Cli::command();
        for command in
            cli.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands()))
        {
            for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let id = option.get_id().as_str();
                if id == "help" || id == "version" {
                    continue;
                }
                let variable = option.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let expected = format!("RIMG_{}", option.get_long().unwrap().replace('-', "_").to_uppercase());
                assert_eq!(variable, expected, "{} --{id}", command.get_name());
            }
        }
    }
}
