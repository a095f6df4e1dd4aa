//! AWS's names as Rust's.

/// `QueueUrl` → `queue_url`, `KMSMasterKeyId` → `kms_master_key_id`, `SSEDescription` → `sse_description`.
pub fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (at, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !out.ends_with('_') && !out.is_empty() {
                out.push('_');
            }
            continue;
        }
        let before = at.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(at + 1);
        let begins_word = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || (b.is_ascii_uppercase() && after.is_some_and(|a| a.is_ascii_lowercase()))
            });
        if begins_word && !out.ends_with('_') {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.trim_end_matches('_').to_string()
}

/// A field or function name that is no keyword.
pub fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "self" | "super" | "crate" => format!("{name}_"),
        "type" | "match" | "ref" | "move" | "use" | "mod" | "fn" | "let" | "in" | "for" | "if" | "else"
        | "loop" | "while" | "where" | "impl" | "trait" | "struct" | "enum" | "pub" | "return" | "static"
        | "const" | "async" | "await" | "dyn" | "as" | "break" | "continue" | "extern" | "mut" | "unsafe"
        | "yield" | "try" | "final" | "override" | "virtual" | "default" | "macro" | "abstract" | "box"
        | "do" | "priv" | "typeof" | "unsized" | "true" | "false" | "gen" => {
            format!("r#{name}")
        }
        _ => name,
    }
}

/// `__listOfString` → `ListOfString`; AWS's own capitals stay.
pub fn type_name(name: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = true;
            continue;
        }
        out.push(if upper { c.to_ascii_uppercase() } else { c });
        upper = false;
    }
    out
}

/// A static's name: `SEND_MESSAGE_REQUEST`.
pub fn constant(name: &str) -> String {
    snake(name).to_uppercase()
}

/// An enumeration value as a variant: `python3.11` → `Python311`, `s3:ObjectCreated:*` → `S3ObjectCreatedAny`,
/// `ALL_OLD` → `AllOld`.
pub fn variant(value: &str) -> String {
    let value = value.replace('*', "Any");
    let shouting = !value.chars().any(|c| c.is_ascii_lowercase());
    let mut out = String::new();
    let mut upper = true;
    for c in value.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = true;
            continue;
        }
        let c = if upper {
            c.to_ascii_uppercase()
        } else if shouting {
            c.to_ascii_lowercase()
        } else {
            c
        };
        out.push(c);
        upper = false;
    }
    match out.chars().next() {
        None => "Empty".into(),
        Some(first) if first.is_ascii_digit() => format!("N{out}"),
        _ if out == "Self" || out == "Other" => format!("{out}Value"),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_names_become_rust_names() {
        for (aws, rust) in [
            ("QueueUrl", "queue_url"),
            ("KMSMasterKeyId", "kms_master_key_id"),
            ("SSEDescription", "sse_description"),
            ("MD5OfMessageBody", "md5_of_message_body"),
            ("x-amz-id", "x_amz_id"),
            ("ARN", "arn"),
            ("S3Key", "s3_key"),
        ] {
            assert_eq!(snake(aws), rust);
        }
        assert_eq!(field("Type"), "r#type");
        assert_eq!(type_name("__listOf__string"), "ListOfString");
        assert_eq!(variant("python3.11"), "Python311");
        assert_eq!(variant("ALL_OLD"), "AllOld");
        assert_eq!(variant("s3:ObjectCreated:*"), "S3ObjectCreatedAny");
    }
}
