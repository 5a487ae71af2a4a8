//! Colours and signs, or their absence.

/// How text is decorated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    /// Whether the terminal's encoding has more than ASCII.
    pub unicode: bool,
}

/// The colours of build names, in the order builds start. Red and yellow are kept for what is wrong.
const NAME_COLORS: [&str; 6] = ["36", "35", "34", "32", "96", "95"];

impl Style {
    /// No decoration at all: files and pipes.
    pub const PLAIN: Style = Style { color: false, unicode: false };

    /// Returns the style for a terminal, from the locale and what the user wants.
    pub fn terminal(no_color: bool) -> Style {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        // No locale at all is the rule in containers, whose terminal is the user's own and knows UTF-8.
        let unicode = locale.is_none_or(|value| {
            let value = value.to_string_lossy().to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
        Style { color: !no_color, unicode }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Returns the text in bold.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Returns the text in a faint colour.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Returns the text in the colour of success.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Returns the text in the colour of warnings.
    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Returns the text in the colour of failure.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Colours a build's name by its number.
    pub fn name(self, index: usize, text: &str) -> String {
        self.paint(NAME_COLORS.get(index % NAME_COLORS.len()).unwrap_or(&"36"), text)
    }

    /// Returns the sign of something that went well, with a space after it; words say it where there is no sign.
    pub fn tick(self) -> String {
        if self.unicode { format!("{} ", self.good("✓")) } else { String::new() }
    }

    /// Returns the mark of a failure.
    pub fn cross(self) -> String {
        if self.unicode { format!("{} ", self.bad("✗")) } else { String::new() }
    }

    /// Returns the line that stands before quoted output.
    pub fn bar(self) -> &'static str {
        if self.unicode { "│" } else { "|" }
    }
}
