//! `tidemill logs`: the lines of a function or log group, and those to come.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::{Logs, Output},
    client::Client,
    output::dim,
};

/// How often new lines are asked for. The platform itself polls nothing; this command is outside of it.
const ASK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(client: &Client, options: Logs, output: Output) -> Result<()> {
    let group =
        if options.name.starts_with('/') { options.name } else { format!("/aws/lambda/{}", options.name) };
    let mut follower = Follower { group, after: 0, seen: Vec::new() };
    loop {
        for line in follower.next(client).await? {
            print(&line, output);
        }
        if !options.follow {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Where a reader of a group is.
pub struct Follower {
    pub group: String,
    /// Milliseconds since 1970 of the newest line seen.
    pub after: i64,
    /// Ids of lines of that moment.
    pub seen: Vec<String>,
}

impl Follower {
    /// The lines that came since the last call; none while the group does not exist.
    pub async fn next(&mut self, client: &Client) -> Result<Vec<Value>> {
        let input = json!({ "logGroupName": self.group, "startTime": self.after, "limit": 10_000 });
        let answer = match client.call("logs", "FilterLogEvents", &input).await {
            Ok(answer) => answer,
            Err(error) if error.to_string().contains("ResourceNotFoundException") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        let id = |event: &Value| event["eventId"].as_str().unwrap_or_default().to_string();
        let fresh: Vec<Value> = events.into_iter().filter(|event| !self.seen.contains(&id(event))).collect();
        if let Some(newest) = fresh.iter().filter_map(|event| event["timestamp"].as_i64()).max() {
            if newest > self.after {
                self.after = newest;
                self.seen.clear();
            }
            let at_newest = fresh.iter().filter(|event| event["timestamp"].as_i64() == Some(self.after));
            self.seen.extend(at_newest.map(id));
        }
        Ok(fresh)
    }
}

pub fn print(event: &Value, output: Output) {
    if output == Output::Json {
        println!("{event}");
        return;
    }
    let at = jiff::Timestamp::from_millisecond(event["timestamp"].as_i64().unwrap_or(0)).unwrap_or_default();
    let message = event["message"].as_str().unwrap_or_default().trim_end();
    println!("{} {message}", dim(&at.strftime("%H:%M:%S%.3f").to_string()));
}
