//! `tidemill up --demo`: does what the template's `Metadata.Tidemill.Demo` says (uploads a file, waits for a row) and
//! shows what became of it, hop by hop, with times.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::journey;
use crate::{
    app::{App, deploy::Deployed},
    cli::{Output, Serve},
    client::Client,
    output::{bold, dim, green},
};

/// Files uploaded after the first, to show what warm functions take.
const WARM_FILES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the row is asked for; fine enough to tell milliseconds.
const ASK_EVERY: Duration = Duration::from_micros(250);

/// A demonstration leaves nothing behind and gets in nobody's way: a free port and a folder of its own, unless asked
/// otherwise. Gives the folder to remove.
pub fn own_place(serve: &mut Serve) -> Result<Option<PathBuf>> {
    let asked: Serve =
        clap::Parser::try_parse_from::<_, &str>(["demo"]).map(|defaults: Defaults| defaults.serve)?;
    if serve.listen == asked.listen {
        serve.listen.set_port(0);
    }
    if serve.data != asked.data {
        return Ok(None);
    }
    let folder = std::env::temp_dir().join(format!("tidemill-demo-{}", std::process::id()));
    serve.data = folder.to_string_lossy().into_owned();
    Ok(Some(folder))
}

#[derive(clap::Parser)]
struct Defaults {
    #[command(flatten)]
    serve: Serve,
}

/// What the template asks to be shown.
struct Demo<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: &'a str,
    body: Bytes,
    table: &'a str,
    row: &'a Value,
}

pub async fn run(client: &Client, app: &App, deployed: &Deployed, output: Output) -> Result<()> {
    let note = app.note("Demo").with_context(|| {
        format!("{} says nothing under Metadata.Tidemill.Demo of what to show", app.file.display())
    })?;
    let demo = Demo::read(client, app, deployed, note)?;
    let (first_ms, trace) = demo.once().await?;
    let steps = demo.journey(&trace).await?;
    let mut warm = Vec::new();
    for _ in 0..WARM_FILES {
        warm.push(demo.once().await?.0);
    }
    warm.sort_by(f64::total_cmp);
    let median = warm[warm.len() / 2];
    let row = demo.row_now().await?;
    if output == Output::Json {
        println!("{}", json!({"journey": steps, "first_ms": first_ms, "warm_p50_ms": median, "row": row}));
        return Ok(());
    }
    let file = format!("s3://{}/{}", demo.bucket, demo.key);
    println!("\n{} to {file}; what happened to it:\n", bold("Uploaded a file"));
    journey::print(&steps);
    println!("\n{} after {first_ms:.1} ms, both functions starting cold.", bold("The row was there"));
    println!(
        "{WARM_FILES} more files, functions warm: {} from upload to row, median.",
        bold(&format!("{median:.1} ms"))
    );
    println!("\n{} {}", bold("The row"), dim(&format!("in {}", demo.table)));
    for (name, value) in row.as_object().into_iter().flatten() {
        let plain = value.as_object().and_then(|typed| typed.values().next()).unwrap_or(value);
        println!("  {name:<12} {}", plain.as_str().map_or_else(|| plain.to_string(), String::from));
    }
    println!("\n{} `tidemill up {}` keeps it running.", green("✓"), relative(app));
    Ok(())
}

fn relative(app: &App) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    app.folder.strip_prefix(here).unwrap_or(&app.folder).display().to_string()
}

impl<'a> Demo<'a> {
    fn read(client: &'a Client, app: &App, deployed: &'a Deployed, note: &'a Value) -> Result<Demo<'a>> {
        let word = |part: &str, name: &str| {
            note[part][name].as_str().with_context(|| format!("Metadata.Tidemill.Demo has no {part}.{name}"))
        };
        let file = app.folder.join(word("Upload", "File")?);
        let body = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(Demo {
            client,
            bucket: deployed.physical(word("Upload", "Bucket")?)?,
            key: word("Upload", "Key")?,
            body: Bytes::from(body),
            table: deployed.physical(word("Await", "Table")?)?,
            row: &note["Await"]["Key"],
        })
    }

    /// Uploads the file and waits for the row to change. Milliseconds from the upload's beginning, and the trace.
    async fn once(&self) -> Result<(f64, String)> {
        let before = self.row_now().await?;
        let trace = new_trace();
        let path = format!("/{}/{}", self.bucket, self.key);
        let began = Instant::now();
        let headers = [("x-amzn-trace-id", format!("Root={trace}"))];
        let (status, answer) = self.client.raw(Method::PUT, &path, "s3", &headers, self.body.clone()).await?;
        if !status.is_success() {
            bail!("the upload was refused ({status}): {}", String::from_utf8_lossy(&answer));
        }
        while self.row_now().await? == before {
            if began.elapsed() > PATIENCE {
                bail!(
                    "the row did not change within {} s; `tidemill logs` of the functions say why",
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok((began.elapsed().as_secs_f64() * 1000.0, trace))
    }

    async fn row_now(&self) -> Result<Value> {
        let input = json!({"TableName": self.table, "Key": self.row, "ConsistentRead": true});
        Ok(self.client.call("dynamodb", "GetItem", &input).await?["Item"].clone())
    }

    /// The journey, once its last hop is recorded: the row is visible a moment before its function has answered.
    async fn journey(&self, trace: &str) -> Result<Vec<Value>> {
        let began = Instant::now();
        loop {
            let steps = self.client.get(&format!("/_tidemill/journey/{trace}")).await?;
            let steps = steps.as_array().cloned().unwrap_or_default();
            let count = |step: &str| steps.iter().filter(|one| one["step"] == step).count();
            let is_through = count("delivered") > 0 && count("delivered") >= count("happened");
            if is_through || began.elapsed() > Duration::from_secs(2) {
                return Ok(steps);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A trace root as X-Ray makes them: `1-<seconds>-<24 hexadecimal digits>`.
fn new_trace() -> String {
    let random = tidemill_platform::Random::system();
    let now = jiff::Timestamp::now().as_second();
    format!("1-{now:08x}-{}", random.hex::<12>())
}
