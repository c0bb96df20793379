//! A real SMTP server on loopback that keeps what it takes, so that a test can count Message-IDs.
//!
//! One thread waits for connections, one serves each connection until the client leaves. The mails have one
//! lock; a mail is kept before the client is told so, so that one whose client dies in between is counted.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest line that is read, in bytes; mails of tests have shorter ones.
const LINE_BYTES: u64 = 64 * 1024;

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenMail {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Its Message-ID, without angle brackets; empty if it has none.
    pub message_id: String,
    /// The recipients of its envelope.
    pub to: Vec<String>,
    /// The message with its headers.
    pub message: String,
}

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct SmtpServer {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    mails: Mutex<Vec<TakenMail>>,
    ends: AtomicBool,
    /// Mails that were offered, and each how many is put off; 0 for none.
    offered: AtomicU64,
    puts_off_each: u64,
}

impl SmtpServer {
    /// Starts one on a free port that takes each mail.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_that_puts_off(0)
    }

    /// Starts one that answers each so-manieth offer of a mail with 451: it has to come again later.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start_that_puts_off(each: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            mails: Mutex::default(),
            ends: AtomicBool::new(false),
            offered: AtomicU64::new(0),
            puts_off_each: each,
        });
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if own.ends.load(Ordering::SeqCst) {
                    break;
                }
                let own = own.clone();
                // It ends with its client, or at its next mail once the server has ended.
                std::thread::spawn(move || own.serve(&stream));
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails that it took, as they came.
    #[must_use]
    pub fn mails(&self) -> Vec<TakenMail> {
        self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this one ends it.
        let woken = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// A client that leaves in the middle has said nothing more.
    fn serve(&self, stream: &TcpStream) {
        let _left = self.converse(stream);
        let _closed = stream.shutdown(Shutdown::Both);
    }

    fn converse(&self, stream: &TcpStream) -> std::io::Result<()> {
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        let mut to = Vec::new();
        writer.write_all(b"220 keylane-test\r\n")?;
        while let Some(line) = line(&mut reader)? {
            if self.ends.load(Ordering::SeqCst) {
                return Ok(());
            }
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let answer = match verb.to_ascii_uppercase().as_str() {
                "EHLO" | "HELO" => "250 keylane-test",
                "MAIL" => {
                    to.clear();
                    "250 ok"
                }
                "RCPT" => {
                    to.push(address(rest));
                    "250 ok"
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n")?;
                    let Some(message) = message(&mut reader)? else { return Ok(()) };
                    self.offer(std::mem::take(&mut to), message)
                }
                "RSET" | "NOOP" => "250 ok",
                "QUIT" => {
                    writer.write_all(b"221 bye\r\n")?;
                    return Ok(());
                }
                _ => "502 unknown",
            };
            writer.write_all(format!("{answer}\r\n").as_bytes())?;
        }
        Ok(())
    }

    /// Takes a mail or puts it off; the answer.
    fn offer(&self, to: Vec<String>, message: String) -> &'static str {
        let offered = self.offered.fetch_add(1, Ordering::SeqCst) + 1;
        if offered.checked_rem(self.puts_off_each) == Some(0) {
            return "451 come again later";
        }
        let message_id = header(&message, "message-id").trim_matches(['<', '>']).to_owned();
        let mail = TakenMail { at_ms: now_ms(), message_id, to, message };
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        "250 taken"
    }
}

/// A line without its end; none where the client has left.
fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    std::io::Read::take(&mut *reader, LINE_BYTES).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// All up to a dot that stands alone; none where the client left before that.
fn message(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut message = String::new();
    while let Some(line) = line(reader)? {
        if line == "." {
            return Ok(Some(message));
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        message.push('\n');
    }
    Ok(None)
}

/// What stands between angle brackets in `TO:<a@example.org>`.
fn address(text: &str) -> String {
    let from = text.find('<').map_or(0, |at| at + 1);
    let inner = text.get(from..).unwrap_or_default();
    inner.split('>').next().unwrap_or_default().to_owned()
}

/// The first value of a header, by its name in small letters; empty if there is none.
fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let head = message.lines().take_while(|line| !line.is_empty());
    let mut headers = head.filter_map(|line| line.split_once(':'));
    headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says these, each of which is answered, and answers the codes of the answers.
    fn said(server: &SmtpServer, lines: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut code = || line(&mut reader).unwrap().map(|line| line[..3].to_owned());
        let mut codes = vec![code().unwrap()];
        for line in lines {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            codes.extend(code());
        }
        codes
    }

    const MAIL: [&str; 6] = [
        "EHLO x",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.org>",
        "DATA",
        ".Subject: x\r\nMessage-ID: <one@x>\r\n\r\n..dotted\r\nMessage-ID: <two@x>\r\n.",
        "QUIT",
    ];

    #[test]
    fn a_mail_is_taken_with_its_message_id() {
        let server = SmtpServer::start().unwrap();
        assert_eq!(said(&server, &MAIL), ["220", "250", "250", "250", "354", "250", "221"]);
        assert_eq!(said(&server, &["NONSENSE", "DATA"]), ["220", "502", "354"]);
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "one that broke off is no mail");
        assert_eq!(
            (mails[0].message_id.as_str(), &mails[0].to),
            ("one@x", &vec!["b@example.org".to_owned()])
        );
        assert_eq!(mails[0].message, "Subject: x\nMessage-ID: <one@x>\n\n.dotted\nMessage-ID: <two@x>\n");
    }

    #[test]
    fn each_so_manieth_offer_is_put_off() {
        let server = SmtpServer::start_that_puts_off(2).unwrap();
        let answers: Vec<_> = (0..4).map(|_| said(&server, &MAIL)[5].clone()).collect();
        assert_eq!(
            (answers, server.mails().len()),
            (["250", "451", "250", "451"].map(str::to_owned).into(), 2)
        );
    }
}
