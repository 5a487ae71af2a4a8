//! `rimg.http`: requests to servers, with the system's certificates and proxies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlua::{Lua, Table};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::codec::{DecodeOptions, decoded, syntax_error};
use super::current::current;
use super::names::Names;
use crate::engine::options::{Any, Blob, Scalar};
use crate::engine::{BuildCx, Seconds};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::media::http as media;
use crate::script::error::lua_error;
use crate::script::value::{decode_table, string, to_json};
use crate::ui::event::Unit;

/// How long a request without `to` may take, unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The longest wait between two attempts, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What an answer may hold without `to`.
const BODY_LIMIT: usize = 256 << 20;

/// Makes the table of `rimg.http`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    let call = |method: Method, of: &'static str| {
        move |lua: Lua, (url, options): (mlua::Value, mlua::Value)| request(lua, of, method.clone(), url, options)
    };
    Names::new(lua, "rimg.http")?
        .async_function("delete", call(Method::DELETE, "rimg.http.delete"))?
        .async_function("get", call(Method::GET, "rimg.http.get"))?
        .async_function("head", call(Method::HEAD, "rimg.http.head"))?
        .async_function("patch", call(Method::PATCH, "rimg.http.patch"))?
        .async_function("post", call(Method::POST, "rimg.http.post"))?
        .async_function("put", call(Method::PUT, "rimg.http.put"))?
        .async_function("request", any_request)?
        .done()
}

/// Options of `rimg.http.get` and its siblings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Headers of the request.
    pub headers: BTreeMap<String, Scalar>,
    /// Parameters added to the URL's query.
    pub query: BTreeMap<String, Scalar>,
    /// What is sent, as it is.
    pub body: Option<Blob>,
    /// What is sent, as JSON.
    pub json: Option<Any>,
    /// What is sent, as a form's fields.
    pub form: Option<BTreeMap<String, Scalar>>,
    /// The user of basic authentication.
    pub username: Option<String>,
    /// The password of basic authentication; masked in every output.
    pub password: Option<String>,
    /// The token of bearer authentication; masked in every output.
    pub bearer: Option<String>,
    /// How long one attempt may take; default 5 minutes, with `to` only silence is limited (to a minute).
    pub timeout: Option<Seconds>,
    /// How often it is tried again when there is no answer, or one of 408, 429 and 5xx; default 0.
    pub retries: u32,
    /// Whether a status other than 2xx is an error; default true.
    pub check: Option<bool>,
    /// The file that the body is saved to instead of being returned, relative to the script's folder.
    pub to: Option<PathBuf>,
}

struct Answer {
    status: StatusCode,
    url: Url,
    headers: BTreeMap<String, Vec<u8>>,
    body: Vec<u8>,
}

async fn any_request(lua: Lua, (method, url, options): (mlua::Value, mlua::Value, mlua::Value)) -> mlua::Result<Table> {
    let of = "rimg.http.request";
    let name = string(of, "method", &method)?;
    let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes())
        .map_err(|e| lua_error(Error::new(Kind::Option, format!("{of}: method: {name:?}")).caused_by(e)))?;
    request(lua, of, method, url, options).await
}

async fn request(
    lua: Lua,
    of: &'static str,
    method: Method,
    url: mlua::Value,
    options: mlua::Value,
) -> mlua::Result<Table> {
    let cx = current(&lua, of)?;
    let url = parse_url(of, &string(of, "url", &url)?).map_err(lua_error)?;
    let options: HttpOptions = decode_table(of, &options)?;
    let client = client(&lua).map_err(lua_error)?;
    let request = build(of, &client, method, url.clone(), &options).map_err(lua_error)?;
    for secret in [options.password.as_deref(), options.bearer.as_deref()].into_iter().flatten() {
        cx.ui.secrets().add(secret);
    }
    media::hide_url(&url, cx.ui.secrets());
    options.headers.iter().for_each(|(name, value)| media::hide_header(name, value.text(), cx.ui.secrets()));
    options.query.iter().for_each(|(name, value)| media::hide_header(name, value.text(), cx.ui.secrets()));
    let answer = if cx.settings.is_live() {
        super::current::acts(&lua);
        attempts(&cx, of, request, &options).await.map_err(lua_error)?
    } else {
        Answer { status: StatusCode::OK, url, headers: BTreeMap::new(), body: Vec::new() }
    };
    result(&lua, of, answer, &options)
}

/// Keeps one client a run, and so its connections.
fn client(lua: &Lua) -> Result<Client> {
    if let Some(client) = lua.app_data_ref::<Client>() {
        return Ok(client.clone());
    }
    let client = media::client()?;
    lua.set_app_data(client.clone());
    Ok(client)
}

fn parse_url(of: &str, text: &str) -> Result<Url> {
    let wrong = |error: Error| error.hint("write a whole URL: \"https://example.org/path\"");
    let url = Url::parse(text).map_err(|e| {
        wrong(Error::new(Kind::Option, format!("{of}: {:?} is not a URL", media::shown_text(text))).caused_by(e))
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(wrong(Error::new(Kind::Option, format!("{of}: {other:?} is not a scheme it speaks")))),
    }
}

fn build(of: &str, client: &Client, method: Method, mut url: Url, options: &HttpOptions) -> Result<RequestBuilder> {
    if !options.query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in &options.query {
            pairs.append_pair(name, value.text());
        }
    }
    let wrong = |message: String| Error::new(Kind::Option, format!("{of}: {message}"));
    let mut request = client.request(method, url);
    let bodies = [options.body.is_some(), options.json.is_some(), options.form.is_some()];
    if bodies.iter().filter(|given| **given).count() > 1 {
        return Err(wrong("only one of `body`, `json` and `form` can be sent".into()));
    }
    let own_type = options.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    let typed = |request: RequestBuilder, kind| if own_type { request } else { request.header(CONTENT_TYPE, kind) };
    if let Some(Blob(body)) = &options.body {
        request = request.body(body.clone());
    } else if let Some(Any(data)) = &options.json {
        let json = to_json(data).map_err(|what| wrong(format!("option `json`: {what}")))?;
        request = typed(request, "application/json").body(json.to_string());
    } else if let Some(form) = &options.form {
        let fields = form.iter().map(|(name, value)| (name.as_str(), value.text()));
        request = typed(request, "application/x-www-form-urlencoded").body(encode_form(fields));
    }
    for (name, value) in &options.headers {
        let header = HeaderName::try_from(name.as_str());
        let header = header.map_err(|e| wrong(format!("option `headers`: {name:?}")).caused_by(e))?;
        let value = HeaderValue::try_from(value.text());
        // The value may be a secret: it is not shown.
        let value = value.map_err(|e| wrong(format!("option `headers.{name}`")).caused_by(e))?;
        request = request.header(header, value);
    }
    if let Some(user) = &options.username {
        request = request.basic_auth(user, options.password.as_ref());
    }
    if let Some(token) = &options.bearer {
        request = request.bearer_auth(token);
    }
    let timeout = options.timeout.map(|limit| limit.0).or_else(|| options.to.is_none().then_some(TIMEOUT));
    Ok(match timeout {
        Some(limit) => request.timeout(limit),
        None => request,
    })
}

fn encode_form<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // A query is encoded as a form is.
    let Ok(mut url) = Url::parse("http://form/") else { return String::new() };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

async fn attempts(cx: &BuildCx, of: &str, request: RequestBuilder, options: &HttpOptions) -> Result<Answer> {
    let mut attempt = 0;
    loop {
        let again = request.try_clone();
        let (error, wait) = match once(cx, of, again, options).await {
            Ok(answer) if options.check == Some(false) || answer.status.is_success() => return Ok(answer),
            Ok(answer) => (refused(of, &answer), passing(&answer).then(|| asked_wait(&answer, attempt))),
            Err(error) => {
                let wait = (error.kind() == Kind::Network).then(|| growing_wait(attempt));
                (error, wait)
            }
        };
        match wait {
            Some(wait) if attempt < options.retries => {
                attempt += 1;
                cx.ui.debug(format!("{error}; attempt {attempt} of {} more in {wait:?}", options.retries));
                tokio::time::sleep(wait).await;
            }
            _ => return Err(error),
        }
    }
}

fn growing_wait(attempt: u32) -> Duration {
    Duration::from_millis(500 * 2u64.pow(attempt.min(7))).min(LONGEST_WAIT)
}

fn asked_wait(answer: &Answer, attempt: u32) -> Duration {
    let asked = answer.headers.get(RETRY_AFTER.as_str()).and_then(|value| std::str::from_utf8(value).ok());
    match asked.and_then(|value| value.trim().parse().ok()) {
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST_WAIT),
        None => growing_wait(attempt),
    }
}

fn passing(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 408 | 429) || answer.status.is_server_error()
}

fn refused(of: &str, answer: &Answer) -> Error {
    let text = String::from_utf8_lossy(&answer.body);
    let said: String = text.trim().chars().take(300).collect();
    let error = media::status_error(&answer.url, answer.status).within(of).field("body", text);
    if said.is_empty() || said.starts_with('<') { error } else { error.hint(format!("the server says: {said}")) }
}

async fn once(cx: &BuildCx, of: &str, request: Option<RequestBuilder>, options: &HttpOptions) -> Result<Answer> {
    let unsent = || Error::new(Kind::Internal, format!("{of}: the request cannot be sent"));
    let (client, request) = request.ok_or_else(unsent)?.build_split();
    let request = request.map_err(|e| unsent().caused_by(e.without_url()))?;
    let url = request.url().clone();
    let host = url.host_str().unwrap_or_default().to_owned();
    let title = format!("{} {host}", request.method());
    let failed = |e: reqwest::Error| media::error(&url, e).within(of);
    let waiting = cx.ui.progress(&title, None, Unit::Spinner);
    let mut response = client.execute(request).await.map_err(failed)?;
    drop(waiting);
    let mut headers: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, value) in response.headers() {
        let joined = headers.entry(name.as_str().to_owned()).or_default();
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    let (status, final_url) = (response.status(), response.url().clone());
    let progress = cx.ui.progress(&title, response.content_length(), Unit::Bytes);
    let mut body = Vec::new();
    if let (Some(to), true) = (&options.to, status.is_success()) {
        let advance = |n| progress.add(n);
        save(cx, &cx.settings.resolve(to), &mut response, &failed, &advance).await.map_err(|e| e.within(of))?;
    } else {
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > BODY_LIMIT {
                let message = format!("{of}: {} answers with more than {} MiB", media::shown(&url), BODY_LIMIT >> 20);
                return Err(Error::new(Kind::Unsupported, message).hint("save it to a file: to = \"path\""));
            }
            body.extend_from_slice(&chunk);
            progress.add(chunk.len() as u64);
        }
    }
    Ok(Answer { status, url: final_url, headers, body })
}

/// Streams the body to a file, which appears whole.
async fn save(
    cx: &BuildCx,
    to: &Path,
    response: &mut Response,
    failed: &(impl Fn(reqwest::Error) -> Error + Sync),
    advance: &(impl Fn(u64) + Sync),
) -> Result<()> {
    if to.is_dir() {
        return Err(Error::new(Kind::Io, format!("{} is a folder", to.display()))
            .hint("name the file that the answer is saved to"));
    }
    let pending = Pending::beside(to)?;
    let resource = cx.resources.enter_path("download", pending.path())?;
    let saved = async {
        let io = |e| io_error("write", pending.path(), e);
        let mut file = tokio::fs::File::create(pending.path()).await.map_err(io)?;
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            file.write_all(&chunk).await.map_err(io)?;
            advance(chunk.len() as u64);
        }
        file.flush().await.map_err(io)
    };
    let result = saved.await;
    let result = match result {
        Ok(()) => crate::host::blocking::run(move |_| pending.commit()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    cx.resources.forget(resource);
    result
}

fn result(lua: &Lua, of: &'static str, answer: Answer, options: &HttpOptions) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("status", answer.status.as_u16())?;
    table.raw_set("ok", answer.status.is_success())?;
    table.raw_set("url", media::shown(&answer.url))?;
    let headers = lua.create_table()?;
    for (name, value) in &answer.headers {
        headers.raw_set(name.as_str(), lua.create_string(value)?)?;
    }
    let any_case = lua.create_table()?;
    any_case.set(
        "__index",
        lua.create_function(|_, (headers, name): (Table, mlua::Value)| match &name {
            mlua::Value::String(name) => headers.raw_get::<mlua::Value>(name.to_string_lossy().to_ascii_lowercase()),
            _ => Ok(mlua::Value::Nil),
        })?,
    )?;
    headers.set_metatable(Some(any_case))?;
    table.raw_set("headers", headers)?;
    table.raw_set("body", lua.create_string(&answer.body)?)?;
    if let (Some(to), true) = (&options.to, answer.status.is_success()) {
        table.raw_set("path", to.to_string_lossy())?;
    }
    let body = answer.body;
    let json = lua.create_function(move |lua, (_, options): (mlua::Value, mlua::Value)| {
        let of = format!("{of}: json");
        let options: DecodeOptions = decode_table(&of, &options)?;
        if current(lua, &of).is_ok_and(|cx| !cx.settings.is_live()) {
            return lua.create_table().map(mlua::Value::Table);
        }
        let json: serde_json::Value = serde_json::from_slice(&body).map_err(|e| {
            let place = Some((e.line(), e.column()));
            syntax_error(&of, &String::from_utf8_lossy(&body), place, "the answer is not JSON")
        })?;
        decoded(lua, json.into(), &options)
    })?;
    table.raw_set("json", json)?;
    Ok(table)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
