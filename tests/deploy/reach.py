"""Who reaches whom: evaluates the rendered NetworkPolicies for a connection between two pods, or from a pod to an address."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A pod, or an address outside the cluster."""

    labels: tuple = ()
    namespace: str = ""
    address: str = ""

    @property
    def label_map(self):
        return dict(self.labels)


def matches(selector, labels):
    if selector.get("matchExpressions"):
        raise NotImplementedError("matchExpressions")
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(rule_peer, peer, policy_namespace):
    if "ipBlock" in rule_peer:
        network = ipaddress.ip_network(rule_peer["ipBlock"]["cidr"])
        # An address block is for what is outside: network plugins differ on pods.
        return bool(peer.address) and ipaddress.ip_address(peer.address) in network
    if peer.address:
        return False
    namespaces = rule_peer.get("namespaceSelector")
    if namespaces is None:
        in_namespace = peer.namespace == policy_namespace
    else:
        in_namespace = matches(namespaces, {"kubernetes.io/metadata.name": peer.namespace})
    return in_namespace and matches(rule_peer.get("podSelector", {}), peer.label_map)


def is_allowed(policies, direction, pod, other, port, protocol):
    """One side of a connection: what the policies of `pod` say about `other`."""
    side, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    applying = [one for one in policies if one["metadata"]["namespace"] == pod.namespace and direction in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], pod.label_map)]
    if not applying:
        return True
    for policy in applying:
        for rule in policy["spec"].get(side, []):
            port_fits = "ports" not in rule or any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in rule["ports"])
            peer_fits = peers not in rule or any(is_peer(one, other, policy["metadata"]["namespace"]) for one in rule[peers])
            if port_fits and peer_fits:
                return True
    return False


def reaches(policies, source, target, port, protocol="TCP"):
    leaves = bool(source.address) or is_allowed(policies, "Egress", source, target, port, protocol)
    enters = bool(target.address) or is_allowed(policies, "Ingress", target, source, port, protocol)
    return leaves and enters
