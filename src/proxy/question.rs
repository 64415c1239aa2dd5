//! A question of our own to a service, on behalf of a request: what it says decides about the request, or takes the place of
//! its answer.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body;

use super::body::RequestBody;
use super::{Worker, attempt};
use crate::upstream::balance::Choice;
use crate::upstream::pool::{Answered, Destination, Stage, UpstreamBody};
use crate::upstream::{Cluster, Endpoint, Fit, Head};

/// How often the question goes out at most: a second time when its connection or its endpoint was of no use.
const TRIES: usize = 2;

/// What the service has said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The beginning of its body, as long as was asked for.
    pub(super) body: Bytes,
    /// Whether that is all of it.
    pub(super) is_whole: bool,
}

/// Asks, and waits no longer than `limit` for an answer, of whose body `most` bytes are wanted; `None` if none comes.
pub(super) async fn ask(
    worker: &Worker,
    cluster: &Cluster,
    head: &Head<'_>,
    limit: Duration,
    most: usize,
) -> Option<Answer> {
    let mut deadline = worker.clock.deadline();
    let now = worker.clock.now();
    let answer = answer(worker, cluster, head, most);
    attempt::within(&mut deadline, now, Some(limit), None, pin!(answer)).await.ok().flatten()
}

/// The service's answer, if it gives one.
async fn answer(worker: &Worker, cluster: &Cluster, head: &Head<'_>, most: usize) -> Option<Answer> {
    let mut failed: Vec<Endpoint> = Vec::new();
    let stage = Cell::new(Stage::Acquire);
    for _ in 0..TRIES {
        let endpoint = select(worker, cluster, &failed)?;
        worker.pool.set_now(worker.clock.now());
        let lease = match worker.pool.lease_existing(endpoint.slot, None).filter(|_| failed.is_empty()) {
            Some(lease) => Ok(lease),
            None => {
                worker.pool.lease_new(&Destination { cluster, endpoint: &endpoint, speaks_for: None }, &stage).await
            }
        };
        let sent = match lease {
            Ok(mut lease) => match lease.send(head, RequestBody::Empty).await {
                Ok(answered) => Ok((answered, lease)),
                Err(error) => Err(error.error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok((Answered { status, headers, incoming, .. }, lease)) => {
                let (body, is_whole) = read(lease.into_body(incoming), most).await?;
                return Some(Answer { status, headers, body, is_whole });
            }
            Err(error) => {
                tracing::debug!(service = %cluster.name, endpoint = %endpoint.address, %error, "cannot ask a service");
                failed.push(endpoint);
            }
        }
    }
    None
}

/// An endpoint, another than one that has failed if there is a choice.
fn select(worker: &Worker, cluster: &Cluster, failed: &[Endpoint]) -> Option<Endpoint> {
    let set = cluster.endpoints();
    let turn = worker.pool.turn(cluster.slot);
    let choice = Choice {
        loads: &worker.pool,
        turn,
        random: worker.random(),
        hash: None,
        exclude: failed,
        fit: Fit::All,
        slow_start: None,
    };
    cluster.balancer.select(&set, &choice).map(|endpoint| **endpoint)
}

/// The beginning of a body, and whether that is all of it. One that goes on after that is not waited for, and costs its
/// connection.
async fn read(mut body: UpstreamBody<RequestBody>, most: usize) -> Option<(Bytes, bool)> {
    let mut read = BytesMut::new();
    let mut cut = false;
    while read.len() < most {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let room = most - read.len();
                    read.extend_from_slice(data.get(..room).unwrap_or(data));
                    cut = data.len() > room;
                }
            }
            Some(Err(_)) => return None,
            None => return Some((read.freeze(), true)),
        }
    }
    Some((read.freeze(), !cut && body.is_end_stream()))
}
