//! Bodies of requests, drawn at random: each is answered with a reason, and none brings the port down.

use axum::body::to_bytes;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::api::Refusal;
use crate::host::phase::Life;

/// What a host whose handlers do not run yet answers to a body.
fn answered(wish: Wish, body: &[u8]) -> (StatusCode, Refusal) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let board = Board::new(Life::begin());
        let answer = decide(&board, wish, &Bytes::copy_from_slice(body)).await;
        let code = answer.status();
        let text = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (code, serde_json::from_slice(&text).unwrap())
    })
}

fn judge(body: &[u8]) -> Result<(), TestCaseError> {
    for wish in [Wish::Resume, Wish::Skip] {
        let (code, refusal) = answered(wish, body);
        let understood = serde_json::from_slice::<LaneCommand>(body).is_ok();
        let expected = if understood { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        prop_assert_eq!(code, expected, "{:?}", refusal);
        prop_assert!(!refusal.error.is_empty() && (understood || refusal.hint.is_some()));
    }
    Ok(())
}

fn command() -> Value {
    json!({ "handler": "board", "topic": "tasks", "partition": 3, "offset": 1042 })
}

fn extreme() -> impl Strategy<Value = Value> {
    let numbers = [json!(-1), json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(1.5), json!(1e300)];
    let others = [json!(null), json!(true), json!("3"), json!([]), json!([3]), json!({ "a": 3 })];
    prop_oneof![select([numbers, others].concat()), any::<String>().prop_map(Value::from)]
}

proptest! {
    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        judge(&body)?;
    }

    #[test]
    fn a_command_that_breaks_off_or_is_garbled_is_answered(cut in 0_usize..80, garbage: String) {
        let text = command().to_string();
        let cut = cut.min(text.len());
        judge(&text.as_bytes()[..cut])?;
        judge(format!("{}{garbage}{}", &text[..cut], &text[cut..]).as_bytes())?;
    }

    #[test]
    fn values_of_any_kind_are_answered(
        key in select(&["handler", "topic", "partition", "offset", "more"][..]), value in extreme(),
    ) {
        let mut command = command();
        command[key] = value;
        judge(command.to_string().as_bytes())?;
        let object = command.as_object_mut().unwrap();
        object.remove(key);
        judge(command.to_string().as_bytes())?;
    }
}

#[test]
fn nested_beyond_measure() {
    assert_eq!(answered(Wish::Skip, "[".repeat(4_096).as_bytes()).0, StatusCode::BAD_REQUEST);
    assert_eq!(answered(Wish::Skip, &b"{\"a\":".repeat(800)).0, StatusCode::BAD_REQUEST);
}
