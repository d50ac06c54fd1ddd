//! One connection from its beginning to its end: TLS, HTTP, and the limits of both.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Phase};
use super::answer::AnswerBody;
use super::connection::{Ended, Stream, WatchedStream, drive};
use super::connections::Admission;
use super::limits::{HEAD_BYTES, HEADERS};
use super::peer::Peer;
use super::router::answer;
use super::server::Server;
use super::statistics::Rejection;
use crate::config::ServerTls;

/// The sign for connections to end after the request under way, and event streams at once: its sender is dropped.
pub(super) type Ending = watch::Receiver<()>;

/// Serves a connection over TCP until it ends.
pub(super) async fn serve_tcp(server: Rc<Server>, stream: TcpStream, peer: Peer, admission: Admission, ending: Ending) {
    // Responses are written as a whole; without it their ends wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let tls = server.config().http.as_ref().and_then(|http| http.tls.clone());
    let Some(ServerTls { config, .. }) = tls else { return serve(server, stream, peer, admission, ending).await };
    admission.activity.enter(Phase::Handshake, Instant::now());
    match drive(&admission.activity, TlsAcceptor::from(config).accept(stream)).await {
        Ended::Done(Ok(stream)) => {
            admission.activity.enter(Phase::First, Instant::now());
            serve(server, stream, peer, admission, ending).await;
        }
        Ended::Done(Err(_)) => server.statistics().reject(Rejection::Tls),
        Ended::Late => server.statistics().reject(Rejection::Timeout),
        Ended::Displaced => server.connections().count_displaced(),
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    server: Rc<Server>,
    stream: impl Stream + 'static,
    peer: Peer,
    admission: Admission,
    ending: Ending,
) {
    let activity = &admission.activity;
    let stream = TokioIo::new(WatchedStream::new(stream, activity));
    let service = service_fn(|request| respond(&server, request, peer, activity));
    let mut builder = http1::Builder::new();
    // A peer may close its half after its request, as `nc` does.
    builder.half_close(true).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let work = async {
        tokio::select! {
            biased;
            () = ended(ending) => {}
            done = connection.as_mut() => return done,
        }
        activity.end();
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match drive(activity, work).await {
        Ended::Done(Ok(())) => {}
        Ended::Done(Err(error)) => {
            // A peer that goes away in the middle is no fault of anybody's.
            if error.is_parse_too_large() {
                server.statistics().reject(Rejection::TooLarge);
            } else if error.is_parse() {
                server.statistics().reject(Rejection::Malformed);
            }
        }
        Ended::Late if activity.is_idle() => {}
        Ended::Late => server.statistics().reject(Rejection::Timeout),
        Ended::Displaced => server.connections().count_displaced(),
    }
}

async fn respond(
    server: &Rc<Server>,
    request: Request<Incoming>,
    peer: Peer,
    activity: &Rc<Activity>,
) -> Result<Response<AnswerBody>, Infallible> {
    activity.enter(Phase::Request, Instant::now());
    server.statistics().count_request();
    // A peer that sends many requests at once has one of them answered, and then it is the others' turn.
    yield_now().await;
    let answer = answer(server, request, peer).await;
    if let Some(rejection) = answer.rejection {
        server.statistics().reject(rejection);
    }
    Ok(answer.into_response(activity))
}

/// Waits until the sender is dropped; nothing is ever sent.
async fn ended(mut ending: Ending) {
    while ending.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;
    use crate::config::{Config, HttpConfig, ListenAddress, Overrides};
    use crate::http::connections::Origin;
    use crate::push::PushedModules;
    use crate::status::{AgentFacts, Settings, Slot};

    /// How many responses are in what can be read now.
    fn response_count(stream: &UnixStream) -> usize {
        let (mut text, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match stream.try_read(&mut part) {
                Ok(length) if length > 0 => text.extend_from_slice(&part[..length]),
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => return String::from_utf8_lossy(&text).matches("HTTP/1.1 200 OK").count(),
            }
        }
    }

    #[tokio::test]
    async fn pipelined_requests_take_turns_with_others() {
        const REQUEST: &str = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut config =
            Config::load(&Overrides { file: Some("/dev/null".into()), ..Overrides::default() }).expect("empty");
        config.http = Some(Arc::new(HttpConfig::at(vec![ListenAddress::Unix("/run/s".into())])));
        let slot = Arc::new(Slot::new(AgentFacts::at_start(Settings::default())));
        let test = async {
            let server = Server::new(
                Arc::new(config),
                &slot,
                &Arc::default(),
                PushedModules::new(&Arc::default(), false).inlet(),
            );
            let (_running, ending) = watch::channel(());
            let mut clients = Vec::new();
            for requests in [100, 1] {
                let (mut client, accepted) = UnixStream::pair().expect("a pair");
                client.write_all(REQUEST.repeat(requests).as_bytes()).await.expect("sent");
                let admission = server.connections().admit(Phase::First, Origin::Unix).await;
                spawn_local(serve(Rc::clone(&server), accepted, Peer::Unix, admission, ending.clone()));
                clients.push(client);
            }
            assert_ne!(clients[1].read_u8().await.expect("a response"), 0);
            let count = response_count(&clients[0]);
            assert!(count < 10, "{count} responses to one peer before the other's");
        };
        LocalSet::new().run_until(test).await;
    }
}
