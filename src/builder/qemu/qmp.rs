//! A small client of QEMU's machine protocol (QMP): commands matched to their answers by id, events broadcast.

use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::{Mutex as AsyncMutex, broadcast, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Context, Error, Kind, Result};

/// No honest message comes near this; a longer line ends the connection instead of the host's memory.
const MAX_LINE: u64 = 16 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Something QEMU said without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `STOP`, `RESET`, `SHUTDOWN`, …
    pub name: String,
    pub data: Value,
}

/// One line of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Greeting,
    /// The answer to the command with this id.
    Answer(u64, std::result::Result<Value, String>),
    Event(Event),
    /// Not a message of the protocol, or one that nobody asked for.
    Other,
}

/// Reads one line. Anything that is not understood is [`Line::Other`].
pub fn parse(line: &[u8]) -> Line {
    let Ok(Value::Object(mut message)) = serde_json::from_slice::<Value>(line) else { return Line::Other };
    if message.contains_key("QMP") {
        return Line::Greeting;
    }
    if let Some(Value::String(name)) = message.get("event") {
        let name = name.clone();
        return Line::Event(Event { name, data: message.remove("data").unwrap_or(Value::Null) });
    }
    let Some(id) = message.get("id").and_then(Value::as_u64) else { return Line::Other };
    if let Some(answer) = message.remove("return") {
        return Line::Answer(id, Ok(answer));
    }
    match message.get("error") {
        Some(error) => {
            let description = error.get("desc").and_then(Value::as_str).unwrap_or("an error without description");
            Line::Answer(id, Err(description.to_owned()))
        }
        None => Line::Other,
    }
}

type Pending = HashMap<u64, oneshot::Sender<std::result::Result<Value, String>>>;

struct Shared {
    writer: AsyncMutex<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The same connection, where it is one that descriptors can be passed over.
    passing: Option<UnixStream>,
    /// None once the connection is gone.
    pending: Mutex<Option<Pending>>,
    events: broadcast::Sender<Event>,
    next: AtomicU64,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        match self.pending.lock() {
            Ok(pending) => pending,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Shared {
    /// Sends a line, and with its first byte a descriptor. One that was sent in part makes the connection useless: what
    /// follows would be taken for its end.
    async fn send(&self, line: &[u8], descriptor: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
        let mut writer = self.writer.lock().await;
        let mut writing = Writing { shared: self, is_whole: false };
        let sent = match descriptor {
            Some(descriptor) => self.send_with(line, descriptor).await?,
            None => 0,
        };
        writer.write_all(line.get(sent..).unwrap_or_default()).await?;
        writing.is_whole = true;
        Ok(())
    }

    /// Sends what there is room for of a line with a descriptor, and returns how much that was.
    async fn send_with(&self, line: &[u8], descriptor: BorrowedFd<'_>) -> std::io::Result<usize> {
        let passing = self.passing.as_ref().ok_or(std::io::ErrorKind::Unsupported)?;
        let descriptors = [descriptor];
        let send = || {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let sent = rustix::net::sendmsg(passing, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL);
            sent.map_err(std::io::Error::from)
        };
        passing.async_io(Interest::WRITABLE, send).await
    }
}

struct Writing<'a> {
    shared: &'a Shared,
    is_whole: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.shared.pending().take();
        }
    }
}

/// A connection to one QEMU. Clones share it; the reader ends with the connection.
#[derive(Clone)]
pub struct Qmp {
    shared: Arc<Shared>,
    _reader: Arc<AbortOnDropHandle<()>>,
}

impl Qmp {
    /// Waits for the greeting on a fresh connection and opens the command mode. Subscribe to the events that the
    /// returned receiver hears before telling the machine to run.
    pub async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Result<(Qmp, broadcast::Receiver<Event>)> {
        Qmp::open_with(stream, None).await
    }

    /// The same over a socket, which descriptors can be passed over as well.
    pub async fn open_socket(socket: UnixStream) -> Result<(Qmp, broadcast::Receiver<Event>)> {
        let cannot = "cannot watch QEMU's control connection";
        let again = socket.as_fd().try_clone_to_owned().context(Kind::Host, cannot)?;
        let passing = UnixStream::from_std(again.into()).context(Kind::Host, cannot)?;
        Qmp::open_with(socket, Some(passing)).await
    }

    async fn open_with(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        passing: Option<UnixStream>,
    ) -> Result<(Qmp, broadcast::Receiver<Event>)> {
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        loop {
            let line = read_line(&mut reader)
                .await
                .context(Kind::Machine, "QEMU's control connection broke")?
                .ok_or_else(|| Error::new(Kind::Machine, "QEMU closed its control connection"))?;
            if parse(&line) == Line::Greeting {
                break;
            }
        }
        let (events, receiver) = broadcast::channel(256);
        let shared = Arc::new(Shared {
            writer: AsyncMutex::new(Box::new(writer)),
            passing,
            pending: Mutex::new(Some(HashMap::new())),
            events,
            next: AtomicU64::new(1),
        });
        let reading = tokio::spawn(read(reader, shared.clone()));
        let qmp = Qmp { shared, _reader: Arc::new(AbortOnDropHandle::new(reading)) };
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok((qmp, receiver))
    }

    /// Sends a command and waits for its answer.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        self.execute_within(ANSWER_LIMIT, command, arguments, None).await
    }

    /// Gives QEMU a descriptor, which commands can then name.
    pub async fn pass(&self, name: &str, descriptor: impl AsFd) -> Result<()> {
        let arguments = json!({ "fdname": name });
        self.execute_within(ANSWER_LIMIT, "getfd", arguments, Some(descriptor.as_fd())).await.map(drop)
    }

    async fn execute_within(
        &self,
        limit: Duration,
        command: &str,
        arguments: Value,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Value> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let gone = || Error::new(Kind::Machine, format!("QEMU is gone; it cannot be told `{command}`"));
        let (tx, rx) = oneshot::channel();
        self.shared.pending().as_mut().ok_or_else(gone)?.insert(id, tx);
        // However this ends, nobody waits for the answer any more.
        let _forget = Forget { shared: &self.shared, id };
        let mut message = json!({ "execute": command, "id": id });
        if let (Value::Object(message), false) = (&mut message, arguments.is_null()) {
            message.insert("arguments".into(), arguments);
        }
        let mut line = message.to_string();
        line.push('\n');
        // A QEMU that hangs does not read either.
        let answered = tokio::time::timeout(limit, async {
            self.shared.send(line.as_bytes(), descriptor).await.map_err(|e| gone().caused_by(e))?;
            rx.await.map_err(|_| gone())
        });
        match answered.await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(description))) => {
                Err(Error::new(Kind::Machine, format!("QEMU refused `{command}`: {description}")))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::new(Kind::Machine, format!("QEMU did not answer `{command}` within {limit:?}"))),
        }
    }

    /// Returns the machine's state: `running`, `paused`, `internal-error`, …
    pub async fn status(&self) -> Result<String> {
        let answer = self.execute("query-status", Value::Null).await?;
        Ok(answer.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }

    /// Hears the events from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.shared.pending().as_mut() {
            pending.remove(&self.id);
        }
    }
}

/// Reads a line with its end; none at the end of the connection, or when a line is too long.
pub(crate) async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = (&mut *reader).take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if read == 0 || (read as u64 == MAX_LINE && line.last() != Some(&b'\n')) {
        return Ok(None);
    }
    Ok(Some(line))
}

async fn read(mut reader: impl AsyncBufReadExt + Unpin, shared: Arc<Shared>) {
    while let Ok(Some(line)) = read_line(&mut reader).await {
        match parse(&line) {
            Line::Answer(id, answer) => {
                let waiting = shared.pending().as_mut().and_then(|pending| pending.remove(&id));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(answer);
                }
            }
            Line::Event(event) => {
                tracing::debug!(event = %event.name, data = %event.data, "QMP");
                let _ = shared.events.send(event);
            }
            Line::Greeting | Line::Other => {
                tracing::debug!(line = %String::from_utf8_lossy(&line), "QMP line not understood");
            }
        }
    }
    // Whoever waits for an answer learns that there will be none.
    shared.pending().take();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tells_answers_events_and_nonsense_apart() {
        assert_eq!(parse(br#"{"QMP": {"version": {}, "capabilities": []}}"#), Line::Greeting);
        assert_eq!(parse(br#"{"return": {"a": 1}, "id": 7}"#), Line::Answer(7, Ok(json!({ "a": 1 }))));
        let refused = parse(br#"{"error": {"class": "GenericError", "desc": "no"}, "id": 8}"#);
        assert_eq!(refused, Line::Answer(8, Err("no".into())));
        let event = parse(br#"{"event": "RESET", "data": {"guest": true}}"#);
        assert_eq!(event, Line::Event(Event { name: "RESET".into(), data: json!({ "guest": true }) }));
        for other in ["", "[]", "{}", "{\"return\": {}}", "{\"id\": -1, \"return\": 1}", "\u{fffd}"] {
            assert_eq!(parse(other.as_bytes()), Line::Other, "{other}");
        }
    }

    #[tokio::test]
    async fn an_event_before_the_answer_and_nonsense_between_do_no_harm() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            let mut server = BufReader::new(theirs);
            server.write_all(b"nonsense\n{\"QMP\": {}}\n").await.unwrap();
            for _ in 0..3 {
                let line = read_line(&mut server).await.unwrap().unwrap();
                let command: Value = serde_json::from_slice(&line).unwrap();
                let id = command["id"].as_u64().unwrap();
                let answer = match command["execute"].as_str().unwrap() {
                    "bad" => json!({ "error": { "desc": "not so" }, "id": id }),
                    _ => json!({ "return": { "status": "running" }, "id": id }),
                };
                let text = format!("{{\"event\": \"E{id}\"}}\n\0\u{1}\n{{\"return\": 1, \"id\": 999}}\n{answer}\n");
                server.write_all(text.as_bytes()).await.unwrap();
            }
        });
        let (qmp, mut events) = Qmp::open(ours).await.unwrap();
        assert_eq!(qmp.status().await.unwrap(), "running");
        assert!(qmp.execute("bad", Value::Null).await.unwrap_err().message().contains("not so"));
        for name in ["E1", "E2", "E3"] {
            assert_eq!(events.recv().await.unwrap().name, name);
        }
        server.await.unwrap();
        assert_eq!(qmp.status().await.unwrap_err().kind(), Kind::Machine);
    }

    /// A QEMU that greets, takes `qmp_capabilities`, and then does as it is told.
    async fn peer<F: Future<Output = ()> + Send + 'static>(
        then: impl FnOnce(BufReader<tokio::io::DuplexStream>) -> F + Send + 'static,
    ) -> (Qmp, tokio::task::JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            let mut server = BufReader::new(theirs);
            server.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            read_line(&mut server).await.unwrap().unwrap();
            server.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
            then(server).await;
        });
        (Qmp::open(ours).await.unwrap().0, server)
    }

    #[tokio::test]
    async fn what_does_not_greet_is_no_qemu() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            theirs.write_all(b"SSH-2.0-other\r\n\xff\n{\"return\": {}, \"id\": 1}\n{\"QMP\"").await.unwrap();
        });
        let error = Qmp::open(ours).await.err().unwrap();
        assert!(error.message().contains("QEMU closed its control connection"), "{error}");
        server.await.unwrap();
        // Nothing at all, and a line without an end.
        let (ours, theirs) = tokio::io::duplex(4096);
        assert!(tokio::time::timeout(Duration::from_millis(50), Qmp::open(ours)).await.is_err());
        drop(theirs);
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move { while theirs.write_all(&[b'x'; 4096]).await.is_ok() {} });
        let error = Qmp::open(ours).await.err().unwrap();
        assert!(error.message().contains("QEMU closed its control connection"), "{error}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_ends_in_mid_answer_or_never_ends_a_line_is_gone() {
        let (qmp, server) = peer(|mut server| async move {
            read_line(&mut server).await.unwrap().unwrap();
            server.write_all(b"{\"return\": {\"status\"").await.unwrap();
        })
        .await;
        assert!(qmp.status().await.unwrap_err().message().contains("QEMU is gone"));
        server.await.unwrap();
        let (qmp, server) = peer(|mut server| async move {
            let flood = [b'x'; 4096];
            while server.write_all(&flood).await.is_ok() {}
        })
        .await;
        assert!(qmp.status().await.unwrap_err().message().contains("QEMU is gone"));
        drop(qmp);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_neither_reads_nor_answers_is_a_timeout_and_then_gone() {
        let (qmp, server) = peer(|server| async move {
            std::future::pending::<()>().await;
            drop(server);
        })
        .await;
        let limit = Duration::from_millis(50);
        let error = qmp.execute_within(limit, "query-status", Value::Null, None).await.unwrap_err();
        assert!(error.message().contains("did not answer `query-status` within 50ms"), "{error}");
        // More than the connection holds: it cannot even be said.
        let error =
            qmp.execute_within(limit, "human-monitor-command", json!("x".repeat(10_000)), None).await.unwrap_err();
        assert!(error.message().contains("did not answer"), "{error}");
        // Half a command is on its way, and nothing more can be said.
        assert!(qmp.status().await.unwrap_err().message().contains("QEMU is gone"));
        server.abort();
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_near_misses(key in "(QMP|event|return|error|id|data)", value in "(null|1|-1|\"x\"|\\{\\}|\\[\\]|1e99)", id in any::<i64>()) {
            let _ = parse(format!("{{\"{key}\": {value}, \"id\": {id}}}").as_bytes());
        }
    }
}
