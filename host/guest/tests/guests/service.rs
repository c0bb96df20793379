//! A service that a guest calls by HTTP: it keeps what it was asked, and answers by the path.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its first line.
    pub line: String,
    /// Its headers, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Seen {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The service. It ends with its test.
pub struct Service {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    // A client that goes away ends its own connection alone.
                    let _ = serve(stream, address, &kept).await;
                });
            }
        });
        Self { address, seen }
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let Some(request) = read(&mut stream).await? else { return Ok(()) };
    let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(request);
    let fine = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    match path.rsplit_once('/').unwrap_or_default() {
        ("/large", bytes) => {
            let body = "x".repeat(bytes.parse().unwrap_or(0));
            stream
                .write_all(format!("{fine}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await?;
        }
        ("/headers", bytes) => {
            let many = "x".repeat(bytes.parse().unwrap_or(0));
            let headers = format!("content-length: 4\r\nx-many: {many}\r\n\r\nfine");
            stream.write_all(format!("{fine}{headers}").as_bytes()).await?;
        }
        ("", "endless") => {
            stream.write_all(format!("{fine}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes()).await?;
            }
        }
        ("", "silent") => tokio::time::sleep(Duration::from_secs(600)).await,
        ("", "stall") => {
            stream.write_all(format!("{fine}content-length: 10\r\n\r\nabc").as_bytes()).await?;
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        ("", "broken") => stream.write_all(format!("{fine}content-length: 10\r\n\r\nabc").as_bytes()).await?,
        ("", "elsewhere") => {
            let there = format!(
                "HTTP/1.1 302 Found\r\nlocation: http://{address}/secret\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(there.as_bytes()).await?;
        }
        ("/slow", ms) => {
            tokio::time::sleep(Duration::from_millis(ms.parse().unwrap_or(0))).await;
            stream.write_all(format!("{fine}content-length: 4\r\n\r\nlate").as_bytes()).await?;
        }
        _ => stream.write_all(format!("{fine}content-length: 4\r\n\r\nfine").as_bytes()).await?,
    }
    stream.shutdown().await
}

/// Reads one request; none if the client went away before.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let header =
        |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Ok(Some(Seen { line, headers, body }))
}
