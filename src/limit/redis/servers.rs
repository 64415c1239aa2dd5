//! The servers that there are, as one worker knows them.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::AbortHandle;

use super::node::Node;
use super::settings::Server;
use super::slots::Slots;

#[derive(Default)]
pub(super) struct Servers {
    layout: Layout,
    nodes: HashMap<Server, Kept>,
}

#[derive(Default)]
enum Layout {
    /// No server has been reached yet.
    #[default]
    Unknown,
    /// One server, or a primary with its replicas.
    Alone(Rc<Node>),
    Cluster(Slots),
}

/// A hand on a server, and the task that keeps its connection.
pub(super) struct Kept {
    pub(super) node: Rc<Node>,
    pub(super) task: AbortHandle,
}

/// What a look at the servers has found.
#[derive(Debug)]
pub(super) enum Found {
    /// One that is not of a cluster.
    Alone,
    /// A cluster, and which of its servers holds what.
    Cluster(Slots),
}

/// How they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is one, which tells by itself how it stands.
    Alone,
    /// All that are known can be asked.
    Whole,
    /// Some cannot, or none is known yet.
    Lacking,
}

impl Servers {
    /// Whether any has been reached yet.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.layout, Layout::Unknown)
    }

    /// The server that holds a slot.
    pub(super) fn holder(&self, slot: u16) -> Option<Rc<Node>> {
        match &self.layout {
            Layout::Unknown => None,
            Layout::Alone(node) => Some(node.clone()),
            Layout::Cluster(slots) => self.get(slots.server(slot)?),
        }
    }

    /// The server at this place.
    pub(super) fn get(&self, server: &Server) -> Option<Rc<Node>> {
        self.nodes.get(server).map(|kept| kept.node.clone())
    }

    /// The servers of a cluster that can be asked.
    pub(super) fn members(&self) -> Vec<(Server, Rc<Node>)> {
        match &self.layout {
            Layout::Unknown | Layout::Alone(_) => Vec::new(),
            Layout::Cluster(_) => {
                let there = self.nodes.iter().filter(|(_, kept)| kept.node.is_there());
                there.map(|(server, kept)| (server.clone(), kept.node.clone())).collect()
            }
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match &self.layout {
            Layout::Unknown => Standing::Lacking,
            Layout::Alone(_) => Standing::Alone,
            Layout::Cluster(_) if self.nodes.values().all(|kept| kept.node.is_there()) => Standing::Whole,
            Layout::Cluster(_) => Standing::Lacking,
        }
    }

    /// Takes in what was found: starts a hand on each server that is new, given the places where it may be and a slot
    /// that it holds, and lets go of those that have left.
    pub(super) fn adopt(&mut self, found: Found, all: &[Server], mut start: impl FnMut(Vec<Server>, u16) -> Kept) {
        let mut left = std::mem::take(&mut self.nodes);
        match found {
            Found::Alone => {
                if matches!(self.layout, Layout::Alone(_)) {
                    self.nodes = left;
                    return;
                }
                let kept = start(all.to_vec(), 0);
                self.layout = Layout::Alone(kept.node.clone());
                if let Some(server) = all.first() {
                    self.nodes.insert(server.clone(), kept);
                }
            }
            Found::Cluster(slots) => {
                for (server, slot) in slots.servers() {
                    if !self.nodes.contains_key(server) {
                        let kept = left.remove(server).unwrap_or_else(|| start(vec![server.clone()], slot));
                        self.nodes.insert(server.clone(), kept);
                    }
                }
                self.layout = Layout::Cluster(slots);
            }
        }
        for kept in left.into_values() {
            kept.task.abort();
        }
    }
}
