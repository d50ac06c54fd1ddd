//! A JSON-RPC server for tests, with threads of its own: a transfer and hbs that behave as Go's, and some that do not.

use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::Endpoint;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// As Go's.
    Correct,
    /// As Go's, one byte a write.
    Bytewise,
    /// As Go's, and closes the connection after each response.
    Closing,
    /// Responds first to a call that nobody made.
    OtherCall,
    /// Responds, and once more.
    Twice,
    /// Has none of the services.
    NoService,
    /// Accepts, and does nothing.
    Hanging,
    /// Sends something else.
    Garbage,
    /// Closes the connection in the middle of its response.
    Half,
    /// Closes the connection at once.
    Refusing,
    /// Sends a response that does not end.
    Endless,
    /// Claims that so many points are invalid.
    Lying(i64),
    /// Responds with this error.
    Failing(&'static str),
}

/// A server.
pub(super) struct RpcServer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    connections: AtomicUsize,
    /// The first parameter of each call that was served.
    calls: Mutex<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct MetricValue {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    metric: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    step: i64,
    #[serde(rename = "counterType", default)]
    counter_type: String,
    #[serde(default)]
    tags: String,
    #[serde(default, rename = "timestamp")]
    _timestamp: i64,
}

impl RpcServer {
    /// A server on a port of its own.
    pub(super) fn start(behaviour: Behaviour) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), behaviour)
    }

    pub(super) fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("bound");
        let behaviour = Mutex::new(behaviour);
        let shared = Arc::new(Shared { behaviour, connections: AtomicUsize::new(0), calls: Mutex::default() });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                served.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&served);
                // The client may close the connection at any time.
                thread::spawn(move || drop(shared.serve(&stream)));
            }
        });
        Self { address, shared }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint { host: crate::address::Host::Ip(self.address.ip()), port: self.address.port() }
    }

    /// Behaves otherwise from now on.
    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("no panic") = behaviour;
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The first parameters of the calls that were served.
    pub(super) fn calls(&self) -> Vec<Value> {
        self.shared.calls.lock().expect("no panic").clone()
    }
}

impl Shared {
    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().expect("no panic")
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        match self.behaviour() {
            Behaviour::Refusing => return Ok(()),
            Behaviour::Hanging => {
                return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
            }
            _ => {}
        }
        let calls = serde_json::Deserializer::from_reader(BufReader::new(stream)).into_iter::<Value>();
        for call in calls {
            // As Go's, which closes the connection at garbage.
            let Ok(call) = call else { break };
            let id = &call["id"];
            let response =
                |result: Value, error: Value| json!({"id": id, "result": result, "error": error}).to_string();
            let respond = || match self.call(&call) {
                Ok(result) => response(result, Value::Null),
                Err(error) => response(Value::Null, error.into()),
            };
            let text = match self.behaviour() {
                Behaviour::Correct | Behaviour::Bytewise | Behaviour::Closing => respond() + "\n",
                Behaviour::OtherCall => {
                    json!({"id": 0, "result": {"Invalid": 0}, "error": null}).to_string() + &respond()
                }
                Behaviour::Twice => respond() + &respond(),
                Behaviour::NoService => response(Value::Null, "rpc: can't find service X".into()),
                Behaviour::Garbage => "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
                Behaviour::Half => respond().chars().take(20).collect(),
                Behaviour::Lying(invalid) => {
                    response(json!({"Message": "", "Total": 1, "Invalid": invalid}), Value::Null)
                }
                Behaviour::Failing(error) => response(Value::Null, error.into()),
                Behaviour::Endless => {
                    stream.write_all(b"{\"id\":\"")?;
                    loop {
                        stream.write_all(&[b'x'; 4096])?;
                    }
                }
                Behaviour::Hanging | Behaviour::Refusing => break,
            };
            if self.behaviour() == Behaviour::Bytewise {
                text.as_bytes().iter().try_for_each(|byte| stream.write_all(&[*byte]))?;
            } else {
                stream.write_all(text.as_bytes())?;
            }
            if matches!(self.behaviour(), Behaviour::Closing | Behaviour::Half) {
                break;
            }
        }
        Ok(())
    }

    /// The result of a call, or its error.
    fn call(&self, call: &Value) -> Result<Value, String> {
        let method = call["method"].as_str().unwrap_or_default();
        let parameter = call["params"].get(0).cloned().unwrap_or_default();
        let result = match method {
            "Transfer.Update" => {
                let points: Vec<Option<MetricValue>> =
                    serde_json::from_value(parameter.clone()).map_err(|error| format!("json: {error}"))?;
                let invalid = points.iter().filter(|point| !point.as_ref().is_some_and(is_valid)).count();
                json!({"Message": "ok", "Total": points.len(), "Invalid": invalid, "Latency": 0})
            }
            "Agent.ReportStatus" => json!({"code": i32::from(parameter["Hostname"] == "")}),
            _ if method.starts_with("Transfer.") => return Err(format!("rpc: can't find method {method}")),
            _ => return Err(format!("rpc: can't find service {method}")),
        };
        self.calls.lock().expect("no panic").push(parameter);
        Ok(result)
    }
}

fn is_valid(point: &MetricValue) -> bool {
    let is_number = match &point.value {
        Value::Number(_) => true,
        Value::String(text) => text.parse::<f64>().is_ok(),
        _ => false,
    };
    !point.metric.is_empty()
        && point.metric != "kernel.hostname"
        && !point.endpoint.is_empty()
        && ["GAUGE", "COUNTER", "DERIVE"].contains(&&*point.counter_type)
        && point.step > 0
        && point.metric.len() + point.tags.len() <= 510
        && is_number
}
