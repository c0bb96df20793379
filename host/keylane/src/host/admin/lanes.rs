//! `POST /lanes/resume` and `POST /lanes/skip`: an operator's word on an event that waits.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use keylane_engine::{Control, ControlError};
use tokio::time::timeout;

use super::super::board::Board;
use super::answer::{refuse, yes};
use super::status::look;
use crate::api::LaneCommand;

/// How long a partition's owner may take to do what it is told.
const OWNER_LIMIT: Duration = Duration::from_secs(5);

/// What is wanted of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// It goes on, with fresh attempts.
    Resume,
    /// Its head ends as skipped.
    Skip,
}

/// A no, before it is written as an answer.
struct No {
    code: StatusCode,
    error: String,
    hint: Option<&'static str>,
}

const LOOK_AGAIN: &str = "`keylane status` says which partitions this host has and which events wait in them";

/// Does what the body of a request says.
pub(super) async fn decide(board: &Board, wish: Wish, body: &Bytes) -> Response {
    match obey(board, wish, body).await {
        Ok(command) => yes(&command),
        Err(No { code, error, hint }) => refuse(code, &error, hint),
    }
}

async fn obey(board: &Board, wish: Wish, body: &Bytes) -> Result<LaneCommand, No> {
    let command: LaneCommand = serde_json::from_slice(body).map_err(|error| No {
        code: StatusCode::BAD_REQUEST,
        error: format!("the request's body cannot be understood: {error}"),
        hint: Some("send {\"handler\": ..., \"topic\": ..., \"partition\": ..., \"offset\": ...}"),
    })?;
    let control = find(board, &command).await?;
    let done = match (wish, command.offset) {
        (Wish::Resume, offset) => timeout(OWNER_LIMIT, control.resume(offset)).await,
        (Wish::Skip, Some(offset)) => timeout(OWNER_LIMIT, control.skip(offset)).await,
        (Wish::Skip, None) => {
            return Err(No {
                code: StatusCode::BAD_REQUEST,
                error: "which event to skip is not said".to_owned(),
                hint: Some("name the offset of the event at the lane's head"),
            });
        }
    };
    match done {
        Ok(Ok(())) => {
            let LaneCommand { handler, topic, partition, offset } = &command;
            tracing::info!(handler, topic, partition, offset, ?wish, "an operator decided about a lane");
            Ok(command)
        }
        Ok(Err(error)) => Err(of_control(&error)),
        Err(_) => Err(No {
            code: StatusCode::GATEWAY_TIMEOUT,
            error: format!("the partition's owner did not answer within {} s", OWNER_LIMIT.as_secs()),
            hint: Some("it may still do so: look at `keylane status` before asking again"),
        }),
    }
}

/// The owner of the partition that is meant.
async fn find(board: &Board, command: &LaneCommand) -> Result<Control, No> {
    let handlers = board.handlers();
    let Some(handler) = handlers.iter().find(|handler| handler.name == command.handler) else {
        let names: Vec<&str> = handlers.iter().map(|handler| handler.name.as_str()).collect();
        let error = match names.is_empty() {
            true => "the host is still starting: none of its handlers runs yet".to_owned(),
            false => format!("no handler {:?} in this host: it runs {}", command.handler, names.join(", ")),
        };
        return Err(No { code: StatusCode::NOT_FOUND, error, hint: None });
    };
    let looks = look(&handler.looker).await.map_err(|error| No {
        code: StatusCode::GATEWAY_TIMEOUT,
        error: format!("handler {:?}: {error}", command.handler),
        hint: Some("ask again in a moment"),
    })?;
    let meant = looks.into_iter().find(|look| {
        *look.partition.topic == *command.topic && look.partition.partition == command.partition
    });
    let place = format!("{}[{}]", command.topic, command.partition);
    let Some(look) = meant else {
        return Err(No {
            code: StatusCode::NOT_FOUND,
            error: format!("{place} of handler {:?} is not on this host", command.handler),
            hint: Some(
                "another host of the fleet may have it: ask there. `keylane status` lists what a host has",
            ),
        });
    };
    let phase = look.phase;
    let why = look.fault.map(|fault| format!(": {fault}")).unwrap_or_default();
    look.control.ok_or_else(|| No {
        code: StatusCode::CONFLICT,
        error: format!("nothing of {place} waits for a decision: it is {phase}{why}"),
        hint: Some(LOOK_AGAIN),
    })
}

fn of_control(error: &ControlError) -> No {
    let code = match error {
        ControlError::Gone => StatusCode::NOT_FOUND,
        ControlError::NotWaiting { .. } => StatusCode::CONFLICT,
    };
    No { code, error: error.to_string(), hint: Some(LOOK_AGAIN) }
}

#[cfg(test)]
mod tests;
