//! A machine's screen: the graphics card, a window, a VNC server to look on.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::json;

use super::network::random;
use super::options::wrong;
use super::qmp::Qmp;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// A machine's screen. Names are Packer's.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DisplayOptions {
    /// Whether no window is shown. Default true.
    pub headless: Option<bool>,
    /// QEMU's display (`gtk`, `sdl`, `vnc=:1`, `none`), which has precedence over `headless`.
    pub display: Option<String>,
    /// Whether QEMU chooses the display.
    pub use_default_display: bool,
    /// The graphics card: `std` (default), `virtio`, `qxl`, `vmware`, `cirrus` or `none`. On machines that are no PC the
    /// default is `virtio`.
    pub vga: Option<String>,
    /// The address of a VNC server for the screen. Any of the `vnc_…` options turns it on. Default `127.0.0.1`.
    pub vnc_bind_address: Option<IpAddr>,
    /// The lowest port of the VNC server, 5900 or above. Default 5900.
    pub vnc_port_min: Option<u16>,
    /// The highest port of the VNC server. Default 6000.
    pub vnc_port_max: Option<u16>,
    /// Whether the VNC server asks for a password: `vnc_password`, or a random one that is shown when the machine starts.
    pub vnc_use_password: bool,
    /// The VNC server's password, of at most 8 characters.
    pub vnc_password: Option<String>,
}

impl std::fmt::Debug for DisplayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password must not reach a log.
        f.debug_struct("DisplayOptions").field("display", &self.display).field("vga", &self.vga).finish_non_exhaustive()
    }
}

/// The first display's port; QEMU counts displays from there.
const FIRST: u16 = 5900;
/// VNC's authentication uses the password as a DES key of 8 bytes (RFC 6143, section 7.2.2).
const PASSWORD_LENGTH: usize = 8;

impl DisplayOptions {
    fn has_vnc(&self) -> bool {
        self.vnc_bind_address.is_some()
            || self.vnc_port_min.is_some()
            || self.vnc_port_max.is_some()
            || self.has_password()
    }

    fn has_password(&self) -> bool {
        self.vnc_use_password || self.vnc_password.is_some()
    }

    fn ports(&self) -> (u16, u16) {
        let min = self.vnc_port_min.unwrap_or(FIRST);
        (min, self.vnc_port_max.unwrap_or(6000.max(min)))
    }

    /// Checks what can be known before anything starts, and registers the password as a secret.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        for (name, text) in [("display", &self.display), ("vga", &self.vga)] {
            if text.as_deref().is_some_and(str::is_empty) {
                return Err(wrong(name, "is empty"));
            }
        }
        let (min, max) = self.ports();
        if min < FIRST {
            return Err(wrong("vnc_port_min", format!("{min} is below {FIRST}, where QEMU's displays begin")));
        }
        if min > max {
            return Err(wrong("vnc_port_min", format!("{min} is above vnc_port_max, {max}")));
        }
        if let Some(password) = &self.vnc_password {
            cx.ui.secrets().add(password);
            if password.is_empty() || password.len() > PASSWORD_LENGTH {
                let found = password.len();
                return Err(wrong("vnc_password", format!("expected 1 to {PASSWORD_LENGTH} bytes, found {found}"))
                    .hint("the VNC protocol takes no more"));
            }
        }
        Ok(())
    }

    /// Returns the `-display` argument; none leaves it to QEMU.
    pub fn display(&self) -> Option<String> {
        match (&self.display, self.headless.unwrap_or(true)) {
            _ if self.use_default_display => None,
            (Some(display), _) => Some(display.clone()),
            (None, true) => Some("none".into()),
            (None, false) => Some("gtk".into()),
        }
    }

    /// Returns the `-vnc` argument, where there is a server to be.
    pub fn vnc(&self) -> Option<String> {
        if !self.has_vnc() {
            return None;
        }
        let address = self.vnc_bind_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        let (min, max) = self.ports();
        let mut argument = format!("{host}:{}", min - FIRST);
        // QEMU takes the first port of the range that is free, which nobody else can take meanwhile.
        if max > min {
            argument.push_str(&format!(",to={}", max - FIRST));
        }
        if self.has_password() {
            argument.push_str(",password=on");
        }
        Some(argument)
    }

    /// Says clearly what QEMU means when it cannot open the VNC server.
    pub fn explain(&self, error: Error) -> Error {
        let (min, max) = self.ports();
        if self.has_vnc() && error.message().contains("vnc") && error.message().contains("Address already in use") {
            return Error::new(Kind::Host, format!("every port from {min} to {max} is taken: there is none for VNC"))
                .hint("widen the range of `vnc_port_min` and `vnc_port_max`");
        }
        error
    }

    /// Sets the VNC server's password and says where it is.
    pub async fn open(&self, qmp: &Qmp, cx: &BuildCx) -> Result<()> {
        if !self.has_vnc() {
            return Ok(());
        }
        let mut said = String::new();
        if self.has_password() {
            let password = self.vnc_password.clone().unwrap_or_else(new_password);
            qmp.execute("set_password", json!({ "protocol": "vnc", "password": password })).await?;
            // It is good for this machine's life only, and whoever watches the build has to know it.
            said = match &self.vnc_password {
                Some(_) => ", with the password of vnc_password".into(),
                None => format!(", password {password}"),
            };
        }
        let server = qmp.execute("query-vnc", serde_json::Value::Null).await?;
        let field = |name: &str| server.get(name).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
        cx.ui.info(format!("the screen is shown by VNC at {}:{}{said}", field("host"), field("service")));
        Ok(())
    }
}

fn new_password() -> String {
    // No letters that are mistaken for others.
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    random::<PASSWORD_LENGTH>()
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()))
        .map(|letter| char::from(*letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vnc_is_there_when_something_is_said_about_it() {
        let mut options = DisplayOptions::default();
        assert_eq!((options.vnc(), options.display().as_deref()), (None, Some("none")));
        options.vnc_use_password = true;
        assert_eq!(options.vnc().unwrap(), "127.0.0.1:0,to=100,password=on");
        options = DisplayOptions { vnc_port_min: Some(7000), ..DisplayOptions::default() };
        assert_eq!(options.vnc().unwrap(), "127.0.0.1:1100");
        options = DisplayOptions { vnc_bind_address: "::1".parse().ok(), vnc_port_max: Some(5900), ..options };
        options.vnc_port_min = None;
        assert_eq!(options.vnc().unwrap(), "[::1]:0");
        options = DisplayOptions { headless: Some(false), use_default_display: true, ..DisplayOptions::default() };
        assert_eq!(options.display(), None);
        assert_eq!(new_password().len(), 8);
        assert!(!format!("{:?}", DisplayOptions { vnc_password: Some("secret".into()), ..options }).contains("secret"));
    }
}
