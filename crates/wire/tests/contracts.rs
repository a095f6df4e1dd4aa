//! What the contracts ask of this crate.

use std::{fs, path::Path};

use serde_json::Value;
use tidemill_wire::pattern;

#[test]
fn every_pattern_of_the_contracts_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
    let mut patterns = 0;
    for entry in fs::read_dir(folder).expect("the contracts are there") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a contract is text");
        let contract: Value = serde_json::from_str(&text).expect("a contract is JSON");
        for (name, shape) in contract["shapes"].as_object().into_iter().flatten() {
            let Some(text) = shape["pattern"].as_str() else { continue };
            patterns += 1;
            let compiled = pattern::compile(text).map(drop);
            assert!(compiled.is_ok(), "{} {name}: {text}: {compiled:?}", path.display());
        }
    }
    assert!(patterns > 0);
}
