"""The cluster's certificate authorities, certificates and kubeconfigs; made once for each state folder."""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from places import API_SERVER, API_SERVICE_ADDRESS, DNS_DOMAIN, KUBECONFIG, NAME, NODE_ADDRESS, STATE

PKI: Final = STATE / "pki"
VALID_DAYS: Final = 365
API_SERVER_NAMES: Final = (
    NODE_ADDRESS,
    API_SERVICE_ADDRESS,
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{DNS_DOMAIN}",
)


@dataclass(frozen=True)
class Client:
    """One user of the API server."""

    file: str
    user: str
    group: str = ""


CLIENTS: Final = (
    Client("admin", "onguard-admin", "system:masters"),
    Client("controller-manager", "system:kube-controller-manager"),
    Client("scheduler", "system:kube-scheduler"),
    Client("proxy", "system:kube-proxy"),
    Client("kubelet", f"system:node:{NAME}", "system:nodes"),
)


def ensure() -> None:
    """Make all files unless the last one is there: a half-written folder is written again."""
    done = PKI / "complete"
    if done.exists():
        return
    PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _Authority.create("ca", "onguard-ca")
    front_proxy = _Authority.create("front-proxy-ca", "onguard-front-proxy-ca")
    front_proxy.issue("front-proxy-client", "front-proxy-client")
    authority.issue("apiserver", "kube-apiserver", names=API_SERVER_NAMES)
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", group="system:masters")
    authority.issue("kubelet-serving", f"system:node:{NAME}", names=(NODE_ADDRESS, NAME))
    for client in CLIENTS:
        authority.issue(client.file, client.user, group=client.group)
        _write_kubeconfig(client)
    _write_key(PKI / "service-account.key", key := ec.generate_private_key(ec.SECP256R1()))
    _write_public(PKI / "service-account.pub", key)
    KUBECONFIG.write_text((PKI / "admin.kubeconfig").read_text())
    KUBECONFIG.chmod(0o600)
    done.touch()


@dataclass(frozen=True)
class _Authority:
    file: str
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, file: str, common_name: str) -> "_Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        _write_pair(file, key, builder.sign(key, hashes.SHA256()))
        return cls(file, name, key)

    def issue(self, file: str, common_name: str, *, group: str = "", names: Sequence[str] = ()) -> None:
        """Write ``file``.crt and ``file``.key: for a server where it has names, and for a client in any case."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if group:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
        builder = _builder(x509.Name(attributes), self.name, key).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        _write_pair(file, key, builder.sign(self.key, hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_pair(file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_key(PKI / f"{file}.key", key)
    (PKI / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    # The traditional form: kube-controller-manager reads no PKCS8 for every key type.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _write_public(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


def _write_kubeconfig(client: Client) -> None:
    """JSON is YAML. The admin's is copied about, so files are embedded by content, not by path."""
    user = {"client-certificate-data": _base64(f"{client.file}.crt"), "client-key-data": _base64(f"{client.file}.key")}
    cluster = {"server": API_SERVER, "certificate-authority-data": _base64("ca.crt")}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": client.user, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": client.user}}],
        "current-context": NAME,
    }
    path = PKI / f"{client.file}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def _base64(file: str) -> str:
    return base64.b64encode((PKI / file).read_bytes()).decode()
