//! What people and programs read.

use serde_json::{Value, json};

use crate::{Output, load::Measured};

pub struct Report {
    output: Output,
    rows: Vec<Value>,
}

impl Report {
    pub fn new(output: Output) -> Report {
        if output == Output::Table {
            println!(
                "{:<34} {:>5} {:>12} {:>9} {:>9} {:>9} {:>7}",
                "what", "conn", "per second", "p50 ms", "p99 ms", "p99.9 ms", "errors"
            );
        }
        Report { output, rows: Vec::new() }
    }

    /// A rate with its latencies.
    pub fn rate(&mut self, what: &str, connections: usize, measured: &Measured) {
        let (rate, p50, p99, p999) = (
            measured.per_second(),
            measured.percentile_ms(0.5),
            measured.percentile_ms(0.99),
            measured.percentile_ms(0.999),
        );
        if self.output == Output::Table {
            println!(
                "{what:<34} {connections:>5} {rate:>12.0} {p50:>9.3} {p99:>9.3} {p999:>9.3} {:>7}",
                measured.errors
            );
        }
        self.rows.push(json!({
            "what": what, "connections": connections, "per_second": rate,
            "p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "errors": measured.errors,
        }));
    }

    /// A figure that is no rate.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str) {
        if self.output == Output::Table {
            println!("{what:<34} {:>5} {value:>12.2} {unit}", "");
        }
        self.rows.push(json!({"what": what, "value": value, "unit": unit}));
    }

    pub fn finish(self) {
        if self.output == Output::Json {
            println!("{}", Value::Array(self.rows));
        }
    }
}
