//! Outgoing HTTP of components (`wasi:http/outgoing-handler`): to the platform, and to the world as far as other functions reach it.
//!
//! One connection a request, over TLS with the system's certificates for `https`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Scheme;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::run::Network;

const LONGEST: Duration = Duration::from_secs(900);

/// What sends a component's requests.
pub struct Outgoing(pub Network);

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        let network = self.0.clone();
        Box::new(async move { send(network, request, options.unwrap_or_default()).await })
    }
}

async fn send(
    network: Network,
    mut request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<Sent, Error> {
    let host = request.uri().host().ok_or(Error::HttpRequestUriInvalid)?.to_owned();
    let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
    let port = request.uri().port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let connecting = connect(&network, &host, port);
    let stream = timeout(options.connect_timeout.unwrap_or(LONGEST), connecting).await;
    let stream = stream.map_err(|_| Error::ConnectionTimeout)??;
    let first_byte = options.first_byte_timeout.unwrap_or(LONGEST);
    if tls {
        let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = certificates().connect(name, stream).await.map_err(Error::Tls)?;
        exchange(stream, request, first_byte).await
    } else {
        exchange(stream, request, first_byte).await
    }
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    request: http::Request<WasiBody>,
    first_byte: Duration,
) -> Result<Sent, Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Error::Hyper)?;
    // It ends with the program's store, which drops its request, its answer or this.
    let connection = Driven(tokio::spawn(async move { connection.await.map_err(Error::Hyper) }));
    let response = timeout(first_byte, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::Hyper)?;
    let response = response.map(|body| body.map_err(Error::Hyper).boxed_unsync());
    Ok((response, Box::new(async move { connection.ended().await })))
}

struct Driven(tokio::task::JoinHandle<Result<(), Error>>);

impl Driven {
    async fn ended(mut self) -> Result<(), Error> {
        (&mut self.0).await.unwrap_or(Err(Error::ConnectionTerminated))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(network: &Network, host: &str, port: u16) -> Result<TcpStream, Error> {
    for address in addresses(network, host, port).await? {
        if let Ok(stream) = TcpStream::connect(address).await {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(Error::ConnectionRefused)
}

/// Where a host's name leads that programs may go.
async fn addresses(network: &Network, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    if host == network.machine && network.outside {
        return Ok(vec![here]);
    }
    let found: Vec<SocketAddr> = if is_here(host) {
        vec![here]
    } else if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        vec![SocketAddr::new(ip, port)]
    } else if !network.outside {
        // Nor is anybody asked for the address: what is asked would get out.
        return Err(Error::HttpRequestDenied);
    } else {
        let unknown = |_| Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None };
        tokio::net::lookup_host((host, port)).await.map_err(unknown)?.collect()
    };
    let allowed: Vec<SocketAddr> = found.into_iter().filter_map(|to| allowed(network, to)).collect();
    if allowed.is_empty() { Err(Error::HttpRequestDenied) } else { Ok(allowed) }
}

/// Whether a name is this machine's wherever it is looked up.
fn is_here(host: &str) -> bool {
    ["localhost", "localhost.localstack.cloud"]
        .iter()
        .any(|name| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Where a connection goes, if it may.
fn allowed(network: &Network, to: SocketAddr) -> Option<SocketAddr> {
    if to.ip().is_loopback() && to.port() == network.endpoint.port() {
        let ip = network.endpoint.ip();
        let ip = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        return Some(SocketAddr::new(ip, to.port()));
    }
    if network.outside { (network.reach)(to) } else { None }
}

fn certificates() -> TlsConnector {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    TlsConnector::from(config.clone())
}
