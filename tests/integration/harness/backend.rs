//! A backend that does what a test tells it to and remembers what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A request as a backend saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A backend on a port of its own that answers every request with its name and remembers it.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Backend {
    /// A backend on 127.0.0.1 whose answers are its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::answering(move |_| Response::new(Full::new(Bytes::from(name))))
    }

    /// A backend with answers of its own.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + Clone + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        runtime.spawn({
            let seen = seen.clone();
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (seen, answer) = (seen.clone(), answer.clone());
                        async move {
                            let (parts, body) = request.into_parts();
                            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                            let new = Seen {
                                method: parts.method,
                                uri: parts.uri,
                                version: parts.version,
                                headers: parts.headers,
                                body,
                            };
                            let response = answer(&new);
                            seen.lock().unwrap().push(new);
                            Ok::<_, Infallible>(response)
                        }
                    });
                    tokio::spawn(
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service),
                    );
                }
            }
        });
        Self { address, seen, _runtime: runtime }
    }

    /// Forgets what it saw.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A Service of this name with one port 80 called `http`, and this backend behind it.
    pub(crate) fn service(&self, name: &str) -> String {
        service(name, &[self.address])
    }
}

/// A Service of this name with one port 80 called `http`, and these addresses behind it.
pub(crate) fn service(name: &str, addresses: &[SocketAddr]) -> String {
    service_speaking(name, "http", addresses)
}

/// The same, with this `appProtocol`.
pub(crate) fn service_speaking(name: &str, protocol: &str, addresses: &[SocketAddr]) -> String {
    let mut yaml = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80, \
         appProtocol: {protocol}}}]}}\n"
    );
    for (number, address) in addresses.iter().enumerate() {
        yaml += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-{number}, labels: \
             {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nports: [{{name: http, port: {}}}]\nendpoints: \
             [{{addresses: [{}]}}]\n",
            address.port(),
            address.ip()
        );
    }
    yaml
}
