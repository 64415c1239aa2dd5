//! Copies of requests. A copy goes out once the request itself has come in whole, on connections of its own; whatever
//! becomes of it, the request does not notice.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use http_body::Body;

use super::Worker;
use super::attempt;
use super::body::RequestBody;
use super::hold::Held;
use crate::table::{Route, Target};
use crate::telemetry::Copied;
use crate::upstream::balance::Choice;
use crate::upstream::pool::{Answered, Destination, Stage};
use crate::upstream::{Cluster, Fit, Head};

/// The largest body that is copied. A request with a larger one is not.
const MOST: usize = 64 * 1024;
/// Copies that a worker has under way at most; others are not made.
const UNDER_WAY: usize = 128;
/// A copy is given up after this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of an answer so that its connection can be used again.
const ANSWER: usize = 64 * 1024;

/// A copy that waits for the request's body to come in.
pub(super) struct Mirrored {
    worker: Rc<Worker>,
    targets: Vec<Arc<Cluster>>,
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    data: BytesMut,
}

impl Mirrored {
    /// The copies that are to be made of a request by its route; `None` when there are none.
    pub(super) fn draw(
        worker: &Rc<Worker>,
        route: &Route,
        method: &Method,
        target: impl FnOnce() -> Option<PathAndQuery>,
        headers: &HeaderMap,
        host: &HeaderValue,
    ) -> Option<Box<Self>> {
        let drawn = route.mirrors.iter().filter(|mirror| worker.random_below(100) < mirror.percent);
        let targets: Vec<_> = drawn
            .filter_map(|mirror| match &mirror.target {
                Target::Cluster(cluster) => Some(cluster.clone()),
                Target::Unresolved(_) => None,
            })
            .collect();
        if targets.is_empty() {
            return None;
        }
        let mut headers = headers.clone();
        headers.insert(header::HOST, host.clone());
        let (worker, method, target) = (worker.clone(), method.clone(), target()?);
        Some(Box::new(Self { worker, targets, method, target, headers, data: BytesMut::new() }))
    }

    /// Takes a piece of the body; false when it has become too large to be copied.
    pub(super) fn take(&mut self, piece: &[u8]) -> bool {
        if self.data.len() + piece.len() > MOST {
            self.targets.iter().for_each(|_| self.worker.metrics.copied(Copied::TooLarge));
            return false;
        }
        self.data.extend_from_slice(piece);
        true
    }

    /// Sends it: the whole body has been taken.
    pub(super) fn send(self) {
        let Self { worker, targets, method, target, mut headers, data } = self;
        let data = data.freeze();
        // The copy's length is known; its trailers are not copied.
        headers.remove(header::TRAILER);
        if data.is_empty() {
            headers.remove(header::CONTENT_LENGTH);
        } else {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(data.len()));
        }
        for cluster in targets {
            let Some(place) = Place::take(&worker) else {
                worker.metrics.copied(Copied::Dropped);
                continue;
            };
            let (method, target, headers, data) = (method.clone(), target.clone(), headers.clone(), data.clone());
            // It ends by its own time limit, or with the worker.
            tokio::task::spawn_local(async move {
                let head = Head { method: &method, target: &target, headers: &headers };
                let worker = &place.worker;
                let mut deadline = worker.clock.deadline();
                let now = worker.clock.now();
                let answered = pin!(answer(worker, &cluster, &head, data));
                let answered = attempt::within(&mut deadline, now, Some(PATIENCE), None, answered).await;
                let sent = answered.ok().flatten().is_some();
                worker.metrics.copied(if sent { Copied::Sent } else { Copied::Failed });
            });
        }
    }
}

impl std::fmt::Debug for Mirrored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirrored").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A place among the copies under way.
struct Place {
    worker: Rc<Worker>,
}

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let under_way = worker.copies.get();
        if under_way >= UNDER_WAY {
            return None;
        }
        worker.copies.set(under_way + 1);
        Some(Self { worker: worker.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.copies.set(self.worker.copies.get().saturating_sub(1));
    }
}

/// Sends the copy and waits for its answer's end, as far as that is near.
async fn answer(worker: &Worker, cluster: &Cluster, head: &Head<'_>, data: Bytes) -> Option<StatusCode> {
    let endpoint = {
        let set = cluster.endpoints();
        let choice = Choice {
            loads: &worker.pool,
            turn: worker.pool.turn(cluster.slot),
            random: worker.random(),
            hash: None,
            exclude: &[],
            fit: Fit::All,
            slow_start: None,
        };
        **cluster.balancer.select(&set, &choice)?
    };
    worker.pool.set_now(worker.clock.now());
    let mut lease = match worker.pool.lease_existing(endpoint.slot, None) {
        Some(lease) => lease,
        None => {
            let to = Destination { cluster, endpoint: &endpoint, speaks_for: None };
            worker.pool.lease_new(&to, &Cell::new(Stage::Acquire)).await.ok()?
        }
    };
    let body = if data.is_empty() {
        RequestBody::Empty
    } else {
        RequestBody::Held(Box::new(Held::small(data, worker.memory.clone())))
    };
    let Answered { status, incoming, .. } = lease.send(head, body).await.ok()?;
    let mut body = lease.into_body(incoming);
    let mut read = 0;
    while read < ANSWER
        && let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    Some(status)
}
