//! `tidemill deploy` and `tidemill delete`: an application as a stack, and away again.

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    app::{
        App,
        deploy::{Deployed, Deployment, delete, status},
    },
    cli::{Delete, Deploy, Output},
    client::Client,
    output::{bold, dim, green},
};

pub async fn deploy(client: &Client, options: Deploy, output: Output) -> Result<()> {
    let app = App::read(&options.app)?;
    let stack = options.stack.unwrap_or_else(|| app.name.clone());
    let quiet = output == Output::Json;
    let deployment = Deployment { client, app: &app, stack: &stack, parameters: &options.parameters, quiet };
    let deployed = deployment.run().await?;
    if quiet {
        let outputs: serde_json::Map<_, _> =
            deployed.outputs.iter().map(|(key, (value, _))| (key.clone(), value.as_str().into())).collect();
        let resources: serde_json::Map<_, _> =
            deployed.resources.iter().map(|(name, (_, id))| (name.clone(), id.as_str().into())).collect();
        println!(
            "{}",
            json!({"stack": stack, "changed": deployed.changed, "outputs": outputs, "resources": resources})
        );
    } else {
        print_outputs(&deployed);
    }
    Ok(())
}

pub async fn remove(client: &Client, options: Delete, output: Output) -> Result<()> {
    let stack = match &options.stack {
        Some(stack) => stack.clone(),
        None => App::read(&options.app)?.name,
    };
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

pub fn print_outputs(deployed: &Deployed) {
    for (key, (value, description)) in &deployed.outputs {
        println!("  {key:<20} {}  {}", bold(value), dim(description));
    }
}
