"""
The node's network namespace, joined to the host by one veth pair.

Everything that the node does to addresses, routes and nftables stays inside. The host reaches pods and Services by
two routes over the pair; the namespace has no default route, so nothing leaves it.
"""

import re
from typing import Final

from commands import CommandError, run, succeeds
from places import HOST_ADDRESS, LINK, LINK_NODE, NAME, NETNS, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR

INSIDE: Final = ("nsenter", f"--net={NETNS}")
"""Not `ip netns exec`: that remounts /sys and hides the cgroups."""
PREFIX: Final = 30


def ensure() -> None:
    """Make what is missing of namespace, pair, addresses and routes; refuse to go on if the host routes elsewhere."""
    if not NETNS.exists():
        run("ip", "netns", "add", NAME)
    run(*INSIDE, "ip", "link", "set", "lo", "up")
    if not succeeds("ip", "link", "show", "dev", LINK):
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", LINK_NODE, "netns", NAME)
    run("ip", "address", "replace", f"{HOST_ADDRESS}/{PREFIX}", "dev", LINK)
    run("ip", "link", "set", LINK, "up")
    run(*INSIDE, "ip", "address", "replace", f"{NODE_ADDRESS}/{PREFIX}", "dev", LINK_NODE)
    run(*INSIDE, "ip", "link", "set", LINK_NODE, "up")
    run(*INSIDE, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    # A packet of the node's own is routed before kube-proxy rewrites its target: without a route it would never leave.
    run(*INSIDE, "ip", "route", "replace", SERVICE_CIDR, "dev", "lo", "src", NODE_ADDRESS)
    for cidr in (POD_CIDR, SERVICE_CIDR):
        run("ip", "route", "replace", cidr, "via", NODE_ADDRESS, "dev", LINK)
    require_route()


def require_route() -> None:
    """The address of the API server must lie behind our veth; a VPN or a container network could own it too."""
    answer = run("ip", "route", "get", NODE_ADDRESS)
    if not re.search(rf"\bdev {re.escape(LINK)}\b", answer):
        raise CommandError(f"{NODE_ADDRESS} must be reached over {LINK}, but the route is: {answer.strip()}")


def is_up() -> bool:
    return NETNS.exists() and succeeds("ip", "link", "show", "dev", LINK)


def remove() -> None:
    """Remove the pair by name first: deleting the namespace alone can leave the host's end for a while."""
    if succeeds("ip", "link", "show", "dev", LINK):
        run("ip", "link", "delete", LINK)
    if NETNS.exists():
        run("ip", "netns", "delete", NAME)
