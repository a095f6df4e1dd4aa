//! `tidemill deploy` and `tidemill delete`: an application as a stack, and away again.

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    app::{
        App, Settings,
        deploy::{Deployed, Deployment, delete, status},
        samconfig::Samconfig,
    },
    cli::{Delete, Deploy, Output},
    client::Client,
    output::{bold, dim, green},
};

pub async fn deploy(client: Client, options: Deploy, output: Output) -> Result<()> {
    let app = App::read(&options.app)?;
    let settings = Settings::read(&app, &options.stack)?;
    let client = client.in_region(settings.region.as_deref());
    let quiet = output == Output::Json;
    let deployed = Deployment { client: &client, app: &app, settings: &settings, quiet }.run().await?;
    if quiet {
        let outputs: serde_json::Map<_, _> =
            deployed.outputs.iter().map(|(key, (value, _))| (key.clone(), value.as_str().into())).collect();
        let resources: serde_json::Map<_, _> =
            deployed.resources.iter().map(|(name, (_, id))| (name.clone(), id.as_str().into())).collect();
        println!(
            "{}",
            json!({"stack": settings.stack, "changed": deployed.changed, "outputs": outputs, "resources": resources})
        );
    } else {
        print_outputs(&deployed);
    }
    Ok(())
}

pub async fn remove(client: Client, options: Delete, output: Output) -> Result<()> {
    let (stack, region) = named(&options)?;
    let client = &client.in_region(region.as_deref());
    if status(client, &stack).await?.is_none() {
        bail!("there is no stack {stack}");
    }
    delete(client, &stack).await?;
    match output {
        Output::Json => println!("{}", json!({"stack": stack, "deleted": true})),
        Output::Text => println!("{} {} is deleted", green("✓"), bold(&stack)),
    }
    Ok(())
}

/// The stack that is meant, and its region where one is written down.
fn named(options: &Delete) -> Result<(String, Option<String>)> {
    let app = match (&options.stack, App::read(&options.app)) {
        (Some(stack), Err(_)) if options.config_env.is_none() => return Ok((stack.clone(), None)),
        (_, app) => app?,
    };
    let file = Samconfig::read(&app.folder, options.config_env.as_deref())?;
    let stack = options.stack.clone().or(file.stack_name).unwrap_or(app.name);
    Ok((stack, file.region))
}

pub fn print_outputs(deployed: &Deployed) {
    for (key, (value, description)) in &deployed.outputs {
        println!("  {key:<20} {}  {}", bold(value), dim(description));
    }
}
