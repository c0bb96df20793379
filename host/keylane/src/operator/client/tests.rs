//! What a client makes of servers that are no host.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PAGE: &str = "<!DOCTYPE html><html>\u{1b}[2J</html>";

fn client(address: SocketAddr) -> Client {
    Client { address, token: "0123456789abcdef".to_owned(), file: PathBuf::from("keylane.toml") }
}

fn somewhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// What is asked of a server that answers the first request with these bytes and hangs up.
async fn asked_of(answer: Vec<u8>) -> Result<String, OperatorError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1_024];
        let _length = stream.read(&mut request).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let told = client(address).get("/status").await;
    server.await.unwrap();
    told
}

fn page(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into()
}

#[tokio::test]
async fn another_servers_answers_are_told_from_a_hosts() {
    // What a page with the code 200 is, is for whoever reads it to find out.
    assert_eq!(asked_of(page("200 OK", PAGE)).await.unwrap(), PAGE);
    for status in ["404 Not Found", "401 Unauthorized", "500 Internal Server Error", "302 Found"] {
        let error = asked_of(page(status, PAGE)).await.unwrap_err();
        assert!(error.to_string().contains(status), "{error}");
        assert!(error.to_string().starts_with("the answer cannot be understood"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let cut = page("200 OK", PAGE);
    for answer in
        [Vec::new(), b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), vec![0; 64], cut[..cut.len() - 1].to_vec()]
    {
        let error = asked_of(answer).await.unwrap_err();
        assert!(error.to_string().contains("did not answer: "), "{error}");
        assert!(!error.bad_input);
    }
}

proptest! {
    #[test]
    fn a_refusal_in_any_words_is_one_line(code in 300_u16..600, error: String, hint: Option<String>, other: String) {
        let code = StatusCode::from_u16(code).unwrap();
        let refusal = serde_json::to_string(&Refusal { error, hint }).unwrap();
        for text in [refusal.as_str(), &refusal[..1], &other, PAGE] {
            let refused = client(somewhere()).refused(code, text);
            let told = format!("{refused}{}", refused.hint.clone().unwrap_or_default());
            prop_assert!(!told.contains(char::is_control), "{:?}", told);
            prop_assert!(refused.hint.is_some() || text == refusal);
        }
    }
}
