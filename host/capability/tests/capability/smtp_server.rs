//! A small SMTP server on loopback: enough of the protocol to take a mail, or to refuse one anywhere in it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is answered to a client that has just connected.
pub const GREETING: &str = "greeting";
/// What is answered to a mail's content.
pub const CONTENT: &str = "content";
/// The answer that is none: the server says nothing and listens on.
pub const SILENCE: &str = "";

/// Answers that differ from the usual ones, by the verb that they are given to.
pub type Answers = &'static [(&'static str, &'static str)];

/// The server; it ends when this is dropped.
pub struct SmtpServer {
    /// Where it listens.
    pub port: u16,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
}

/// What clients have said.
#[derive(Default)]
struct Heard {
    mails: Mutex<Vec<String>>,
    lines: watch::Sender<Vec<String>>,
}

impl SmtpServer {
    /// Starts a server that takes a mail but for these answers.
    pub async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Heard> = Arc::default();
        let kept = heard.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = serve(stream, answers, &kept).await;
            }
        });
        Self { port, heard, task }
    }

    /// The mails it has taken or refused, as they came.
    pub fn mails(&self) -> Vec<String> {
        self.heard.mails.lock().unwrap().clone()
    }

    /// Waits until a client has said this line.
    pub async fn has_heard(&self, line: &str) {
        let mut lines = self.heard.lines.subscribe();
        lines.wait_for(|lines| lines.iter().any(|said| said == line)).await.unwrap();
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, answers: Answers, heard: &Heard) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let usual = |verb: &str| match verb {
        GREETING => "220 test",
        CONTENT => "250 taken",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        _ => "250 ok",
    };
    let answer = |verb: &str| {
        let other = answers.iter().find(|(of, _)| *of == verb);
        other.map_or(usual(verb), |(_, answer)| *answer)
    };
    let mut reply = answer(GREETING);
    loop {
        if reply != SILENCE {
            writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        if reply.starts_with("354") {
            let mut mail = String::new();
            while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                mail.push_str(&line);
                mail.push('\n');
            }
            heard.mails.lock().unwrap().push(mail);
            reply = answer(CONTENT);
            continue;
        }
        let Some(line) = lines.next_line().await? else { return Ok(()) };
        reply = answer(&line.split(' ').next().unwrap_or_default().to_ascii_uppercase());
        heard.lines.send_modify(|lines| lines.push(line));
    }
}
