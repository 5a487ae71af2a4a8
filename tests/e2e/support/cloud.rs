//! A small cloud: an HTTP API of instances and images, whose instances are all one SSH server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{Answer, Request, Server};
use super::sshd::Sshd;

/// What there is in the cloud: resources by path, each with how often it was looked at.
#[derive(Default)]
pub struct World {
    pub resources: BTreeMap<String, (Value, usize)>,
    made: usize,
}

/// The cloud; it ends with the value.
pub struct Cloud {
    pub server: Server,
    pub world: Arc<Mutex<World>>,
}

/// The token that it takes.
pub const TOKEN: &str = "token-of-the-small-cloud";

impl Cloud {
    /// Starts it with one SSH server for all instances; `refuses` says how often a copy to a region is refused.
    pub async fn start(sshd: &Sshd, refuses: &'static [(&'static str, usize)]) -> Cloud {
        let world = Arc::new(Mutex::new(World::default()));
        let place = json!({"address": "127.0.0.1", "port": sshd.port, "host_key": sshd.host_key()});
        let (seen, copies) = (world.clone(), Mutex::new(BTreeMap::<String, usize>::new()));
        let server = Server::start(move |request, _| {
            if request.headers.get("authorization").map(String::as_str) != Some(&format!("Bearer {TOKEN}")) {
                return Answer { body: b"who are you?".to_vec(), ..Answer::status(401) };
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if let Some(region) = body["region"].as_str() {
                let mut copies = copies.lock().unwrap();
                let tries = copies.entry(region.to_owned()).or_default();
                *tries += 1;
                if refuses.iter().any(|(refused, times)| *refused == region && *tries <= *times) {
                    return Answer { body: format!("{region} is full").into_bytes(), ..Answer::status(409) };
                }
            }
            seen.lock().unwrap().answer(request, &body, &place)
        })
        .await;
        Cloud { server, world }
    }

    /// Puts a resource there that nobody asked for.
    pub fn plant(&self, path: &str, value: Value) {
        self.world.lock().unwrap().resources.insert(path.to_owned(), (value, 0));
    }

    /// Returns the paths of all resources whose path begins like that.
    pub fn list(&self, start: &str) -> Vec<String> {
        self.world.lock().unwrap().resources.keys().filter(|path| path.starts_with(start)).cloned().collect()
    }
}

impl World {
    fn answer(&mut self, request: &Request, body: &Value, place: &Value) -> Answer {
        let path = request.path.as_str();
        match (request.method.as_str(), path) {
            ("POST", "/instances") => self.make("instance", merged(body, place)),
            ("POST", _) if path.ends_with("/image") || path.ends_with("/copy") => self.make("image", body.clone()),
            ("GET", _) if path.starts_with("/instances?name=") => {
                let name = path.trim_start_matches("/instances?name=");
                let all = self.resources.values().map(|(value, _)| value);
                let found: Vec<&Value> = all.filter(|value| value["name"] == name && value["port"].is_u64()).collect();
                Answer::ok(json!({"instances": found}).to_string())
            }
            ("GET", _) => match self.resources.get_mut(path) {
                Some((value, looks)) => {
                    *looks += 1;
                    let done = if path.starts_with("/images/") { "available" } else { "running" };
                    let state = if *looks < 3 { "pending" } else { done };
                    Answer::ok(merged(value, &json!({"state": state})).to_string())
                }
                None => Answer::status(404),
            },
            ("DELETE", _) => Answer::status(if self.resources.remove(path).is_some() { 204 } else { 404 }),
            _ => Answer::status(405),
        }
    }

    fn make(&mut self, kind: &str, value: Value) -> Answer {
        self.made += 1;
        let id = format!("{kind}-{}", self.made);
        let value = merged(&value, &json!({"id": id}));
        self.resources.insert(format!("/{kind}s/{id}"), (value.clone(), 0));
        Answer { body: value.to_string().into_bytes(), ..Answer::status(201) }
    }
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut fields = one.as_object().cloned().unwrap_or_default();
    fields.extend(other.as_object().cloned().unwrap_or_default());
    Value::Object(fields)
}
