//! Standard output and standard error of a guest: each line becomes a line of the host's log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::wasi::logging::logging::Level;
use crate::scope::LogScope;

/// How much a guest may write at once, in bytes.
const WRITE_MAX: usize = 4 * 1024;

/// One of the two outputs of an instance.
#[derive(Clone)]
pub(crate) struct Output {
    scope: Arc<LogScope>,
    level: Level,
    name: &'static str,
}

impl Output {
    pub(crate) fn stdout(scope: Arc<LogScope>) -> Self {
        Self { scope, level: Level::Info, name: "stdout" }
    }

    pub(crate) fn stderr(scope: Arc<LogScope>) -> Self {
        Self { scope, level: Level::Warn, name: "stderr" }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines { output: self.clone(), unfinished: Vec::new() })
    }

    /// Only WASI 0.3 asks for this form, and it is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

/// Cuts what is written into lines. A line without an end is written when it grows too long
/// or the stream is closed.
struct Lines {
    output: Output,
    unfinished: Vec<u8>,
}

impl Lines {
    fn line(&mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.unfinished);
        self.output.scope.line(self.output.level, self.output.name, text.trim_end_matches('\r'));
        self.unfinished.clear();
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            self.unfinished.extend_from_slice(text.unwrap_or(piece));
            if text.is_some() || self.unfinished.len() >= self.output.scope.line_bytes_max() {
                self.line();
            }
        }
        Ok(())
    }

    /// The language's runtime flushes after each piece of a line, so a flush ends no line.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.line();
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CapabilityLimits;

    #[test]
    fn pieces_are_put_together_and_long_lines_are_bounded() {
        let limits = CapabilityLimits { log_line_bytes: 8, log_lines: 100, ..Default::default() };
        let scope = LogScope::new("h".into(), &limits);
        let mut lines = Lines { output: Output::stdout(scope), unfinished: Vec::new() };
        lines.write(Bytes::from_static(b"ab")).unwrap();
        lines.write(Bytes::from_static(b"c\nde")).unwrap();
        assert_eq!(lines.unfinished, b"de");
        lines.write(Bytes::from(vec![b'x'; WRITE_MAX])).unwrap();
        assert!(lines.unfinished.is_empty());
    }
}
