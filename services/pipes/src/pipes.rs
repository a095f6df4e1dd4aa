//! The operations on pipes. Changes take effect at once: the answer names the state in between (`CREATING`, `STOPPING`),
//! as AWS does, and DescribePipe the one that follows.

use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Pipes,
    api::{
        ConflictException, CreatePipeRequest, CreatePipeResponse, DeletePipeRequest, DeletePipeResponse,
        DescribePipeRequest, DescribePipeResponse, ListPipesRequest, ListPipesResponse, Pipe, PipeState,
        StartPipeRequest, StartPipeResponse, StopPipeRequest, StopPipeResponse, UpdatePipeRequest,
        UpdatePipeResponse,
    },
    plan::{read, read_some},
    request,
    rows::{ASKED_FOR, PipeRow, pipe_arn},
    state::no_pipe,
};

pub async fn create_pipe(
    pipes: &Pipes,
    cx: &Cx,
    input: CreatePipeRequest,
) -> Result<CreatePipeResponse, Fault> {
    let row = pipes.make(cx, input).await?;
    Ok(CreatePipeResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        desired_state: Some(row.desired().into()),
        current_state: Some("CREATING".into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

impl Pipes {
    /// Makes a pipe; the row says whether it runs.
    pub async fn make(&self, cx: &Cx, input: CreatePipeRequest) -> Result<PipeRow, Fault> {
        let row = request::fresh(self, cx, input)?;
        self.change(&row.arn, |there| match there {
            Some(_) => Err(exists(&row.name)),
            None => Ok(Some(row.clone())),
        })
        .await?;
        Ok(row)
    }

    /// Takes a pipe away; the row is the last that was known.
    pub async fn unmake(&self, cx: &Cx, name: &str) -> Result<PipeRow, Fault> {
        let mut gone = None;
        self.change(&pipe_arn(cx, name), |there| {
            gone = there.cloned();
            if gone.is_some() { Ok(None) } else { Err(no_pipe(name)) }
        })
        .await?;
        gone.ok_or_else(|| no_pipe(name))
    }

    /// Changes a pipe that is there.
    pub async fn alter(
        &self,
        cx: &Cx,
        name: &str,
        decide: impl FnOnce(&PipeRow) -> Result<PipeRow, Fault>,
    ) -> Result<PipeRow, Fault> {
        let mut altered = None;
        self.change(&pipe_arn(cx, name), |there| {
            altered = Some(decide(there.ok_or_else(|| no_pipe(name))?)?);
            Ok(altered.clone())
        })
        .await?;
        altered.ok_or_else(|| no_pipe(name))
    }
}

fn exists(name: &str) -> Fault {
    ConflictException {
        message: format!("Pipe {name} already exists."),
        resource_id: name.into(),
        resource_type: "pipe".into(),
    }
    .into()
}

pub async fn describe_pipe(
    pipes: &Pipes,
    cx: &Cx,
    input: DescribePipeRequest,
) -> Result<DescribePipeResponse, Fault> {
    let row = pipes.get(cx, &input.name)?;
    Ok(DescribePipeResponse {
        desired_state: Some(row.desired().into()),
        current_state: Some(row.state().into()),
        state_reason: Some(row.reason),
        source_parameters: Some(read(&row.source_parameters)?),
        enrichment_parameters: row.enrichment_parameters.as_ref().map(read).transpose()?,
        // AWS shows an empty block where none was given.
        target_parameters: Some(read_some(row.target_parameters.as_ref())?),
        log_configuration: row.log.as_ref().map(read).transpose()?,
        arn: Some(row.arn),
        name: Some(row.name),
        description: row.description,
        source: Some(row.source),
        enrichment: row.enrichment,
        target: Some(row.target),
        role_arn: Some(row.role_arn),
        tags: Some(row.tags),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        kms_key_identifier: None,
    })
}

pub async fn update_pipe(
    pipes: &Pipes,
    cx: &Cx,
    input: UpdatePipeRequest,
) -> Result<UpdatePipeResponse, Fault> {
    let name = input.name.clone();
    let row = pipes.alter(cx, &name, |there| request::changed(pipes, cx, there, input)).await?;
    Ok(UpdatePipeResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        desired_state: Some(row.desired().into()),
        current_state: Some("UPDATING".into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn delete_pipe(
    pipes: &Pipes,
    cx: &Cx,
    input: DeletePipeRequest,
) -> Result<DeletePipeResponse, Fault> {
    let row = pipes.unmake(cx, &input.name).await?;
    Ok(DeletePipeResponse {
        arn: Some(row.arn),
        name: Some(row.name),
        desired_state: Some("DELETED".into()),
        current_state: Some("DELETING".into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn list_pipes(pipes: &Pipes, cx: &Cx, input: ListPipesRequest) -> Result<ListPipesResponse, Fault> {
    let begins =
        |text: &str, prefix: &Option<String>| prefix.as_ref().is_none_or(|one| text.starts_with(one));
    let rows = pipes.of_caller(cx).into_iter().filter(|row| {
        begins(&row.name, &input.name_prefix)
            && begins(&row.source, &input.source_prefix)
            && begins(&row.target, &input.target_prefix)
            && input.desired_state.as_ref().is_none_or(|state| state.as_str() == row.desired())
            && input.current_state.as_ref().is_none_or(|state| state.as_str() == row.state())
    });
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(100);
    let page = page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit)
        .ok_or_else(|| Fault::validation("Invalid nextToken."))?;
    Ok(ListPipesResponse {
        pipes: Some(page.items.into_iter().map(listed).collect()),
        next_token: page.next_token,
    })
}

fn listed(row: PipeRow) -> Pipe {
    Pipe {
        desired_state: Some(row.desired().into()),
        current_state: Some(PipeState::from(row.state())),
        state_reason: Some(row.reason),
        name: Some(row.name),
        arn: Some(row.arn),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        source: Some(row.source),
        target: Some(row.target),
        enrichment: row.enrichment,
    }
}

pub async fn start_pipe(pipes: &Pipes, cx: &Cx, input: StartPipeRequest) -> Result<StartPipeResponse, Fault> {
    let mut state = "STARTING";
    let row = pipes
        .alter(cx, &input.name, |there| {
            if there.runs() {
                state = "RUNNING";
                return Ok(there.clone());
            }
            let row = PipeRow { wants_to_run: true, changed_at: cx.now().millis(), ..there.clone() };
            request::restarted(pipes, row, "START_FAILED")
        })
        .await?;
    Ok(StartPipeResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        desired_state: Some(row.desired().into()),
        current_state: Some(PipeState::from(state)),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn stop_pipe(pipes: &Pipes, cx: &Cx, input: StopPipeRequest) -> Result<StopPipeResponse, Fault> {
    let mut state = "STOPPED";
    let row = pipes
        .alter(cx, &input.name, |there| {
            if there.runs() {
                state = "STOPPING";
            }
            Ok(PipeRow {
                wants_to_run: false,
                failed: None,
                reason: ASKED_FOR.into(),
                changed_at: if there.wants_to_run { cx.now().millis() } else { there.changed_at },
                ..there.clone()
            })
        })
        .await?;
    Ok(StopPipeResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        desired_state: Some(row.desired().into()),
        current_state: Some(PipeState::from(state)),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}
