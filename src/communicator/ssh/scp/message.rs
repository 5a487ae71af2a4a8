//! What the two ends say to each other.
//!
//! There is no standard. The source sends lines: `C0644 5 name` and five bytes of content, `D0755 0 name` to enter a
//! folder, `E` to leave it, `T1000000000 0 1000000000 0` before either for its times. The sink answers each line, and
//! each content, which ends in a zero byte, with a zero byte; 1 or 2 begin a line that says what is wrong, and 2 ends it
//! all. As rcp(1) of 4.2BSD did it, and OpenSSH's scp with `-O` does still.

/// A line of the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Times {
        modified: u64,
    },
    File {
        mode: u32,
        size: u64,
        name: String,
    },
    Folder {
        mode: u32,
        name: String,
    },
    Leave,
    /// Something was left out, and why.
    Warning(String),
    /// The source gives up.
    Fatal(String),
}

/// No name that a file system takes is longer.
pub(super) const LONGEST_LINE: usize = 8 << 10;

impl Message {
    /// Reads a line, which comes without its newline. Names that lead elsewhere are refused here.
    pub(crate) fn parse(line: &[u8]) -> Result<Message, String> {
        let shown = || String::from_utf8_lossy(line).chars().take(80).collect::<String>();
        let bad = || format!("it sent {:?}, which is no message of the scp protocol", shown());
        let (kind, rest) = line.split_first().ok_or_else(bad)?;
        let text = || String::from_utf8_lossy(rest).trim().to_owned();
        match kind {
            1 => Ok(Message::Warning(text())),
            2 => Ok(Message::Fatal(text())),
            b'E' if rest.is_empty() => Ok(Message::Leave),
            b'T' => {
                let text = std::str::from_utf8(rest).map_err(|_| bad())?;
                let fields: Vec<u64> = text
                    .split(' ')
                    .map(digits)
                    .collect::<Option<_>>()
                    .filter(|f: &Vec<u64>| f.len() == 4)
                    .ok_or_else(bad)?;
                Ok(Message::Times { modified: fields.first().copied().unwrap_or_default() })
            }
            b'C' | b'D' => {
                let text = std::str::from_utf8(rest)
                    .map_err(|_| format!("it sent a name that is not UTF-8: {:?}", shown()))?;
                let mut fields = text.splitn(3, ' ');
                let mut next = || fields.next().ok_or_else(bad);
                let (mode, size, name) = (next()?, next()?, next()?);
                if !(3..=5).contains(&mode.len()) || !mode.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
                    return Err(bad());
                }
                let mode = u32::from_str_radix(mode, 8).map_err(|_| bad())? & 0o7777;
                let size = digits(size).ok_or_else(bad)?;
                if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
                    return Err(format!("it sent a file that is not taken: {name:?} (its name leads elsewhere)"));
                }
                let name = name.to_owned();
                Ok(if *kind == b'C' { Message::File { mode, size, name } } else { Message::Folder { mode, name } })
            }
            _ => Err(bad()),
        }
    }

    /// Returns the line with its newline. A name must not hold one.
    pub(crate) fn line(&self) -> String {
        match self {
            Message::Times { modified } => format!("T{modified} 0 {modified} 0\n"),
            Message::File { mode, size, name } => format!("C{mode:04o} {size} {name}\n"),
            Message::Folder { mode, name } => format!("D{mode:04o} 0 {name}\n"),
            Message::Leave => "E\n".to_owned(),
            Message::Warning(text) => format!("\u{1}{text}\n"),
            Message::Fatal(text) => format!("\u{2}{text}\n"),
        }
    }
}

/// Reads a number that is nothing but digits, and one a file can have as its size.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u64>().ok().filter(|&n| plain && i64::try_from(n).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_openssh_sends() {
        let file = Message::File { mode: 0o644, size: 12, name: "a b".into() };
        assert_eq!(Message::parse(b"C0644 12 a b"), Ok(file));
        assert_eq!(Message::parse(b"D0755 0 etc"), Ok(Message::Folder { mode: 0o755, name: "etc".into() }));
        assert_eq!(Message::parse(b"T1000000000 0 1000000001 0"), Ok(Message::Times { modified: 1_000_000_000 }));
        assert_eq!(Message::parse(b"E"), Ok(Message::Leave));
        let warning = Message::Warning("scp: /no: No such file or directory".into());
        assert_eq!(Message::parse(b"\x01scp: /no: No such file or directory"), Ok(warning));
    }

    #[test]
    fn refuses_what_leads_elsewhere_or_lies() {
        for line in [
            "C0644 1 ../evil",
            "C0644 1 /etc/passwd",
            "C0644 1 ..",
            "D0755 0 .",
            "C0644 1 ",
            "C0644 -1 x",
            "C0644 99999999999999999999 x",
            "C0644 9999999999999999999 x",
            "C9644 1 x",
            "C 1 x",
            "C0644 1",
            "D0755 0 a/b",
            "E1",
            "X",
            "",
            "T1 0 1",
            "T1 0 1 0 1",
            "T-1 0 1 0",
            "C+644 1 x",
        ] {
            assert!(Message::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Message::parse(&line);
        }

        #[test]
        fn what_is_sent_is_understood(mode in 0u32..0o10000, size in 0u64..=i64::MAX as u64, name in "[^/\0\n]{1,30}") {
            prop_assume!(name != "." && name != "..");
            for message in [
                Message::File { mode, size, name: name.clone() },
                Message::Folder { mode, name: name.clone() },
                Message::Times { modified: size },
            ] {
                let line = message.line();
                prop_assert_eq!(Message::parse(line.trim_end_matches('\n').as_bytes()), Ok(message));
            }
        }
    }
}
