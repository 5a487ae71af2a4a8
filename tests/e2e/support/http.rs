//! A small HTTP server that lies, stalls and hangs up as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as it came, header names in lower case.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The length to claim, where it is not the body's.
    pub claimed: Option<usize>,
    /// Send this much of the body, then nothing more, without hanging up.
    pub stall_after: Option<usize>,
    /// Send nothing at all, without hanging up.
    pub silent: bool,
    /// Do not say how long the body is: its end is that of the connection.
    pub unmeasured: bool,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            claimed: None,
            stall_after: None,
            silent: false,
            unmeasured: false,
        }
    }

    pub fn status(status: u16) -> Answer {
        Answer { status, ..Answer::ok("") }
    }

    /// Answers a request for `body`, or for the end of it, as a good server does.
    pub fn ranged(request: &Request, body: &[u8]) -> Answer {
        let start = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let start = start.and_then(|range| range.strip_suffix('-')).and_then(|start| start.parse::<usize>().ok());
        match start {
            Some(start) => Answer {
                status: 206,
                headers: vec![("content-range", format!("bytes {start}-{}/{}", body.len() - 1, body.len()))],
                ..Answer::ok(body.get(start..).unwrap_or_default())
            },
            None => Answer::ok(body),
        }
    }
}

/// The server; it ends with the value.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts one on a free port; `answer` is given each request and how many came before it.
    pub async fn start(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                connections.spawn(async move {
                    let _ = serve(stream, &seen, &*answer).await;
                });
            }
        });
        Server { address, requests, _tasks: tasks }
    }

    /// Returns the value of a header of each request so far.
    pub fn header(&self, name: &str) -> Vec<Option<String>> {
        self.requests().iter().map(|request| request.headers.get(name).cloned()).collect()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test thread has panicked").clone()
    }
}

async fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request, usize) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let request = Request { method, path, headers, body };
    let before = {
        let mut seen = seen.lock().expect("no test thread has panicked");
        seen.push(request.clone());
        seen.len() - 1
    };
    let answer = answer(&request, before);
    if answer.silent {
        std::future::pending::<()>().await;
    }
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", answer.status);
    if !answer.unmeasured {
        head.push_str(&format!("content-length: {}\r\n", answer.claimed.unwrap_or(answer.body.len())));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let sent = answer.stall_after.unwrap_or(answer.body.len());
    stream.write_all(answer.body.get(..sent).unwrap_or(&answer.body)).await?;
    stream.flush().await?;
    if answer.stall_after.is_some() {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await
}
