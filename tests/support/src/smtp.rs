//! A real SMTP server on loopback that keeps what it takes, so that a test can count Message-IDs.
//!
//! One thread waits for connections, one serves each connection until the client leaves. The mails have one
//! lock; a mail is kept before the client is told so, so that one whose client dies in between is counted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::waiting;

/// The longest line that is read, in bytes; mails of tests have shorter ones.
const LINE_BYTES: u64 = 64 * 1024;

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenMail {
    /// When its sender began to speak of it, in milliseconds since the epoch.
    pub begun_ms: u64,
    /// When it was taken.
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
    clients: AtomicUsize,
    /// Mails that were offered, and each how many is put off; 0 for none.
    offered: AtomicU64,
    puts_off_each: u64,
    /// The recipient that has no mailbox here.
    refuses: Option<String>,
}

impl SmtpServer {
    /// Starts one on a free port that takes each mail.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(0, None)
    }

    /// Starts one that answers each so-manieth offer of a mail with 451: it has to come again later.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start_that_puts_off(each: u64) -> anyhow::Result<Self> {
        Self::start_as(each, None)
    }

    /// Starts one that answers 550 to this recipient: no mail to it will ever be taken.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start_that_refuses(recipient: &str) -> anyhow::Result<Self> {
        Self::start_as(0, Some(recipient.to_owned()))
    }

    fn start_as(puts_off_each: u64, refuses: Option<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            mails: Mutex::default(),
            ends: AtomicBool::new(false),
            clients: AtomicUsize::new(0),
            offered: AtomicU64::new(0),
            puts_off_each,
            refuses,
        });
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if own.ends.load(Ordering::SeqCst) {
                    break;
                }
                let own = own.clone();
                own.clients.fetch_add(1, Ordering::SeqCst);
                // It ends with its client, or at its next mail once the server has ended.
                std::thread::spawn(move || {
                    own.serve(&stream);
                    own.clients.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many mails it took.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until no client is connected and all that they have sent is read: also what is still on its way from
    /// one that was killed. Answers how many mails it took.
    ///
    /// # Errors
    /// When a client stays for longer than the limit.
    pub fn taken_when_all_are_gone(&self, limit: Duration) -> anyhow::Result<usize> {
        waiting::until("the mail server's clients are gone", limit, || {
            Ok((self.shared.clients.load(Ordering::SeqCst) == 0).then_some(()))
        })?;
        Ok(self.taken())
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
        let (mut reader, mut writer) = (BufReader::new(Prompt(stream)), stream);
        let (mut to, mut begun_ms) = (Vec::new(), 0);
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
                    begun_ms = now_ms();
                    "250 ok"
                }
                "RCPT" => self.admit(&mut to, address(rest)),
                "DATA" => {
                    writer.write_all(b"354 go on\r\n")?;
                    let Some(message) = message(&mut reader)? else { return Ok(()) };
                    self.offer(begun_ms, std::mem::take(&mut to), message)
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

    /// Takes a recipient or refuses it; the answer.
    fn admit(&self, to: &mut Vec<String>, recipient: String) -> &'static str {
        if self.refuses.as_ref() == Some(&recipient) {
            return "550 no mailbox of this name";
        }
        to.push(recipient);
        "250 ok"
    }

    /// Takes a mail or puts it off; the answer.
    fn offer(&self, begun_ms: u64, to: Vec<String>, message: String) -> &'static str {
        let offered = self.offered.fetch_add(1, Ordering::SeqCst) + 1;
        if offered.checked_rem(self.puts_off_each) == Some(0) {
            return "451 come again later";
        }
        let message_id = header(&message, "message-id").trim_matches(['<', '>']).to_owned();
        let mail = TakenMail { begun_ms, at_ms: now_ms(), message_id, to, message };
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        "250 taken"
    }
}

/// Reads, and has the kernel say so at once. Otherwise a client that sends a mail in two pieces waits 40 ms
/// between them: its second piece for our acknowledgement, and that for something that we have to say.
struct Prompt<'a>(&'a TcpStream);

impl Read for Prompt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        // What was read counts, also where its client is gone by now.
        #[cfg(target_os = "linux")]
        let _refused = std::os::linux::net::TcpStreamExt::set_quickack(self.0, true);
        Ok(read)
    }
}

/// A line without its end; none where the client has left.
fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    Read::take(&mut *reader, LINE_BYTES).read_until(b'\n', &mut bytes)?;
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
    fn a_client_that_is_gone_has_nothing_on_its_way() {
        let server = SmtpServer::start().unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        let mut greeting = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut greeting).unwrap();
        let stays = server.taken_when_all_are_gone(Duration::ZERO).unwrap_err().to_string();
        assert!(stays.contains("clients are gone"), "{stays}");
        // As one that is killed: it has sent all of a mail, and reads no answer.
        for line in MAIL.iter().take(5) {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.taken_when_all_are_gone(Duration::from_secs(30)).unwrap(), 1);
    }

    #[test]
    fn one_recipient_is_refused() {
        let server = SmtpServer::start_that_refuses("b@example.org").unwrap();
        assert_eq!(
            said(&server, &["RCPT TO:<b@example.org>", "RCPT TO:<c@example.org>"]),
            ["220", "550", "250"]
        );
        assert_eq!(server.mails(), []);
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
