"""
Build the programs of the cluster from Go modules that are pinned by go.mod and go.sum.

Each module is built once for each content: the result lies in a folder that is named by a hash of go.mod,
go.sum, sources and flags, outside the tree. A folder appears by a rename, so that it is complete or absent.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commands import CommandError, lock, say
from places import GO_MODULES, TOOLS

MODULES: Final = {
    "pause": "",
    "kubernetes": "k8s.io/kubernetes",
    "helm": "helm.sh/helm/v3",
    "metrics-server": "sigs.k8s.io/metrics-server",
    "coredns": "github.com/coredns/coredns",
    "cert-manager": "github.com/cert-manager/cert-manager",
}
"""Folder below go/ and the module whose version counts; ``pause`` is our own source."""
VERSION_VARIABLES: Final = {
    # Without these a Kubernetes program calls itself v0.0.0 and refuses its own feature gates.
    "kubernetes": ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
    "metrics-server": ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
    "helm": ("helm.sh/helm/v3/internal/version.version",),
}
MORE_LDFLAGS: Final = {
    # `helm template` and `helm lint` then speak for the cluster that we test with, as they do in Helm's own releases.
    "helm": tuple(
        f"-X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={value}"
        for package in ("chartutil", "lint/rules")
        for part, value in (("Major", 1), ("Minor", 34))
    )
}
FILES: Final = {"cert-manager": ("deploy/crds", "cert-manager-crds")}
"""Folder of the module that is kept beside its programs, and the name that it gets."""
PROGRESS_S: Final = 5.0


@dataclass(frozen=True)
class Module:
    name: str
    version: str
    ldflags: str
    digest: str

    @property
    def source(self) -> Path:
        return GO_MODULES / self.name

    @property
    def folder(self) -> Path:
        return TOOLS / f"{self.name}-{self.version}-{self.digest}"

    @property
    def is_built(self) -> bool:
        return self.folder.is_dir()


def module(name: str) -> Module:
    """Read the module's version and compute the name of its folder."""
    source = GO_MODULES / name
    version = _version(source / "go.mod", MODULES[name])
    variables = VERSION_VARIABLES.get(name, ())
    ldflags = " ".join(
        ["-s", "-w", *(f"-X {variable}={version}" for variable in variables), *MORE_LDFLAGS.get(name, ())]
    )
    inputs = [path for path in sorted(source.iterdir()) if path.suffix in {".mod", ".sum", ".go"}]
    digest = hashlib.sha256(ldflags.encode())
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return Module(name, version, ldflags, digest.hexdigest()[:12])


def modules() -> list[Module]:
    return [module(name) for name in MODULES]


@functools.cache
def ensure() -> Path:
    """Build what is missing; return one folder with a link to every program."""
    with lock(TOOLS / ".lock"):
        missing = [each for each in modules() if not each.is_built]
        if missing:
            _require_go()
        for number, each in enumerate(missing, start=1):
            say(f"  building {each.name} {each.version} ({number} of {len(missing)})")
            _build(each)
        return _link_all(modules())


def program(name: str) -> Path:
    return ensure() / name


def _version(go_mod: Path, path: str) -> str:
    if not path:
        return "v0"
    found = re.search(rf"^\s*(?:require )?{re.escape(path)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise CommandError(f"{go_mod}: no version of {path}")
    return found[1]


def _require_go() -> None:
    if shutil.which("go") is None:
        raise CommandError("go is not installed; Go 1.24 or later builds the cluster's programs")


def _build(each: Module) -> None:
    partial = each.folder.with_name(each.folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    what = "." if each.name == "pause" else "tool"
    output = partial / each.name if what == "." else partial
    command = [
        "go",
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        each.ldflags,
        "-o",
        f"{output}{'' if what == '.' else '/'}",
        what,
    ]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    started = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(command, cwd=each.source, env=environment, stderr=subprocess.PIPE, text=True) as process:
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
        reader.start()
        while process.poll() is None:
            time.sleep(0.2)
            _report_progress(each.name, lines, started)
        reader.join()
    if process.returncode != 0:
        raise CommandError(f"{each.name}: go build failed with {process.returncode}\n{''.join(lines[-20:])}")
    _keep_files(each, partial, environment)
    partial.rename(each.folder)
    say(f"    {each.name}: {len(lines)} packages, {time.monotonic() - started:.0f} s")


def _keep_files(each: Module, folder: Path, environment: dict[str, str]) -> None:
    if each.name not in FILES:
        return
    source, name = FILES[each.name]
    command = ["go", "list", "-m", "-f", "{{.Dir}}", MODULES[each.name]]
    found = subprocess.run(command, cwd=each.source, env=environment, capture_output=True, text=True, check=True)
    # Contents only: what lies in Go's module cache may not be written, and neither could a copy of its modes.
    (folder / name).mkdir()
    for path in sorted((Path(found.stdout.strip()) / source).iterdir()):
        shutil.copyfile(path, folder / name / path.name)


def _report_progress(name: str, lines: list[str], started: float) -> None:
    elapsed = time.monotonic() - started
    if elapsed % PROGRESS_S < 0.2:
        last = lines[-1].strip() if lines else "resolving"
        say(f"    {name}: {elapsed:4.0f} s, {len(lines)} packages, {last}")


def _link_all(built: list[Module]) -> Path:
    """One folder of links for each combination; etcd comes from the distribution."""
    key = hashlib.sha256(" ".join(each.folder.name for each in built).encode()).hexdigest()[:12]
    folder = TOOLS / f"bin-{key}"
    if not folder.is_dir():
        partial = TOOLS / f"bin-{key}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for binary in (path for each in built for path in each.folder.iterdir()):
            (partial / binary.name).symlink_to(binary)
        partial.rename(folder)
    etcd = shutil.which("etcd", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if etcd and not (folder / "etcd").exists():
        (folder / "etcd").symlink_to(etcd)
    return folder
