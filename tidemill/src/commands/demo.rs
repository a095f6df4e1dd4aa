//! `tidemill up --demo`: does what the template's `Metadata.Tidemill.Demo` says (uploads a file or puts an event, waits for
//! a row to change) and shows what became of it, hop by hop, with times.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{events, journey};
use crate::{
    app::{App, deploy::Deployed},
    cli::{Output, Serve},
    client::{Client, OWN_SERVICE},
    output::{bold, dim, green},
};

/// Times it is done after the first, to show what warm functions take.
const WARM_TIMES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the row is asked for; fine enough to tell milliseconds.
const ASK_EVERY: Duration = Duration::from_micros(250);
/// A journey is told when no step was added for this long, or after so long.
const QUIET: Duration = Duration::from_millis(250);
const MOST_STEPS_FOR: Duration = Duration::from_secs(3);

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
    begin: Begin,
    table: &'a str,
    row: &'a Value,
}

/// The request that everything follows from.
enum Begin {
    /// `Upload: {File, Bucket, Key}`
    Upload { path: String, body: Bytes },
    /// `Put: {File, Bus}`, the file with `source`, `detail-type` and `detail`
    Put { entries: Bytes, bus: String, kind: String },
}

pub async fn run(client: &Client, app: &App, deployed: &Deployed, output: Output) -> Result<()> {
    let note = app.note("Demo").with_context(|| {
        format!("{} says nothing under Metadata.Tidemill.Demo of what to show", app.file.display())
    })?;
    let demo = Demo::read(client, app, deployed, note)?;
    let (first_ms, trace) = demo.once().await?;
    let steps = demo.journey(&trace).await?;
    let mut warm = Vec::new();
    for _ in 0..WARM_TIMES {
        warm.push(demo.once().await?.0);
    }
    warm.sort_by(f64::total_cmp);
    let median = warm[warm.len() / 2];
    let row = demo.row_now().await?;
    if output == Output::Json {
        println!("{}", json!({"journey": steps, "first_ms": first_ms, "warm_p50_ms": median, "row": row}));
        return Ok(());
    }
    println!("\n{}; what happened to it:\n", demo.begin.told());
    journey::print(&steps);
    println!("\n{} after {first_ms:.1} ms, its functions starting cold.", bold("The row was there"));
    println!(
        "{WARM_TIMES} more times, functions warm: {}, median.",
        bold(&format!("{median:.1} ms until the row had changed"))
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

impl Begin {
    fn read(app: &App, deployed: &Deployed, note: &Value) -> Result<Begin> {
        let word = |part: &str, name: &str| {
            note[part][name].as_str().with_context(|| format!("Metadata.Tidemill.Demo has no {part}.{name}"))
        };
        let file = |name: &str| {
            let file = app.folder.join(name);
            std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))
        };
        if note["Put"].is_null() {
            let bucket = deployed.physical(word("Upload", "Bucket")?)?;
            let path = format!("/{bucket}/{}", word("Upload", "Key")?);
            return Ok(Begin::Upload { path, body: Bytes::from(file(word("Upload", "File")?)?) });
        }
        let name = word("Put", "File")?;
        let event: Value =
            serde_json::from_slice(&file(name)?).with_context(|| format!("{name} is no JSON"))?;
        let bus = deployed.physical(word("Put", "Bus")?)?.to_string();
        let entry = events::entry(&event, &bus);
        let kind = entry["DetailType"].as_str().unwrap_or_default().to_string();
        Ok(Begin::Put { entries: Bytes::from(json!({"Entries": [entry]}).to_string()), bus, kind })
    }

    fn told(&self) -> String {
        match self {
            Begin::Upload { path, .. } => format!("{} to s3:/{path}", bold("Uploaded a file")),
            Begin::Put { bus, kind, .. } => format!("{} {kind} on the bus {bus}", bold("Put an event")),
        }
    }

    /// Sends the request as part of a trace.
    async fn send(&self, client: &Client, trace: &str) -> Result<()> {
        let headers = [("x-amzn-trace-id", format!("Root={trace}"))];
        let (status, answer) = match self {
            Begin::Upload { path, body } => {
                client.raw(Method::PUT, path, "s3", &headers, body.clone()).await?
            }
            Begin::Put { entries, .. } => {
                let path = "/_tidemill/call/events/PutEvents";
                client.raw(Method::POST, path, OWN_SERVICE, &headers, entries.clone()).await?
            }
        };
        let text = String::from_utf8_lossy(&answer);
        if !status.is_success() || text.contains("\"ErrorCode\"") {
            bail!("the beginning was refused ({status}): {text}");
        }
        Ok(())
    }
}

impl<'a> Demo<'a> {
    fn read(client: &'a Client, app: &App, deployed: &'a Deployed, note: &'a Value) -> Result<Demo<'a>> {
        let table = note["Await"]["Table"].as_str().context("Metadata.Tidemill.Demo has no Await.Table")?;
        Ok(Demo {
            client,
            begin: Begin::read(app, deployed, note)?,
            table: deployed.physical(table)?,
            row: &note["Await"]["Key"],
        })
    }

    /// Begins and waits for the row to change. Milliseconds that took, and the trace.
    async fn once(&self) -> Result<(f64, String)> {
        let before = self.row_now().await?;
        let trace = new_trace();
        let began = Instant::now();
        self.begin.send(self.client, &trace).await?;
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

    /// The journey, once nothing more is added to it: the row is visible a moment before its function has answered.
    async fn journey(&self, trace: &str) -> Result<Vec<Value>> {
        let began = Instant::now();
        let (mut known, mut since) = (0, Instant::now());
        loop {
            let steps = self.client.get(&format!("/_tidemill/journey/{trace}")).await?;
            let steps = steps.as_array().cloned().unwrap_or_default();
            if steps.len() != known {
                (known, since) = (steps.len(), Instant::now());
            }
            if known > 0 && since.elapsed() > QUIET || began.elapsed() > MOST_STEPS_FOR {
                return Ok(steps);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A trace root as X-Ray makes them: `1-<seconds>-<24 hexadecimal digits>`.
fn new_trace() -> String {
    let random = tidemill_platform::Random::system();
    let now = jiff::Timestamp::now().as_second();
    format!("1-{now:08x}-{}", random.hex::<12>())
}
