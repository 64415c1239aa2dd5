//! The demo under load while its folder is rewritten, broken, mended and emptied.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::demo::Demo;
use crate::harness::http::get;

/// One request every two milliseconds for twenty seconds, whether the ones before have been answered or not.
const EVERY: Duration = Duration::from_millis(2);
const REQUESTS: usize = 10_000;

/// Host, path, and what the answer holds: none of it is in what changes.
const UNTOUCHED: [(&str, &str, &str); 3] = [
    ("demo.test", "/hello/world", "\"path\": \"/greet/world\""),
    ("echo.localhost", "/any?q", "\"path\": \"/any\""),
    ("demo.test", "/hello/you", "\"path\": \"/greet/you\""),
];

#[test]
fn nothing_untouched_fails_while_the_folder_changes() {
    let demo = Demo::start();
    let stop = AtomicBool::new(false);
    let (failed, changes) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| rewrite(&demo.folder(), &stop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failed = runtime.block_on(load(demo.http));
        stop.store(true, Ordering::Relaxed);
        (failed, writer.join().unwrap())
    });
    assert_eq!(failed, Vec::<String>::new());
    let generation = get(demo.admin, "/api/v1/generation").unwrap().json()["generation"].as_u64().unwrap();
    assert!(changes > 100 && generation > 50, "{changes} changes came to generation {generation}");
}

/// Sends all requests; what went wrong.
async fn load(address: SocketAddr) -> Vec<String> {
    let idle: Arc<Mutex<Vec<SendRequest<Empty<Bytes>>>>> = Arc::default();
    let mut exchanges = JoinSet::new();
    let mut failed = Vec::new();
    let mut ticks = tokio::time::interval(EVERY);
    for number in 0..REQUESTS {
        ticks.tick().await;
        let idle = idle.clone();
        exchanges.spawn(async move {
            let (host, path, expected) = UNTOUCHED[number % UNTOUCHED.len()];
            let kept = idle.lock().unwrap().pop();
            let answer = exchange(kept, address, host, path).await;
            match answer {
                Ok((200, body, sender)) if body.contains(expected) => {
                    idle.lock().unwrap().push(sender);
                    None
                }
                Ok((status, body, _)) => Some(format!("request {number}, {host}{path}: {status} {body}")),
                Err(error) => Some(format!("request {number}, {host}{path}: {error}")),
            }
        });
        while let Some(done) = exchanges.try_join_next() {
            failed.extend(done.unwrap());
        }
    }
    while let Some(done) = exchanges.join_next().await {
        failed.extend(done.unwrap());
    }
    failed
}

type Answer = (u16, String, SendRequest<Empty<Bytes>>);

async fn exchange(
    kept: Option<SendRequest<Empty<Bytes>>>,
    address: SocketAddr,
    host: &str,
    path: &str,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let mut sender = match kept {
        Some(sender) => sender,
        None => {
            let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
            tokio::spawn(connection);
            sender
        }
    };
    sender.ready().await?;
    let request = Request::builder().uri(path).header("host", host).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned(), sender))
}

/// Rewrites, breaks, mends and deletes until it is stopped; how many changes it made.
fn rewrite(folder: &Path, stop: &AtomicBool) -> usize {
    let example = fs::read_to_string(folder.join("route.yaml")).unwrap();
    let other = |path: &str, port: u32| {
        format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: other}}\nspec:\n  rules: [{{matches: \
             [{{path: {{value: {path}}}}}], backendRefs: [{{name: echo, port: {port}}}]}}]\n"
        )
    };
    let mut round = 0;
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        let steps: [&dyn Fn() -> std::io::Result<()>; 10] = [
            // Another file: written in place, broken, broken otherwise, mended, moved, gone.
            &|| fs::write(folder.join("other.yaml"), other("/other", 80)),
            &|| fs::write(folder.join("other.yaml"), "apiVersion: ["),
            &|| fs::write(folder.join("other.yaml"), other("relative", 81)),
            &|| fs::write(folder.join("other.yaml"), other(&format!("/other/{round}"), 80)),
            &|| fs::create_dir_all(folder.join("below")),
            &|| fs::rename(folder.join("other.yaml"), folder.join("below/other.yaml")),
            &|| fs::remove_dir_all(folder.join("below")),
            // The very file that declares what is asked for: another rule of it changes, and the file breaks.
            &|| save(folder, &example.replace("I am a teapot", &format!("teapot {round}"))),
            &|| save(folder, &(example.clone() + "\n---\n}")),
            &|| save(folder, &example),
        ];
        for step in steps {
            step().unwrap();
            changes += 1;
            // Long enough for most steps to be seen apart from the next, short enough for some to be seen with it.
            std::thread::park_timeout(Duration::from_millis(40));
        }
        round += 1;
    }
    changes
}

/// As editors save: another file that takes the name.
fn save(folder: &Path, text: &str) -> std::io::Result<()> {
    let aside = folder.join(".route.yaml.new");
    fs::write(&aside, text)?;
    fs::rename(aside, folder.join("route.yaml"))
}
