//! S3: small and large objects, put and got.

use anyhow::Result;

use crate::{
    Options,
    http::{Connection, Request},
    load,
    report::Report,
    server::Server,
};

const KEYS: usize = 1000;
/// Bytes from which an object takes a while to pass.
const LARGE: usize = 64 << 10;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "s3")?;
    connection.call(&Request::rest("PUT", "/bench", Vec::new()))?.ok()?;
    for (size, name, keys) in [(1024, "1 KiB", KEYS), (1 << 20, "1 MiB", 16)] {
        let body = vec![b'x'; size];
        let path =
            move |worker: usize, number: usize| format!("/bench/{size}/{}", (worker * 131 + number) % keys);
        for number in 0..keys {
            connection.call(&Request::rest("PUT", path(0, number), body.clone()))?.ok()?;
        }
        for &connections in &options.connections {
            let measure = |make: &(dyn Fn(usize, usize) -> Request + Sync)| {
                let run = if size > LARGE { load::run_large } else { load::run };
                run(server.address, "s3", connections, options.duration(), make)
            };
            let measured =
                measure(&|worker, number| Request::rest("PUT", path(worker, number), body.clone()))?;
            report.rate(&format!("S3 PutObject {name}"), connections, &measured);
            let measured = measure(&|worker, number| Request::rest("GET", path(worker, number), Vec::new()))?;
            report.rate(&format!("S3 GetObject {name}"), connections, &measured);
        }
    }
    Ok(())
}
