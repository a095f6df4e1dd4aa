//! Whose keys the commands sign with, found where AWS's own tools find them: the environment, then the profile's
//! lines in `~/.aws/credentials` and `~/.aws/config`. Profiles that have to ask somebody for keys (SSO, roles,
//! `credential_process`) are refused by name where they are asked for by name, and passed over otherwise.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, bail};

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret: String,
    pub session_token: Option<String>,
}

/// What the environment and the configuration files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// `None`: nobody's; a platform with `--auth dev` takes unsigned requests.
    pub credentials: Option<Credentials>,
    pub region: Option<String>,
}

/// A file of sections: profile → name → value.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the environment and the files it names.
///
/// # Errors
/// `AWS_PROFILE` names a profile that is in no file, or one whose keys are not written down.
pub fn find() -> Result<Found> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = |name: &str, usual: &str| {
        let path = variable(name).map(PathBuf::from);
        let path = path.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".aws").join(usual)));
        path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    };
    let keys = sections(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    let config = sections(&file("AWS_CONFIG_FILE", "config"));
    choose(&variable, &keys, &config)
}

fn choose(variable: &dyn Fn(&str) -> Option<String>, keys: &Sections, config: &Sections) -> Result<Found> {
    let asked = variable("AWS_PROFILE");
    let profile = asked.clone().unwrap_or_else(|| "default".into());
    let section = if profile == "default" { profile.clone() } else { format!("profile {profile}") };
    let settings = [keys.get(&profile), config.get(&section)];
    let setting = |name: &str| settings.iter().flatten().find_map(|one| one.get(name)).cloned();
    let region =
        variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).or_else(|| setting("region"));
    if let (Some(access_key), Some(secret)) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
    {
        let session_token = variable("AWS_SESSION_TOKEN");
        return Ok(Found { credentials: Some(Credentials { access_key, secret, session_token }), region });
    }
    let written = setting("aws_access_key_id").zip(setting("aws_secret_access_key"));
    let credentials = written.map(|(access_key, secret)| Credentials {
        access_key,
        secret,
        session_token: setting("aws_session_token"),
    });
    if let (Some(name), None) = (&asked, &credentials) {
        if settings.iter().all(Option::is_none) {
            bail!(
                "AWS_PROFILE is {name}, and neither ~/.aws/credentials nor ~/.aws/config has such a profile"
            );
        }
        bail!(
            "the profile {name} has no aws_access_key_id and aws_secret_access_key; commands here sign with written keys only.\n`aws configure export-credentials --profile {name} --format env` gives them for the environment"
        );
    }
    Ok(Found { credentials, region })
}

/// The sections of a file in AWS's INI form. Nested settings (lines that begin with a space) are left out.
fn sections(text: &str) -> Sections {
    let mut found = Sections::new();
    let mut current = None;
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#', ';'])) {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            found.entry(name.clone()).or_default();
            current = Some(name);
        } else if let (Some(section), Some((name, value))) = (&current, line.split_once('=')) {
            let settings = found.entry(section.clone()).or_default();
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_string());
        }
    }
    found
}

impl Credentials {
    /// A signer for requests to `service` in `region`.
    pub fn signer(&self, region: &str, service: &str) -> tidemill_sigv4::Signer {
        let signer = tidemill_sigv4::Signer::new(&self.access_key, &self.secret, region, service);
        match &self.session_token {
            Some(token) => signer.with_session_token(token),
            None => signer,
        }
    }
}

impl Found {
    /// The same for another region, where one is named.
    pub fn in_region(mut self, region: Option<&str>) -> Found {
        if let Some(region) = region {
            self.region = Some(region.to_string());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], keys: &str, config: &str) -> Result<Found> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        };
        choose(&variable, &sections(keys), &sections(config))
    }

    #[test]
    fn keys_are_found_where_aws_finds_them() {
        let keys = "[default]\naws_access_key_id = D\naws_secret_access_key = s\n[two]\naws_access_key_id=T\naws_secret_access_key=s\naws_session_token=t\n";
        let config = "[default]\nregion = eu-west-1\ns3 =\n  region = no\n[profile two]\nregion=eu-north-1\n";
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let cases: [Case; 4] = [
            (&[], Some("D"), Some("eu-west-1")),
            (&[("AWS_PROFILE", "two")], Some("T"), Some("eu-north-1")),
            (&[("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "x")], Some("E"), Some("eu-west-1")),
            (&[("AWS_DEFAULT_REGION", "us-west-2")], Some("D"), Some("us-west-2")),
        ];
        for (variables, key, region) in cases {
            let found = chosen(variables, keys, config).expect("there are keys");
            assert_eq!(found.credentials.as_ref().map(|one| one.access_key.as_str()), key, "{variables:?}");
            assert_eq!(found.region.as_deref(), region, "{variables:?}");
        }
        assert_eq!(chosen(&[], "", "").expect("nobody is fine"), Found::default());
    }

    #[test]
    fn profiles_without_keys_are_refused_by_name() {
        let unknown = chosen(&[("AWS_PROFILE", "none")], "", "").expect_err("there is none");
        assert!(unknown.to_string().contains("AWS_PROFILE is none"));
        let sso = chosen(&[("AWS_PROFILE", "work")], "", "[profile work]\nsso_session = x\n");
        assert!(sso.expect_err("no keys").to_string().contains("export-credentials --profile work"));
        assert!(chosen(&[], "", "[default]\nsso_session = x\n").expect("unsigned").credentials.is_none());
    }
}
