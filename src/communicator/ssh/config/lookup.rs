//! Looking a host up: the first value found for a keyword counts, as `ssh_config(5)` says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::algorithms::AlgorithmOptions;
use super::pattern::{matches, matches_list};
use super::words;
use crate::engine::Seconds;
use crate::error::{Error, Kind, Result};

/// How deep files may include each other; OpenSSH's own limit.
const DEEPEST: usize = 16;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The host as the script calls it.
    pub host: String,
    /// The user the script names.
    pub user: Option<String>,
    pub port: Option<u16>,
    /// Who runs this.
    pub local_user: String,
    pub home: PathBuf,
}

/// A host to go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpHost {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

/// What the configuration says about one host.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<PathBuf>,
    pub certificate_files: Vec<PathBuf>,
    /// A socket, or nothing for `none`.
    pub identity_agent: Option<Option<PathBuf>>,
    pub identities_only: bool,
    pub proxy_jump: Option<Vec<JumpHost>>,
    pub algorithms: AlgorithmOptions,
    pub server_alive_interval: Option<Duration>,
    pub server_alive_count_max: Option<u32>,
    pub connect_timeout: Option<Duration>,
}

/// Reads a configuration for one host.
pub fn lookup(path: &Path, asked: &Asked) -> Result<Found> {
    let mut reader = Reader { asked, base: path.parent().unwrap_or(Path::new("/")), raw: Raw::default() };
    reader.file(path, true, 0)?;
    reader.raw.finish(asked, path)
}

/// Values as written; tokens are filled in at the end, when all of them are known.
#[derive(Default)]
struct Raw {
    host_name: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity_files: Vec<String>,
    certificate_files: Vec<String>,
    identity_agent: Option<String>,
    identities_only: Option<bool>,
    proxy_jump: Option<String>,
    proxy_command: Option<String>,
    algorithms: AlgorithmOptions,
    server_alive_interval: Option<Duration>,
    server_alive_count_max: Option<u32>,
    connect_timeout: Option<Option<Duration>>,
}

struct Reader<'a> {
    asked: &'a Asked,
    /// Where relative includes start.
    base: &'a Path,
    raw: Raw,
}

/// Where a line stands, for errors.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a Path,
    line: usize,
}

impl At<'_> {
    fn error(self, message: impl std::fmt::Display) -> Error {
        Error::new(Kind::Option, format!("{}:{}: {message}", self.path.display(), self.line))
            .field("option", "ssh_use_config")
    }
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, active: bool, depth: usize) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(Kind::Option, format!("option `ssh_use_config`: cannot read {}", path.display()))
                .field("option", "ssh_use_config")
                .caused_by(e)
        })?;
        // A block ends with its file; an included one is as active as the line that includes it.
        let mut here = active;
        for (index, line) in text.lines().enumerate() {
            let at = At { path, line: index + 1 };
            let Some((keyword, words)) = words::split(line).map_err(|e| at.error(e))? else { continue };
            match keyword.as_str() {
                "host" => {
                    if words.is_empty() {
                        return Err(at.error("Host wants a pattern"));
                    }
                    here = active && matches_list(&words, &self.asked.host);
                }
                "match" => here = active && self.condition(&words, at)?,
                "include" if here => {
                    if depth >= DEEPEST {
                        return Err(at.error("files include each other too deeply"));
                    }
                    for pattern in &words {
                        let pattern = self.base.join(self.home(pattern));
                        for path in expand(&pattern) {
                            self.file(&path, true, depth + 1)?;
                        }
                    }
                }
                _ if here => self.keyword(&keyword, &words, at)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn home(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.asked.home.join(rest),
            None if path == "~" => self.asked.home.clone(),
            None => PathBuf::from(path),
        }
    }

    fn condition(&self, words: &[String], at: At<'_>) -> Result<bool> {
        let mut words = words.iter();
        let mut some = false;
        while let Some(word) = words.next() {
            some = true;
            let (negated, name) = match word.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, word.as_str()),
            };
            let name = name.to_ascii_lowercase();
            if name == "all" {
                if negated {
                    return Ok(false);
                }
                continue;
            }
            let text = match name.as_str() {
                "host" => {
                    let template = self.raw.host_name.as_deref().unwrap_or("%h");
                    template.replace("%h", &self.asked.host).replace("%%", "%")
                }
                "originalhost" => self.asked.host.clone(),
                "user" => {
                    let user = self.asked.user.as_ref().or(self.raw.user.as_ref());
                    user.unwrap_or(&self.asked.local_user).clone()
                }
                "localuser" => self.asked.local_user.clone(),
                _ => {
                    return Err(at
                        .error(format!("`Match {name}` is not supported"))
                        .hint("rimg understands: all, host, originalhost, user, localuser")
                        .hint("give `ssh_use_config` the path of a file of its own, or say it with ssh_… options"));
                }
            };
            let Some(patterns) = words.next() else {
                return Err(at.error(format!("`Match {name}` wants patterns")));
            };
            let patterns: Vec<&str> = patterns.split(',').collect();
            if matches_list(&patterns, &text) == negated {
                return Ok(false);
            }
        }
        if some { Ok(true) } else { Err(at.error("Match wants a condition")) }
    }

    fn keyword(&mut self, keyword: &str, words: &[String], at: At<'_>) -> Result<()> {
        const KNOWN: &[&str] = &[
            "hostname",
            "user",
            "port",
            "identityfile",
            "certificatefile",
            "identityagent",
            "identitiesonly",
            "proxyjump",
            "proxycommand",
            "ciphers",
            "kexalgorithms",
            "macs",
            "hostkeyalgorithms",
            "serveraliveinterval",
            "serveralivecountmax",
            "connecttimeout",
        ];
        if !KNOWN.contains(&keyword) {
            return Ok(());
        }
        let Some(word) = words.first() else { return Err(at.error(format!("{keyword} wants a value"))) };
        let number = || word.parse::<u32>().map_err(|_| at.error(format!("{keyword} wants a number, found {word:?}")));
        let time = || {
            let seconds = Seconds::parse(&word.to_ascii_lowercase());
            seconds.map(|s| s.0).ok_or_else(|| at.error(format!("{keyword} wants seconds, found {word:?}")))
        };
        let raw = &mut self.raw;
        match keyword {
            "hostname" => first(&mut raw.host_name, word.clone()),
            "user" => first(&mut raw.user, word.clone()),
            "port" => {
                let port = u16::try_from(number()?).ok().filter(|p| *p > 0);
                first(&mut raw.port, port.ok_or_else(|| at.error(format!("{word} is not a port")))?);
            }
            "identityfile" => raw.identity_files.push(word.clone()),
            "certificatefile" => raw.certificate_files.push(word.clone()),
            "identityagent" => first(&mut raw.identity_agent, word.clone()),
            "identitiesonly" => first(&mut raw.identities_only, word.eq_ignore_ascii_case("yes")),
            // Of these two, the first one in the file counts.
            "proxyjump" if raw.proxy_command.is_none() => first(&mut raw.proxy_jump, word.clone()),
            "proxycommand" if raw.proxy_jump.is_none() => first(&mut raw.proxy_command, words.join(" ")),
            "proxyjump" | "proxycommand" => {}
            "serveraliveinterval" => first(&mut raw.server_alive_interval, time()?),
            "serveralivecountmax" => first(&mut raw.server_alive_count_max, number()?),
            "connecttimeout" => {
                let limit = if word.eq_ignore_ascii_case("none") { None } else { Some(time()?) };
                first(&mut raw.connect_timeout, limit);
            }
            _ => raw
                .algorithms
                .configure(keyword, word)
                .map_err(|e| e.within(format!("{}:{}", at.path.display(), at.line)))?,
        }
        Ok(())
    }
}

fn first<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

impl Raw {
    fn finish(self, asked: &Asked, path: &Path) -> Result<Found> {
        let wrong = |message: String| {
            Error::new(Kind::Option, format!("{}: {message}", path.display())).field("option", "ssh_use_config")
        };
        if let Some(command) = self.proxy_command.filter(|command| !command.eq_ignore_ascii_case("none")) {
            return Err(wrong(format!("ProxyCommand is not supported, found {command:?} for {}", asked.host)).hint(
                "`ProxyJump` does what `ssh -W` is mostly used for; there are `ssh_bastions` and `ssh_proxy_host`, too",
            ));
        }
        let tokens = Tokens { asked, host: None, port: 22, user: String::new(), path };
        let host_name = self.host_name.map(|text| tokens.fill(&text)).transpose()?;
        let user = asked.user.clone().or(self.user.clone());
        let tokens = Tokens {
            host: Some(host_name.as_deref().unwrap_or(&asked.host)),
            port: asked.port.or(self.port).unwrap_or(22),
            user: user.clone().unwrap_or_else(|| asked.local_user.clone()),
            ..tokens
        };
        let paths = |list: &[String]| {
            let given = list.iter().filter(|text| !text.eq_ignore_ascii_case("none"));
            given.map(|text| tokens.path(text)).collect::<Result<Vec<_>>>()
        };
        let proxy_jump = match self.proxy_jump {
            None => None,
            Some(none) if none.eq_ignore_ascii_case("none") => None,
            Some(list) => {
                let hop = |text: &str| {
                    jump_host(&tokens.fill(text)?)
                        .ok_or_else(|| wrong(format!("ProxyJump: {text:?} is not [user@]host[:port]")))
                };
                Some(list.split(',').map(hop).collect::<Result<Vec<_>>>()?)
            }
        };
        let identity_agent = match self.identity_agent.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some("SSH_AUTH_SOCK") => Some(std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from)),
            Some(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(variable) => Some(std::env::var_os(variable).map(PathBuf::from)),
                None => Some(Some(tokens.path(text)?)),
            },
        };
        Ok(Found {
            user: self.user,
            port: self.port,
            identity_files: paths(&self.identity_files)?,
            certificate_files: paths(&self.certificate_files)?,
            identity_agent,
            identities_only: self.identities_only.unwrap_or(false),
            proxy_jump,
            algorithms: self.algorithms,
            server_alive_interval: self.server_alive_interval,
            server_alive_count_max: self.server_alive_count_max,
            connect_timeout: self.connect_timeout.flatten(),
            host_name,
        })
    }
}

/// The values of `%` tokens (TOKENS in `ssh_config(5)`).
struct Tokens<'a> {
    asked: &'a Asked,
    /// The real name, once it is known.
    host: Option<&'a str>,
    port: u16,
    user: String,
    path: &'a Path,
}

impl Tokens<'_> {
    fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            if c != '%' {
                filled.push(c);
                continue;
            }
            match characters.next() {
                Some('%') => filled.push('%'),
                Some('h') => filled.push_str(self.host.unwrap_or(&self.asked.host)),
                Some('n') => filled.push_str(&self.asked.host),
                Some('p') => filled.push_str(&self.port.to_string()),
                Some('r') => filled.push_str(&self.user),
                Some('u') => filled.push_str(&self.asked.local_user),
                Some('d') => filled.push_str(&self.asked.home.display().to_string()),
                other => {
                    let token = other.map(String::from).unwrap_or_default();
                    let message = format!("{}: the token %{token} in {text:?} is not supported", self.path.display());
                    return Err(Error::new(Kind::Option, message)
                        .field("option", "ssh_use_config")
                        .hint("rimg fills in: %% %h %n %p %r %u %d and ~"));
                }
            }
        }
        Ok(filled)
    }

    fn path(&self, text: &str) -> Result<PathBuf> {
        let text = self.fill(text)?;
        Ok(match text.strip_prefix("~/") {
            Some(rest) => self.asked.home.join(rest),
            // As OpenSSH has it, relative paths start where the program was started.
            None => PathBuf::from(text),
        })
    }
}

/// Reads `[user@]host[:port]`, also with `ssh://` before it and an IPv6 address in brackets.
pub(super) fn jump_host(text: &str) -> Option<JumpHost> {
    let text = text.trim();
    let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user).filter(|u| !u.is_empty()).map(Some)?, place),
        None => (None, text),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match place.split_once(':') {
            // More than one colon: an IPv6 address without brackets.
            Some((_, rest)) if rest.contains(':') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|p| *p > 0)?),
        None => None,
    };
    (!host.is_empty()).then(|| JumpHost { user: user.map(str::to_owned), host: host.to_owned(), port })
}

/// Expands `*` and `?` in a path, in the order of names; what does not exist is nothing.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let file = entry.file_name();
                let file = file.to_string_lossy();
                if matches(&name, &file) && (!file.starts_with('.') || name.starts_with('.')) {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.is_file());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(config: &str) -> Place {
            let place = Place(tempfile::tempdir().unwrap());
            place.write("config", config);
            place
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn find(&self, host: &str, user: Option<&str>) -> Result<Found> {
            let asked = Asked {
                host: host.into(),
                user: user.map(Into::into),
                port: None,
                local_user: "me".into(),
                home: "/home/me".into(),
            };
            lookup(&self.0.path().join("config"), &asked)
        }
    }

    #[test]
    fn the_first_value_counts_and_patterns_choose() {
        let place = Place::new(
            "# global\nServerAliveInterval 7\nHost web* !web9\n  HostName %h.example.org\n  User deploy\n  Port=2222\n  \
             IdentityFile ~/.ssh/%r-%n\nHost web9\n  User nine\nHost *\n  User nobody\n  Port 99\n  IdentityFile /k/%h\n  \
             ServerAliveInterval 9\n",
        );
        let web = place.find("web1", None).unwrap();
        assert_eq!(web.host_name.as_deref(), Some("web1.example.org"));
        assert_eq!((web.user.as_deref(), web.port), (Some("deploy"), Some(2222)));
        assert_eq!(web.identity_files, [PathBuf::from("/home/me/.ssh/deploy-web1"), "/k/web1.example.org".into()]);
        assert_eq!(web.server_alive_interval, Some(Duration::from_secs(7)));
        assert_eq!(place.find("web9", None).unwrap().user.as_deref(), Some("nine"));
        let given = place.find("web1", Some("root")).unwrap();
        assert_eq!(given.identity_files[0], PathBuf::from("/home/me/.ssh/root-web1"));
    }

    #[test]
    fn match_blocks_and_includes() {
        let place = Place::new(
            "Include conf.d/*\nMatch originalhost db user admin\n  Port 1\nMatch host *.internal\n  Port 2\nMatch !user root all\n  \
             ConnectTimeout 3\nMatch host nowhere exec \"true\"\n  Port 4\n",
        );
        place.write("conf.d/10-db", "Host db\n  HostName db.internal\n  Include jump\n");
        place.write("conf.d/.hidden", "Port 7\n");
        place.write("jump", "ProxyJump admin@[::1]:23,second\nCiphers +3des-cbc\n");
        let admin = place.find("db", Some("admin")).unwrap();
        assert_eq!(admin.port, Some(1));
        let other = place.find("db", None).unwrap();
        assert_eq!((other.port, other.connect_timeout), (Some(2), Some(Duration::from_secs(3))));
        assert_eq!(
            other.proxy_jump.unwrap(),
            [
                JumpHost { user: Some("admin".into()), host: "::1".into(), port: Some(23) },
                JumpHost { user: None, host: "second".into(), port: None }
            ]
        );
        assert!(other.algorithms.ssh_ciphers.unwrap().contains(&"3des-cbc".into()));
        assert_eq!(place.find("x", Some("root")).unwrap().connect_timeout, None);
    }

    #[test]
    fn what_is_not_supported_is_refused_with_its_place() {
        for (config, expected) in [
            ("Match exec true\n", "config:1: `Match exec` is not supported"),
            ("Host x\nPort many\n", "config:2: port wants a number"),
            ("Port 0\n", "config:1: 0 is not a port"),
            ("ProxyCommand ssh -W %h:%p b\n", "ProxyCommand is not supported"),
            ("ProxyJump a@\n", "is not [user@]host[:port]"),
            ("IdentityFile %Z\n", "the token %Z"),
            ("Include config\n", "too deeply"),
            ("User \"x\n", "config:1: a quote is not closed"),
            ("User\n", "config:1: user wants a value"),
        ] {
            let error = Place::new(config).find("x", None).unwrap_err();
            assert!(error.full_message().contains(expected), "{config:?}: {}", error.full_message());
        }
        // Where it does not apply, it does not matter.
        assert!(Place::new("Host other\nProxyCommand nc\nMatch host other exec x\nPort 1\n").find("x", None).is_ok());
        assert!(Place::new("ProxyCommand none\nStrange thing\nIdentityAgent none\n").find("x", None).is_ok());
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(lines in proptest::collection::vec(
            prop_oneof![
                "\\PC{0,30}",
                "(Host|Match|Port|User|HostName|ProxyJump|IdentityFile|Ciphers|ConnectTimeout|Include)[ =]{1,2}[a-z0-9*!%@:,+.~\"\\[\\]-]{0,12}( [a-z*]{1,4})?",
            ], 0..8)) {
            let _ = Place::new(&lines.join("\n")).find("host", None);
        }

        #[test]
        fn jump_hosts_round_trip(user in "[a-z]{0,5}", host in "[a-z0-9.]{1,10}", port in 0u16..) {
            let mut text = String::new();
            if !user.is_empty() {
                text.push_str(&format!("{user}@"));
            }
            text.push_str(&host);
            if port > 0 {
                text.push_str(&format!(":{port}"));
            }
            let hop = jump_host(&text).unwrap();
            prop_assert_eq!(hop.user.unwrap_or_default(), user);
            prop_assert_eq!(hop.host, host);
            prop_assert_eq!(hop.port.unwrap_or(0), port);
        }
    }
}
