//! Sockets: accepting, HTTP/1.1 and HTTP/2 on one port, idle and slow connections, shutdown that finishes what runs.
//! Time here is the network's, not the platform's: timeouts on sockets do not follow `tidemill clock advance`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activity::{Activity, Watched},
    exchange::Origin,
    gateway::{Caller, Gateway, GatewayConfig},
    pipeline,
};

const BACKLOG: u32 = 1024;
/// How long to wait when the system cannot give another connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// `None` for connections that come from inside the platform.
    pub address: Option<SocketAddr>,
    /// The connection came over TLS.
    pub secure: bool,
    /// Who the other end is known to be: a function in its sandbox. Requests without a key that IAM knows are then
    /// theirs under [`crate::Auth::Dev`]; under [`crate::Auth::Enforce`] signatures alone count.
    pub caller: Option<Caller>,
}

/// Opens a listening socket. With `shared`, several may be opened on one port and the system spreads the connections
/// over them, one a runtime.
pub fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Gateway {
    /// Serves connections until `shutdown` is ready; then accepts no more, finishes the requests that run and returns,
    /// after the configured drain time at the latest. May be called in several runtimes, each with listeners of its own.
    pub async fn serve(
        self: &Arc<Self>,
        listeners: impl IntoIterator<Item = TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (closing, connections) = (CancellationToken::new(), TaskTracker::new());
        let accepting = TaskTracker::new();
        for listener in listeners {
            accepting.spawn(accept(self.clone(), listener, closing.clone(), connections.clone()));
        }
        shutdown.await;
        closing.cancel();
        accepting.close();
        accepting.wait().await;
        connections.close();
        self.detached.close();
        let drained = async {
            connections.wait().await;
            self.detached.wait().await;
        };
        if timeout(self.config.drain_timeout, drained).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests were still running when the time to finish them ended"
            );
        }
    }

    /// Serves one connection to its end, such as one that a function opened inside its sandbox. A shutdown of
    /// [`Gateway::serve`] leaves it alone: what a running request waits for may itself need the platform.
    pub async fn serve_connection(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        connection(self.clone(), stream, peer, CancellationToken::new()).await;
    }
}

/// How connections speak HTTP.
pub(crate) fn http_builder(config: &GatewayConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .auto_date_header(false)
        .max_buf_size(config.max_head.max(8192))
        .pipeline_flush(true);
    // Any number that is set costs an allocation a request; this one is hyper's own.
    if config.max_headers != 100 {
        builder.http1().max_headers(config.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_header_list_size(u32::try_from(config.max_head).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn accept(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    closing: CancellationToken,
    connections: TaskTracker,
) {
    loop {
        let next = async {
            let permit = gateway.connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = closing.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, address)) => {
                let serving = serve_tcp(gateway.clone(), stream, address, closing.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    serving.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_tcp(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    address: SocketAddr,
    closing: CancellationToken,
) {
    // Answers are written whole; waiting for more to send along would only delay them.
    let _ = stream.set_nodelay(true);
    let peer = Peer { address: Some(address), ..Peer::default() };
    connection(gateway, stream, peer, closing).await;
}

async fn connection(
    gateway: Arc<Gateway>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    closing: CancellationToken,
) {
    let (peer, activity) = (Arc::new(Origin::of(peer)), Arc::new(Activity::default()));
    let service = {
        let (gateway, activity) = (gateway.clone(), activity.clone());
        service_fn(move |request| {
            let (gateway, peer, running) = (gateway.clone(), peer.clone(), activity.begin());
            async move {
                let answer = pipeline::answer(&gateway, request, &peer).await;
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, running)))
            }
        })
    };
    let conversation = gateway.http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(conversation);
    let idle_timeout = gateway.config.idle_timeout;
    let look = sleep_until(Instant::now() + idle_timeout);
    tokio::pin!(look);
    let (mut seen, mut ending) = (activity.moves(), false);
    loop {
        tokio::select! {
            ended = conversation.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended in the middle");
                }
                return;
            }
            () = closing.cancelled(), if !ending => {
                ending = true;
                conversation.as_mut().graceful_shutdown();
            }
            () = look.as_mut() => {
                if activity.rested_since(&mut seen) {
                    if ending {
                        return;
                    }
                    ending = true;
                    conversation.as_mut().graceful_shutdown();
                }
                look.as_mut().reset(Instant::now() + idle_timeout);
            }
        }
    }
}
