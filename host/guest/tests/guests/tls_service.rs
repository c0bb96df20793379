//! A service behind TLS, whose certificate it has signed itself. It is the `openssl` command: what it is told, and
//! what it says of a connection that fails, is kept in one file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keylane_test_support::waiting;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// The service. It ends with its test.
pub struct TlsService {
    pub port: u16,
    folder: TempDir,
    _server: Ended,
}

/// A process that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone_before = self.0.kill();
        let _status = self.0.wait();
    }
}

impl TlsService {
    /// Starts one on a free port of loopback. Left out, with a line that says so, where there is no OpenSSL.
    pub fn start() -> Option<Self> {
        if let Err(reason) = openssl_there() {
            println!("LEFT OUT: a service behind TLS, which needs the openssl command: {reason}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let said = File::create(folder.path().join("said")).unwrap();
        let server = openssl(folder.path())
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "certificate.pem", "-key", "key.pem"])
            // It would end each connection at the end of its own input.
            .stdin(Stdio::piped())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut service = Self { port: 0, folder, _server: Ended(server) };
        let port = || {
            let said = service.said();
            let place = said.lines().find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:"));
            Ok(place.and_then(|port| port.trim().parse().ok()))
        };
        service.port = waiting::until("a service behind TLS", LONG, port).unwrap();
        Some(service)
    }

    /// All that it was told and has said so far.
    pub fn said(&self) -> String {
        let said = std::fs::read(self.folder.path().join("said")).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until it was told or has said this.
    pub fn until_it_says(&self, what: &str) {
        let says = || Ok(self.said().contains(what).then_some(()));
        waiting::until(what, LONG, says).unwrap_or_else(|error| panic!("{error}: {}", self.said()));
    }

    /// A client that trusts its certificate asks it for this path: what comes to it is kept indeed.
    pub fn until_it_is_asked_by_one_who_trusts_it(&self, path: &str) {
        let client = openssl(self.folder.path())
            .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", "certificate.pem"])
            .args(["-connect", &format!("127.0.0.1:{}", self.port)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = Ended(client);
        let mut input = client.0.stdin.as_ref().unwrap();
        input.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        self.until_it_says(&format!("GET {path}"));
    }
}

fn openssl(folder: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(folder);
    command
}

/// Other programs of this name know other arguments.
fn openssl_there() -> Result<(), String> {
    let output = Command::new("openssl").arg("version").output().map_err(|error| error.to_string())?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    if version.starts_with("OpenSSL ") { Ok(()) } else { Err(format!("it is {version:?}")) }
}

/// Makes a key and a certificate for this address, valid for two days.
fn certify(folder: &Path) {
    let output = openssl(folder)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
