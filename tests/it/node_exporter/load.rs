//! Load on the machine until it is dropped: writes that reach the disk, connections and datagrams on the loopback
//! interface, processes, and a busy CPU.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::server::closed_port;

/// The pause between two pieces of work, so that the machine is busy but not overloaded.
const PAUSE: Duration = Duration::from_millis(10);

/// Threads that put load on the machine.
pub struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts it; files are written in this directory.
    pub fn start(directory: &Path) -> Self {
        let mut load = Self { is_over: Arc::default(), threads: Vec::new() };
        let (path, content) = (directory.join("load"), vec![7; 1 << 20]);
        load.repeat(move || {
            let mut file = File::create(&path).expect("created");
            file.write_all(&content).expect("written");
            file.sync_all().expect("it reaches the disk");
        });
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("bound");
        load.repeat(move || {
            let mut client = TcpStream::connect(address).expect("it listens");
            let (mut accepted, _) = server.accept().expect("a client");
            for _ in 0..20 {
                client.write_all(&[1; 1000]).expect("sent");
                accepted.read_exact(&mut [0; 1000]).expect("received");
            }
        });
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (to, nobody) = (receiver.local_addr().expect("bound"), closed_port());
        load.repeat(move || {
            let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
            for _ in 0..10 {
                sender.send_to(&[1; 100], to).expect("sent");
                receiver.recv(&mut [0; 100]).expect("received");
            }
            sender.send_to(&[1], ("127.0.0.1", nobody)).expect("sent");
        });
        load.repeat(|| assert!(Command::new("true").status().expect("it runs").success()));
        load.repeat(|| {
            let spent: u64 = (0..3_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
            assert!(spent < u64::MAX);
        });
        load
    }

    fn repeat(&mut self, mut piece: impl FnMut() + Send + 'static) {
        let is_over = Arc::clone(&self.is_over);
        self.threads.push(thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                piece();
                thread::sleep(PAUSE);
            }
        }));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the load failed");
        }
    }
}
