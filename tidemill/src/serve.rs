//! `tidemill serve`: the platform, from opening its folder to its last answer.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tidemill_store::{Options, Store};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{cli, output, wiring};

/// A platform that serves in the background.
pub struct Serving {
    /// `127.0.0.1:4566`
    pub address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// Serves until the process is asked to end (SIGINT, SIGTERM).
pub async fn run(options: cli::Serve) -> Result<()> {
    let serving = start(&options).await?;
    println!("{} http://{}", output::green("Ready."), serving.address);
    ended().await;
    eprintln!("{}", output::dim("Finishing what runs."));
    serving.stop().await;
    Ok(())
}

/// Starts the platform; it listens when this returns.
pub async fn start(options: &cli::Serve) -> Result<Serving> {
    if options.auth == cli::Auth::Dev && !options.listen.ip().is_loopback() {
        bail!(
            "--auth dev takes any key and secret at its word, so it listens on loopback only.\nUse --listen 127.0.0.1:{} or --auth enforce.",
            options.listen.port()
        );
    }
    let listener = tidemill_gateway::listen(options.listen, false).with_context(|| {
        format!(
            "cannot listen on {}; is another platform running there? (--listen takes another address)",
            options.listen
        )
    })?;
    let address = listener.local_addr()?;
    let (store, scratch) = open_store(&options.data)?;
    let running = wiring::open(options, address, store, &scratch)?;
    Ok(serve(running, listener, address, scratch, options.data == ":memory:"))
}

fn serve(
    running: wiring::Running,
    listener: TcpListener,
    address: std::net::SocketAddr,
    scratch: PathBuf,
    volatile: bool,
) -> Serving {
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(async move {
        running.gateway.serve([listener], async { drop(stopped.await) }).await;
        running.stop().await;
        if volatile {
            let _ = std::fs::remove_dir_all(scratch);
        }
    });
    Serving { address, stop, done }
}

impl Serving {
    /// Finishes what runs and closes the store.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.done.await;
    }
}

/// The store and a folder for what can be made again from it.
fn open_store(data: &str) -> Result<(Store, PathBuf)> {
    if data == ":memory:" {
        let scratch = std::env::temp_dir().join(format!("tidemill-{}", std::process::id()));
        std::fs::create_dir_all(&scratch)?;
        return Ok((Store::open(Options::memory())?, scratch));
    }
    let folder = PathBuf::from(data);
    let store = Store::open(Options::path(&folder))
        .with_context(|| format!("the data folder {} cannot be used", folder.display()))?;
    let scratch = std::path::absolute(folder.join("scratch"))?;
    std::fs::create_dir_all(&scratch)?;
    Ok((store, scratch))
}

/// Returns when the process is asked to end.
pub async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
