"""A pod under Pod Security ``restricted`` gets its sidecars; what clients see is what the model answers."""

import socket
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from onguard import contract
from tests.models.traffic import Mix, bodies, path
from tests.stage import objects
from tests.stage.shop import Shop


@pytest.fixture(scope="module")
def guarded(make_shop: Callable[[str], Shop]) -> Iterator[Shop]:
    shop = make_shop("injection")
    shop.stand()
    yield shop
    shop.kube.kubectl("delete", "namespace", shop.space, "--wait=false")


def exchange(address: str, port: int, request: bytes) -> bytes:
    """Send the bytes of one request that asks for the connection's end, return every byte of the answer."""
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(method: str, target: str, body: bytes = b"") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: churn\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def without_date(answer: bytes) -> bytes:
    return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.lower().startswith(b"date:"))


def requests() -> dict[str, bytes]:
    rng = np.random.default_rng(11)
    return {
        "v1": request("POST", path("churn", "v1"), next(bodies(rng, Mix(rows=3)))),
        "v2": request("POST", path("churn", "v2"), next(bodies(rng, Mix(rows=3, protocol="v2")))),
        "large": request("POST", path("churn", "v1"), next(bodies(rng, Mix(rows=400)))),
        "malformed": request("POST", path("churn", "v1"), b"{"),
        "health": request("GET", "/v2/health/ready"),
        "head": request("HEAD", "/v2/health/ready"),
        "absent": request("GET", "/nothing/here?secret=1"),
        "method": request("DELETE", path("churn", "v1")),
    }


def test_pods_are_injected_and_ready_under_restricted(guarded: Shop) -> None:
    namespace = guarded.kube.get("namespace", guarded.space)
    assert namespace is not None
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = guarded.pods()
    assert len(pods) == 2
    for pod in pods:
        assert objects.is_injected(pod)
        assert objects.is_ready(pod)
        assert pod["metadata"]["annotations"][contract.ANNOTATION_INJECTION] == contract.INJECTION_DONE
        assert pod["metadata"]["labels"][contract.LABEL_GUARDED_BY] == "churn"


@pytest.mark.parametrize("name", sorted(requests()))
def test_a_clients_answer_is_byte_for_byte_the_models_own(guarded: Shop, name: str) -> None:
    address = guarded.pods()[0]["status"]["podIP"]
    sent = requests()[name]
    through = exchange(address, contract.PORT_WIRE, sent)
    direct = exchange(address, 8080, sent)
    assert through.startswith(b"HTTP/1.1 ")
    assert without_date(through) == without_date(direct)


def test_the_service_sends_traffic_to_the_wire(guarded: Shop) -> None:
    slices = guarded.kube.list("endpointslices", guarded.space, "kubernetes.io/service-name=churn")
    assert {port["port"] for piece in slices for port in piece["ports"]} == {contract.PORT_WIRE}


def test_the_users_own_objects_are_as_they_were(guarded: Shop) -> None:
    deployment = guarded.kube.get("deployment", "churn", guarded.space)
    assert deployment is not None
    template = deployment["spec"]["template"]["spec"]
    assert [c["name"] for c in template["containers"]] == ["model"]
    assert "initContainers" not in template
