//! The status of an Ingress: where its traffic should go.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus};

use super::address::Address;

/// What to show, unless it is what is shown; the order of addresses says nothing.
pub(super) fn status(addresses: &BTreeSet<Address>, shown: &IngressStatus) -> Option<IngressStatus> {
    let listed = shown.load_balancer.as_ref().and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let as_listed = |address: &Address| {
        let (ip, hostname) = match address {
            Address::Ip(ip) => (Some(ip.to_string()), None),
            Address::Hostname(name) => (None, Some(name.to_string())),
        };
        IngressLoadBalancerIngress { hostname, ip, ports: None }
    };
    let wanted: Vec<_> = addresses.iter().map(as_listed).collect();
    let same = wanted.len() == listed.len() && wanted.iter().all(|address| listed.contains(address));
    (!same).then_some(IngressStatus { load_balancer: Some(IngressLoadBalancerStatus { ingress: Some(wanted) }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_difference_is_written() {
        let both: BTreeSet<Address> = ["192.0.2.1", "lb.example.com"].map(|text| text.parse().unwrap()).into();
        let written = status(&both, &IngressStatus::default()).unwrap();
        assert_eq!(
            serde_json::to_value(&written).unwrap(),
            serde_json::json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}})
        );
        assert_eq!(status(&both, &written), None);

        let mut reversed = written.clone();
        reversed.load_balancer.as_mut().unwrap().ingress.as_mut().unwrap().reverse();
        assert_eq!(status(&both, &reversed), None);

        let one: BTreeSet<Address> = ["192.0.2.1".parse().unwrap()].into();
        assert!(status(&one, &written).is_some());
    }
}
