//! The handshake of TLS in a script, without cryptography: one line of each side, on the connection itself, so that time limits and bytes
//! in clear are the agent's own. The agent names the server; the script sends what the agent is to learn.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::deviation::shown;
use crate::config::script::ScriptedTls;

/// The beginning of the line of the agent.
const START: &str = "start-tls ";

/// The longest line: names of certificates may be long.
const LINE_BYTES: usize = 64 << 10;

/// Performs the side of the agent. The error within is that of the script.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    server_name: &str,
) -> io::Result<Result<ScriptedTls, String>> {
    stream.write_all(format!("{START}{server_name}\n").as_bytes()).await?;
    stream.flush().await?;
    let line = read_line(stream).await?;
    let tls: ScriptedTls = serde_json::from_slice(&line).map_err(io::Error::other)?;
    Ok(match tls.error {
        Some(error) => Err(error),
        None => Ok(tls),
    })
}

/// Performs the side of the server. The error is how the plugin deviates from the script.
pub(super) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    tls: &ScriptedTls,
) -> Result<(), String> {
    let line = read_line(stream).await.map_err(|error| format!("the plugin did not start TLS: {error}"))?;
    let name = str::from_utf8(&line).ok().and_then(|line| line.strip_prefix(START));
    let Some(name) = name else { return Err(format!("the plugin sent \"{}\" instead of starting TLS", shown(&line))) };
    let expected = &tls.server_name;
    if !expected.is_empty() && name != expected {
        return Err(format!("the plugin started TLS for {name:?} instead of {expected:?}"));
    }
    let mut line = serde_json::to_vec(tls).map_err(|error| error.to_string())?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(|error| format!("the plugin closed the connection: {error}"))
}

/// Reads a line, and nothing behind it. Bytes without an end of a line are returned as they are, if the peer has closed.
async fn read_line(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_BYTES {
        match stream.read(&mut byte).await? {
            0 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            _ if byte == [b'\n'] => break,
            _ => line.extend(byte),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn both(tls: &ScriptedTls, sent: &str) -> (io::Result<Result<ScriptedTls, String>>, Result<(), String>) {
        let (mut agent, mut server) = tokio::io::duplex(4096);
        tokio::join!(async move { connect(&mut agent, sent).await }, async move { accept(&mut server, tls).await })
    }

    #[tokio::test]
    async fn agent_learns_the_session_of_the_script() {
        let tls = ScriptedTls {
            server_name: "db".to_owned(),
            subject: "CN=\"db\"\n".to_owned(),
            end_point_hex: Some("00ff".to_owned()),
            ..ScriptedTls::default()
        };
        let (learnt, accepted) = both(&tls, "db").await;
        assert_eq!((learnt.expect("no error"), accepted), (Ok(tls.clone()), Ok(())));
        let (learnt, accepted) = both(&tls, "other").await;
        assert_eq!(learnt.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(accepted, Err("the plugin started TLS for \"other\" instead of \"db\"".to_owned()));
        let expired = ScriptedTls { error: Some("expired".to_owned()), ..ScriptedTls::default() };
        let (learnt, accepted) = both(&expired, "any").await;
        assert_eq!((learnt.expect("no error"), accepted), (Err("expired".to_owned()), Ok(())));
    }

    #[tokio::test]
    async fn request_in_clear_is_a_deviation() {
        let (mut plugin, mut server) = tokio::io::duplex(4096);
        plugin.write_all(b"STARTTLS\r\n").await.expect("sent");
        let why = accept(&mut server, &ScriptedTls::default()).await.expect_err("in clear");
        assert_eq!(why, "the plugin sent \"STARTTLS\\r\" instead of starting TLS");
        drop(plugin);
        let why = accept(&mut server, &ScriptedTls::default()).await.expect_err("closed");
        assert!(why.starts_with("the plugin did not start TLS: "), "{why}");
    }
}
