//! Functions of the script's that the rest of rimg calls: from any thread, answered on Lua's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mlua::Lua;
use tokio::sync::{mpsc, oneshot};

use super::{report, value};
use crate::engine::options::Callback;
use crate::engine::{BuildCx, Value};
use crate::error::{Error, Kind, Result};

/// What Lua's thread is asked to do.
enum Request {
    Call { id: u64, argument: Value, cx: Option<BuildCx>, answer: oneshot::Sender<Result<Value>> },
    Forget(u64),
}

/// The functions that were handed out, and the way to their thread.
struct Exchange {
    functions: HashMap<u64, mlua::Function>,
    requests: mpsc::UnboundedSender<Request>,
}

thread_local! {
    // A function of Lua's may not leave its thread; what leaves is a number.
    static EXCHANGE: RefCell<Option<Exchange>> = const { RefCell::new(None) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A number that is forgotten with its last user.
struct Handle {
    id: u64,
    requests: mpsc::UnboundedSender<Request>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.requests.send(Request::Forget(self.id));
    }
}

/// Makes a callback of a function; none outside of a run. It is called in the surroundings (build, step) of the code that
/// is running now.
pub fn make(function: &mlua::Function) -> Option<Callback> {
    let id = NEXT.with(|next| next.replace(next.get() + 1));
    let requests = EXCHANGE.with_borrow_mut(|exchange| {
        let exchange = exchange.as_mut()?;
        exchange.functions.insert(id, function.clone());
        Some(exchange.requests.clone())
    })?;
    let handle = Arc::new(Handle { id, requests });
    let cx = BuildCx::current();
    Some(Callback::new(move |argument| {
        let (handle, cx) = (handle.clone(), cx.clone());
        Box::pin(async move {
            let gone = || Error::new(Kind::Cancelled, "the script that this function belongs to has ended");
            let (answer, answered) = oneshot::channel();
            let request = Request::Call { id: handle.id, argument, cx, answer };
            handle.requests.send(request).map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        })
    }))
}

/// Answers calls as long as the future is polled; a run does so beside its script. Calls run side by side, and one that nobody
/// waits for any more is dropped.
pub async fn serve(lua: &Lua) -> Infallible {
    let (requests, mut received) = mpsc::unbounded_channel();
    EXCHANGE.set(Some(Exchange { functions: HashMap::new(), requests }));
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(request) = received.recv() => match request {
                Request::Forget(id) => {
                    let forgotten =
                        EXCHANGE.with_borrow_mut(|exchange| exchange.as_mut().and_then(|e| e.functions.remove(&id)));
                    drop(forgotten);
                }
                Request::Call { id, argument, cx, answer } => {
                    let function =
                        EXCHANGE.with_borrow(|exchange| exchange.as_ref().and_then(|e| e.functions.get(&id).cloned()));
                    calls.push(answer_call(lua, function, argument, cx, answer));
                }
            },
            Some(()) = calls.next() => {}
        }
    }
}

async fn answer_call(
    lua: &Lua,
    function: Option<mlua::Function>,
    argument: Value,
    cx: Option<BuildCx>,
    mut answer: oneshot::Sender<Result<Value>>,
) {
    let called = async {
        let function = function.ok_or_else(|| Error::new(Kind::Internal, "a function was forgotten too early"))?;
        let result = async {
            let argument = value::to_lua(lua, &argument)?;
            function.call_async::<mlua::Value>(argument).await
        };
        result.await.map(|value| value::from_lua(&value)).map_err(|error| report::located(&error))
    };
    let called = async {
        match cx {
            Some(cx) => cx.enter(called).await,
            None => called.await,
        }
    };
    let result = tokio::select! {
        result = called => result,
        () = answer.closed() => return,
    };
    let _ = answer.send(result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_function_is_called_from_another_thread_and_forgotten_with_its_last_user() {
        let lua = Lua::new();
        let test = async {
            tokio::task::yield_now().await;
            let function: mlua::Function = lua
                .load("return function(t) if t.n == 0 then error 'zero' end\n return { twice = t.n * 2 } end")
                .set_name("@build.lua")
                .eval()?;
            let callback = make(&function).unwrap();
            let argument = |n| Value::Map(vec![("n".into(), Value::Int(n))]);
            let elsewhere = callback.clone();
            let doubled = tokio::spawn(async move { elsewhere.call(argument(21)).await }).await.unwrap().unwrap();
            assert_eq!(doubled, Value::Map(vec![("twice".into(), Value::Int(42))]));
            assert_eq!(callback.call(argument(0)).await.unwrap_err().message(), "build.lua:1: zero");
            drop(callback);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            EXCHANGE.with_borrow(|exchange| assert!(exchange.as_ref().unwrap().functions.is_empty()));
            Ok::<_, mlua::Error>(())
        };
        let done = tokio::select! {
            never = serve(&lua) => match never {},
            done = test => done,
        };
        done.unwrap();
    }
}
