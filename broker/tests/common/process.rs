//! The real binary as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running broker; killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Starts it with its data and its log in `dir`, on `port` and the two behind it, and waits until it serves; `set` are
    /// properties, `descriptors` the most that it may have.
    pub async fn start(dir: &Path, port: u16, set: &[&str], descriptors: Option<usize>) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log.txt")).unwrap();
        let own = [
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}", port + 1),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("log.dirs={}", dir.join("data").display()),
            format!("ottla.http.listener=127.0.0.1:{}", port + 2),
        ];
        let all = own.iter().map(String::as_str).chain(set.iter().copied());
        let child = command(descriptors)
            .args(all.map(|property| format!("--override={property}")))
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        process.wait_until_serving(dir).await;
        process
    }

    async fn wait_until_serving(&mut self, dir: &Path) {
        for _ in 0..2000 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            let gone = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(dir.join("log.txt")).unwrap();
            assert!(gone.is_none(), "the broker does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the broker does not serve");
    }

    /// Its own memory, in bytes, without pages of files.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Descriptors that it has.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn kill(&mut self) {
        // SIGKILL on Unix.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(descriptors: Option<usize>) -> Command {
    let broker = env!("CARGO_BIN_EXE_ottla-broker");
    let Some(descriptors) = descriptors else { return Command::new(broker) };
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), broker]);
    command
}

/// The first of three ports in a row that nobody has.
pub fn free_port() -> u16 {
    loop {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < u16::MAX - 2 && free(port + 1) && free(port + 2) {
            return port;
        }
    }
}
