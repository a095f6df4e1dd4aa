//! The platform under test: started on a free port with a data folder of its own, ended and removed when dropped.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::Options;

pub struct Server {
    pub address: SocketAddr,
    child: Option<Child>,
    _data: Option<TempDir>,
}

impl Server {
    /// What the options name: something that runs, or a platform started for this.
    pub fn of(options: &Options) -> Result<Server> {
        let Some(endpoint) = &options.endpoint else { return Server::start(options) };
        let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
        let address = host.to_socket_addrs()?.next().with_context(|| format!("{endpoint} is no address"))?;
        Ok(Server { address, child: None, _data: None })
    }

    pub fn start(options: &Options) -> Result<Server> {
        std::fs::create_dir_all(&options.data)?;
        let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.data)?;
        let (child, address) = launch(options, data.path())?;
        Ok(Server { address, child: Some(child), _data: Some(data) })
    }

    /// Ends it and starts it again with what it keeps.
    pub fn restart(&mut self, options: &Options) -> Result<()> {
        let data = self._data.take().context("a platform that was started here")?;
        end(self.child.take());
        let (child, address) = launch(options, data.path())?;
        (self.child, self.address, self._data) = (Some(child), address, Some(data));
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

fn launch(options: &Options, data: &Path) -> Result<(Child, SocketAddr)> {
    let mut child = Command::new(&options.binary)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(["--events-rules-per-bus", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} cannot be started", options.binary.display()))?;
    let out = child.stdout.take().context("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let address = line.trim().rsplit("http://").next().and_then(|text| text.parse().ok());
    let Some(address) = address else {
        let _ = child.kill();
        bail!("the platform said {line:?} instead of where it listens");
    };
    Ok((child, address))
}

impl Drop for Server {
    fn drop(&mut self) {
        end(self.child.take());
    }
}

fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    let Ok(pid) = i32::try_from(child.id()) else { return };
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(10) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}
