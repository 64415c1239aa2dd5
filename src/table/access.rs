//! What a request is asked before its route's filters see it.

use http::HeaderName;

use crate::filter::{Cors, IpAccess, Title};

/// What a request is asked before its route's filters see it: each at its own step (see [`crate::filter`]).
#[derive(Debug, Default)]
pub struct Access {
    /// Which addresses of clients may pass; all when there is none.
    pub ip: Option<Box<IpAccess>>,
    /// Which pages of other origins may use the route; it is not spoken of when there is none.
    pub cors: Option<Box<Cors>>,
    /// Headers that backends take our word for, such as the name of whoever has proved it. What a client sends by these
    /// names is dropped, from its trailers as well.
    pub vouched: Box<[HeaderName]>,
}

impl Access {
    /// Its steps in words, in the order in which they are run.
    pub fn steps(&self) -> Vec<String> {
        let Self { ip, cors, vouched } = self;
        let mut steps = Vec::new();
        if let Some(ip) = ip {
            steps.push(format!("IPAccess: {ip}"));
        }
        if let Some(cors) = cors {
            steps.push(format!("CORS: {cors}"));
        }
        if !vouched.is_empty() {
            let names: Vec<_> = vouched.iter().map(|name| Title(name).to_string()).collect();
            steps.push(format!("clients cannot send {}", names.join(", ")));
        }
        steps
    }
}
