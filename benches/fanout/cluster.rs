//! A Service, its EndpointSlices, and how a controller changes them.

use anyhow::Context;
use serde_json::{Value, json};

/// The most endpoints in a slice, as the controller fills them unless it is told otherwise.
const FULL: usize = 100;

/// A Service and its slices.
pub(crate) struct Service {
    slices: Vec<Vec<Endpoint>>,
    /// The number of the next pod.
    next: u32,
}

/// One pod as a slice tells of it.
#[derive(Clone, Copy)]
struct Endpoint {
    pod: u32,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Starting,
    Ready,
    Leaving,
}

/// What a watch was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// How many bytes a Service comes to.
pub(crate) struct Sizes {
    /// The Service itself in a list.
    pub(crate) service: usize,
    /// All of its slices in a list.
    pub(crate) slices: usize,
    /// How many slices.
    pub(crate) objects: u32,
    /// The event of one endpoint that becomes ready.
    pub(crate) change: usize,
    /// A rollout that replaces every pod.
    pub(crate) rolled: Told,
}

impl Service {
    /// With so many ready endpoints.
    pub(crate) fn of(endpoints: u32) -> Self {
        let pods: Vec<_> = (0..endpoints).map(|pod| Endpoint { pod, state: State::Ready }).collect();
        Self { slices: pods.chunks(FULL).map(<[Endpoint]>::to_vec).collect(), next: endpoints }
    }

    pub(crate) fn sizes(mut self) -> anyhow::Result<Sizes> {
        let slices = self.slices.iter().map(|slice| json(slice).to_string().len()).sum();
        let objects = u32::try_from(self.slices.len())?;
        let change = event(self.slices.first().context("no endpoints")?);
        Ok(Sizes { service: service().to_string().len(), slices, objects, change, rolled: self.roll() })
    }

    /// Replaces every pod, a quarter of them at a time, and each change of a pod is an event of its own: it comes, is ready,
    /// is to go, and is gone. A controller that is slower than its pods joins some of them.
    fn roll(&mut self) -> Told {
        let mut told = Told::default();
        let old: Vec<u32> = self.slices.iter().flatten().map(|endpoint| endpoint.pod).collect();
        for batch in old.chunks(old.len().div_ceil(4)) {
            let new: Vec<u32> = batch.iter().map(|_| self.start(&mut told)).collect();
            for pod in new {
                self.change(pod, Some(State::Ready), &mut told);
            }
            for pod in batch {
                self.change(*pod, Some(State::Leaving), &mut told);
            }
            for pod in batch {
                self.change(*pod, None, &mut told);
            }
        }
        told
    }

    /// A new pod, in the first slice that has room.
    fn start(&mut self, told: &mut Told) -> u32 {
        let endpoint = Endpoint { pod: self.next, state: State::Starting };
        self.next += 1;
        if let Some(slice) = self.slices.iter_mut().find(|slice| slice.len() < FULL) {
            slice.push(endpoint);
            told.add(slice);
        } else {
            told.add(&[endpoint]);
            self.slices.push(vec![endpoint]);
        }
        endpoint.pod
    }

    /// The pod's new state; it is gone without one.
    fn change(&mut self, pod: u32, state: Option<State>, told: &mut Told) {
        for slice in &mut self.slices {
            let Some(place) = slice.iter().position(|endpoint| endpoint.pod == pod) else { continue };
            match (slice.get_mut(place), state) {
                (Some(endpoint), Some(state)) => endpoint.state = state,
                (Some(_), None) => drop(slice.remove(place)),
                (None, _) => {}
            }
            // An empty slice is told to be gone with its last state, which is as long.
            told.add(slice);
        }
        self.slices.retain(|slice| !slice.is_empty());
    }
}

impl Told {
    fn add(&mut self, slice: &[Endpoint]) {
        self.events += 1;
        self.bytes += event(slice);
    }
}

/// The length of a line of a watch.
fn event(slice: &[Endpoint]) -> usize {
    json!({"type": "MODIFIED", "object": json(slice)}).to_string().len() + 1
}

/// A slice as the API server sends it, with all that the controllers write.
fn json(slice: &[Endpoint]) -> Value {
    let endpoints: Vec<_> = slice.iter().map(Endpoint::json).collect();
    json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": "checkout-7xk2p",
            "generateName": "checkout-",
            "namespace": "team-payments",
            "uid": "4d0c1c0e-6f0b-4c7e-9a55-5f5d0f2f6f1a",
            "resourceVersion": "1234567890",
            "generation": 1234,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app.kubernetes.io/name": "checkout",
                "app.kubernetes.io/part-of": "shop",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": "checkout",
            },
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": "checkout",
                "uid": "0b7d3c43-5c44-4f0e-8a44-0e9a3c6b7a11", "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "discovery.k8s.io/v1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:addressType": {}, "f:endpoints": {},
                    "f:metadata": {
                        "f:annotations": {".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {}},
                        "f:generateName": {},
                        "f:labels": {
                            ".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {},
                            "f:endpointslice.kubernetes.io/managed-by": {}, "f:kubernetes.io/service-name": {},
                        },
                        "f:ownerReferences": {".": {}, "k:{\"uid\":\"0b7d3c43-5c44-4f0e-8a44-0e9a3c6b7a11\"}": {}},
                    },
                    "f:ports": {},
                },
            }],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

impl Endpoint {
    fn json(&self) -> Value {
        let (ready, serving, terminating) = match self.state {
            State::Starting => (false, false, false),
            State::Ready => (true, true, false),
            State::Leaving => (false, true, true),
        };
        let [_, b, c, d] = self.pod.to_be_bytes();
        json!({
            "addresses": [format!("10.{}.{}.{}", 100 + b, 100 + c % 100, d)],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "nodeName": format!("ip-10-0-{}-{}.eu-central-1.compute.internal", 100 + c % 100, d),
            "targetRef": {
                "kind": "Pod", "namespace": "team-payments",
                "name": format!("checkout-6d5f7c9b8d-{:05}", self.pod),
                "uid": "9c2b1f6e-2f0a-4e0e-9f43-0d1c2b3a4f5e",
            },
            "zone": "eu-central-1a",
        })
    }
}

/// A Service as the API server sends it.
fn service() -> Value {
    json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": "checkout",
            "namespace": "team-payments",
            "uid": "0b7d3c43-5c44-4f0e-8a44-0e9a3c6b7a11",
            "resourceVersion": "1234567890",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/name": "checkout", "app.kubernetes.io/part-of": "shop"},
            "managedFields": [{
                "manager": "helm", "operation": "Update", "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {
                        "f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {}},
                    },
                    "f:spec": {
                        "f:internalTrafficPolicy": {},
                        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {},
                        }},
                        "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
                    },
                },
            }],
        },
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
            "selector": {"app.kubernetes.io/name": "checkout"},
            "clusterIP": "172.20.100.100", "clusterIPs": ["172.20.100.100"],
            "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}
