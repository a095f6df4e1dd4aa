//! How callers name functions: `name`, `name:qualifier`, `account:function:name`, a full or partial ARN.

use tidemill_platform::{Arn, Cx, Fault};

use crate::api::{InvalidParameterValueException, ResourceNotFoundException};

/// A function as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// ARN without qualifier.
    pub arn: String,
    pub name: String,
    /// `$LATEST`, a version number or an alias.
    pub qualifier: Option<String>,
}

impl Named {
    /// Reads the name; a qualifier may stand in it or beside it, but both must agree.
    pub fn read(cx: &Cx, text: &str, beside: Option<&str>) -> Result<Named, Fault> {
        let (region, account, rest) = match text.parse::<Arn>() {
            Ok(arn) => (arn.region, arn.account, arn.resource),
            Err(_) => {
                let (account, rest) = match text.split_once(":function:") {
                    Some((account, rest)) => {
                        (account.rsplit(':').next().unwrap_or_default().to_string(), rest.to_string())
                    }
                    None => (cx.account().to_string(), text.to_string()),
                };
                (cx.region().to_string(), account, rest)
            }
        };
        let rest = rest.strip_prefix("function:").unwrap_or(&rest).to_string();
        let (name, within) = match rest.split_once(':') {
            Some((name, qualifier)) => (name.to_string(), Some(qualifier.to_string())),
            None => (rest, None),
        };
        if let (Some(within), Some(beside)) = (&within, beside)
            && within != beside
        {
            return Err(InvalidParameterValueException::new(
                "The derived qualifier from the function name does not match the specified qualifier.",
            )
            .into());
        }
        let arn = Arn::new("lambda", &region, &account, format!("function:{name}")).to_string();
        Ok(Named { arn, name, qualifier: within.or_else(|| beside.map(str::to_string)) })
    }

    /// The ARN with its qualifier, if there is one.
    pub fn qualified_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn),
            None => self.arn.clone(),
        }
    }

    pub fn not_found(&self) -> Fault {
        ResourceNotFoundException::new(format!("Function not found: {}", self.qualified_arn())).into()
    }
}

/// What the ARNs of all functions of an account and region begin with.
pub fn home(arn: &str) -> &str {
    arn.split_once(":function:").map_or(arn, |(home, _)| home)
}

#[cfg(test)]
mod tests {
    use tidemill_platform::{Platform, Trace};

    use super::*;

    #[tokio::test]
    async fn every_form_names_the_function() {
        let cx = Platform::for_tests().cx("000000000000", "us-east-1", Trace::default());
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        for (text, beside, qualifier) in [
            ("f", None, None),
            ("f", Some("live"), Some("live")),
            ("f:2", None, Some("2")),
            ("000000000000:function:f", None, None),
            ("arn:aws:lambda:us-east-1:000000000000:function:f", None, None),
            ("arn:aws:lambda:us-east-1:000000000000:function:f:live", Some("live"), Some("live")),
        ] {
            let named = Named::read(&cx, text, beside).unwrap();
            assert_eq!((named.arn.as_str(), named.qualifier.as_deref()), (arn, qualifier), "{text}");
        }
        assert!(Named::read(&cx, "f:1", Some("2")).is_err());
    }
}
