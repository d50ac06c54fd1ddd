//! Receivers of network sinks: threads of the test that listen on a loopback address, which stays the same when they go and come back.
//! They keep each request as it came, and reply as the test wants at that moment. What is in a request is read by `decode`.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::decode::{self, Point};
use super::measured::{Comparison, Measured, compare, compare_seconds, stored_results};
use super::protocol::Protocol;
use crate::harness::wait_until;
use crate::http_server::peer::own_address;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    /// The first line of the head; empty for a call of a transfer.
    pub line: String,
    /// The names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Arc<[u8]>,
    /// Whether the sender was told that it is stored.
    pub is_taken: bool,
    protocol: Protocol,
}

impl Arrival {
    /// Its points, in their order.
    pub fn points(&self) -> Vec<Point> {
        if self.is_question() {
            return Vec::new();
        }
        decode::points(self.protocol, self)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Whether it only asks for the receiver's clock.
    pub fn is_question(&self) -> bool {
        self.line.starts_with("HEAD ")
    }
}

/// What a receiver does with a request.
#[derive(Clone)]
pub enum Reply {
    /// It stores the points, and responds as its protocol wants.
    Take,
    /// It stores the points, and responds this.
    TakeWith(Response),
    /// It responds this, and stores nothing.
    Refuse(Response),
    /// It sends these bytes; then it closes the connection, or leaves it open.
    Raw { bytes: Vec<u8>, is_closed: bool },
    /// It sends some bytes, and others over and over, with pauses between them.
    Endless { first: String, again: String, pause: Duration },
    /// It never responds.
    Silent,
}

impl Reply {
    /// A response with this status and these words. A transfer responds the words as an error.
    pub fn status(status: u16, words: &str) -> Self {
        Self::Refuse(Response { status, headers: String::new(), body: words.as_bytes().to_vec() })
    }
}

/// A response over HTTP.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    /// Lines that end with CRLF.
    pub headers: String,
    pub body: Vec<u8>,
}

/// The receiver's clock, as the header `Date` shows it.
#[derive(Clone, Copy)]
pub enum ReceiverClock {
    /// So many seconds ahead of the machine's.
    Ahead(i64),
    /// There is none.
    Absent,
}

/// Decides about each request.
type Decide = Arc<dyn Fn(&Arrival) -> Reply + Send + Sync>;

/// A receiver.
pub struct Receiver {
    pub protocol: Protocol,
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// None while nothing listens.
    decide: Option<Decide>,
    is_listening: bool,
    has_ended: bool,
    clock: ReceiverClock,
    connections: VecDeque<TcpStream>,
    accepted: usize,
    arrivals: Vec<Arrival>,
    /// How many bytes endless responses had so far.
    flooded_bytes: u64,
}

impl Receiver {
    /// A receiver that takes all.
    pub fn start(protocol: Protocol) -> Self {
        let address = own_address();
        let state = State {
            decide: None,
            is_listening: false,
            has_ended: false,
            clock: ReceiverClock::Ahead(0),
            connections: VecDeque::new(),
            accepted: 0,
            arrivals: Vec::new(),
            flooded_bytes: 0,
        };
        let shared = Arc::new(Shared { protocol, address, state: Mutex::new(state), changed: Condvar::new() });
        let listening = Arc::clone(&shared);
        thread::spawn(move || listening.listen());
        let receiver = Self { protocol, address, shared };
        receiver.take();
        receiver
    }

    /// Takes what comes.
    pub fn take(&self) {
        self.reply(|_| Reply::Take);
    }

    /// Replies the same to all requests.
    pub fn always(&self, reply: Reply) {
        self.reply(move |_| reply.clone());
    }

    /// Replies by a decision about each request.
    pub fn reply(&self, decide: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) {
        let mut state = self.shared.lock();
        state.decide = Some(Arc::new(decide));
        self.shared.changed.notify_all();
        while !state.is_listening {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Goes, as a process that ends: no connection is left, and new ones are refused.
    pub fn leave(&self) {
        let mut state = self.shared.lock();
        state.decide = None;
        state.connections.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        // It waits for a connection.
        drop(TcpStream::connect(self.address));
        while state.is_listening {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn set_clock(&self, clock: ReceiverClock) {
        self.shared.lock().clock = clock;
    }

    /// All requests so far, those for its clock apart.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.lock().arrivals.iter().filter(|arrival| !arrival.is_question()).cloned().collect()
    }

    /// All requests so far, and those for its clock.
    pub fn arrivals_and_questions(&self) -> Vec<Arrival> {
        self.shared.lock().arrivals.clone()
    }

    /// The requests that it has stored.
    pub fn taken(&self) -> Vec<Arrival> {
        self.shared.lock().arrivals.iter().filter(|arrival| arrival.is_taken).cloned().collect()
    }

    /// The number of requests that it has stored.
    pub fn taken_count(&self) -> usize {
        self.shared.lock().arrivals.iter().filter(|arrival| arrival.is_taken).count()
    }

    /// The points that it has stored, in their order.
    pub fn points(&self) -> Vec<Point> {
        self.taken().iter().flat_map(Arrival::points).collect()
    }

    /// The same without the ends of series.
    pub fn values(&self) -> Vec<Point> {
        self.points().into_iter().filter(|point| !point.is_end).collect()
    }

    /// Compares what it has stored of the test's plugin with what was measured.
    pub fn compare(&self, measured: &[Measured]) -> Comparison {
        self.compare_with(&self.points(), measured)
    }

    /// Compares points that it has stored with what was measured.
    pub fn compare_with(&self, points: &[Point], measured: &[Measured]) -> Comparison {
        let stored = stored_results(points);
        if self.protocol.has_whole_seconds() { compare_seconds(&stored, measured) } else { compare(&stored, measured) }
    }

    /// Waits until it has stored so many requests.
    pub fn wait_taken(&self, count: usize) {
        wait_until(&format!("{count} requests at {}", self.protocol.name()), || self.taken_count() >= count);
    }

    /// Waits until so many requests came, whatever became of them.
    pub fn wait_arrivals(&self, count: usize) {
        let is_there = || self.shared.lock().arrivals.iter().filter(|arrival| !arrival.is_question()).count() >= count;
        wait_until(&format!("{count} requests come to {}", self.protocol.name()), is_there);
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().accepted
    }

    /// How many bytes endless responses had so far.
    pub fn flooded_bytes(&self) -> u64 {
        self.shared.lock().flooded_bytes
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.leave();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails in its decision about a request has reported that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            while state.decide.is_none() {
                if state.has_ended {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let listener = TcpListener::bind(self.address).expect("the port is free");
            state.is_listening = true;
            self.changed.notify_all();
            drop(state);
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = self.lock();
                if state.decide.is_none() {
                    break;
                }
                state.connections.push_back(stream.try_clone().expect("cloned"));
                state.accepted += 1;
                let shared = Arc::clone(self);
                thread::spawn(move || shared.serve(&stream));
            }
            drop(listener);
            self.lock().is_listening = false;
            self.changed.notify_all();
        }
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let read = if self.protocol.is_rpc() { read_call } else { read_request };
        while let Some((line, headers, body)) = read(&mut reader) {
            let protocol = self.protocol;
            let body = body.into();
            let arrival = Arrival { at: Instant::now(), line, headers, body, is_taken: false, protocol };
            if !self.answer(arrival, stream) {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Replies to a request. Returns whether the connection stays open.
    fn answer(&self, mut arrival: Arrival, mut stream: &TcpStream) -> bool {
        let mut state = self.lock();
        // The receiver or the sender has gone meanwhile.
        let Some(decide) = state.decide.clone().filter(|_| !is_closed(stream)) else { return false };
        let reply = decide(&arrival);
        let date = match state.clock {
            ReceiverClock::Ahead(seconds) => date(seconds),
            ReceiverClock::Absent => String::new(),
        };
        // The request is stored exactly if the response is sent: nothing is decided anew before that.
        let response = match &reply {
            Reply::Take | Reply::TakeWith(_) if arrival.is_question() => {
                Some(Response { status: 405, headers: String::new(), body: Vec::new() }.to_bytes(&date))
            }
            Reply::Take => Some(self.protocol.success(&arrival, &date)),
            Reply::TakeWith(response) | Reply::Refuse(response) if self.protocol.is_rpc() => {
                Some(Protocol::rpc_reply(&arrival, response))
            }
            Reply::TakeWith(response) | Reply::Refuse(response) => Some(response.to_bytes(&date)),
            Reply::Raw { bytes, .. } => Some(bytes.clone()),
            Reply::Endless { .. } | Reply::Silent => None,
        };
        let is_sent = response.is_some_and(|response| stream.write_all(&response).is_ok());
        arrival.is_taken = is_sent && !arrival.is_question() && matches!(reply, Reply::Take | Reply::TakeWith(_));
        state.arrivals.push(arrival);
        drop(state);
        match reply {
            Reply::Take | Reply::TakeWith(_) | Reply::Refuse(_) => is_sent,
            Reply::Raw { is_closed, .. } => {
                if !is_closed {
                    wait_for_end(stream);
                }
                false
            }
            Reply::Endless { first, again, pause } => {
                let mut is_open = stream.write_all(first.as_bytes()).is_ok();
                while is_open {
                    thread::sleep(pause);
                    is_open = stream.write_all(again.as_bytes()).is_ok();
                    self.lock().flooded_bytes += again.len() as u64;
                }
                false
            }
            Reply::Silent => {
                wait_for_end(stream);
                false
            }
        }
    }
}

impl Response {
    fn to_bytes(&self, date: &str) -> Vec<u8> {
        let Self { status, headers, body } = self;
        let head = format!("HTTP/1.1 {status} Status\r\n{date}{headers}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    /// A response of a receiver that has stored the points.
    pub fn stored(status: u16, headers: &str, body: &[u8], date: &str) -> Vec<u8> {
        Self { status, headers: headers.to_owned(), body: body.to_vec() }.to_bytes(date)
    }
}

/// The header with the machine's time and so many seconds.
fn date(ahead_seconds: i64) -> String {
    let shift = Duration::from_secs(ahead_seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if ahead_seconds < 0 { now - shift } else { now + shift };
    format!("Date: {}\r\n", httpdate::fmt_http_date(time))
}

/// Whether the peer has closed the connection. Senders have one request at a time on it.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("set");
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads until the peer closes the connection.
fn wait_for_end(mut stream: &TcpStream) {
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// The first line, the headers, and the body.
type Read = (String, Vec<(String, String)>, Vec<u8>);

/// Reads a request over HTTP; none at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Read> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, length)| &**length);
    let mut body = vec![0; length.parse().expect("a length")];
    reader.read_exact(&mut body).ok()?;
    Some((lines.swap_remove(0), headers, body))
}

/// Reads a call as Go's server does: the next JSON object of the stream.
fn read_call(reader: &mut BufReader<&TcpStream>) -> Option<Read> {
    let mut calls = serde_json::Deserializer::from_reader(reader).into_iter::<serde_json::Value>();
    let call = calls.next()?.ok()?;
    Some((String::new(), Vec::new(), call.to_string().into_bytes()))
}
