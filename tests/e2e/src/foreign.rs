//! Another program that commits in a handler's group, with metadata of its own: text, or any bytes. The
//! request is written by hand, since clients take text alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::waiting;

/// OffsetCommit, in the oldest version that Kafka 4 takes: no leader epoch, no instance.
const OFFSET_COMMIT: i16 = 8;
const VERSION: i16 = 2;
const LIMIT: Duration = Duration::from_secs(60);
/// A coordinator that is still on its way asks to be asked again.
const PASSING: [i16; 3] = [14, 15, 16];

fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    out.extend(i16::try_from(text.len())?.to_be_bytes());
    out.extend(text);
    Ok(())
}

fn request(group: &str, topic: &str, partition: i32, offset: i64, metadata: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    out.extend(OFFSET_COMMIT.to_be_bytes());
    out.extend(VERSION.to_be_bytes());
    out.extend(1_i32.to_be_bytes()); // correlation id
    put_text(&mut out, b"foreign")?;
    put_text(&mut out, group.as_bytes())?;
    out.extend((-1_i32).to_be_bytes()); // no generation
    put_text(&mut out, b"")?; // no member
    out.extend((-1_i64).to_be_bytes()); // the broker's retention
    out.extend(1_i32.to_be_bytes());
    put_text(&mut out, topic.as_bytes())?;
    out.extend(1_i32.to_be_bytes());
    out.extend(partition.to_be_bytes());
    out.extend(offset.to_be_bytes());
    put_text(&mut out, metadata)?;
    Ok(out)
}

/// Commits an offset in a group that has no members at the time.
///
/// # Errors
/// When the broker refuses.
pub fn commit(
    bootstrap: &str,
    group: &str,
    (topic, partition): (&str, i32),
    offset: i64,
    metadata: &[u8],
) -> Result<()> {
    let request = request(group, topic, partition, offset, metadata)?;
    let code = waiting::until("a coordinator", LIMIT, || {
        let mut stream = TcpStream::connect(bootstrap)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
        stream.write_all(&request)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        stream.read_exact(&mut answer)?;
        // One topic with one partition: the error stands last.
        let code = answer.last_chunk().copied().map(i16::from_be_bytes).context("an empty answer")?;
        Ok((!PASSING.contains(&code)).then_some(code))
    })?;
    ensure!(code == 0, "the commit was refused: {code}");
    Ok(())
}
