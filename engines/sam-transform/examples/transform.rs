//! A SAM template on standard input (JSON) → what the transform makes of it on standard output. For `tests/oracle.py`.

use std::{collections::BTreeMap, io};

fn main() {
    let template: serde_json::Value = serde_json::from_reader(io::stdin()).expect("JSON on standard input");
    match tidemill_sam_transform::transform(&template, &BTreeMap::new()) {
        Ok(plain) => println!("{plain}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
