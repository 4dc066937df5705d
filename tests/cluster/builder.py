"""
Build images from a Dockerfile with docker where an engine answers, with buildah otherwise; keep them as archives.

A build reaches no network: whatever an image holds lies in its context. buildah's storage is our own folder below
the cache, so that nothing of the machine's own images is touched.
"""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from commands import CommandError, run, succeeds
from places import BUILDAH, IMAGES

STORAGE: Final = ("--root", str(BUILDAH / "storage"), "--runroot", str(BUILDAH / "run"), "--storage-driver", "overlay")


@functools.cache
def has_docker() -> bool:
    return shutil.which("docker") is not None and succeeds("docker", "info", timeout=20)


def build(name: str, context: Path, *, file: Path | None = None, arguments: Mapping[str, str] | None = None) -> str:
    """Build ``name`` from the context; return the image's id. Unchanged input gives the same id."""
    options = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    dockerfile = file or context / "Dockerfile"
    if has_docker():
        run("docker", "build", "--network=none", *options, "--tag", name, "--file", dockerfile, context, timeout=1800)
        return run("docker", "image", "inspect", "--format={{.Id}}", name).strip()
    command = ["bud", "--isolation=chroot", "--layers", *options, "--tag", name, "--file", dockerfile, context]
    _buildah(*command)
    return image_id(name)


def image_id(name: str) -> str:
    """Id of a built image; CommandError if there is none of that name."""
    if has_docker():
        return run("docker", "image", "inspect", "--format={{.Id}}", name).strip()
    return _buildah("inspect", "--type=image", "--format={{.FromImageID}}", name).strip()


def exists(name: str) -> bool:
    try:
        image_id(name)
    except CommandError:
        return False
    return True


def archive(name: str) -> Path:
    """The image as a docker-archive file in the cache, written again only when the image's id changed."""
    identity = image_id(name)
    path = IMAGES / f"{name.replace('/', '_').replace(':', '_')}.tar"
    stamp = path.with_suffix(".id")
    if path.exists() and stamp.exists() and stamp.read_text() == identity:
        return path
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    path.unlink(missing_ok=True)  # docker-archive refuses to write over a file
    if has_docker():
        run("docker", "save", "--output", path, name)
    else:
        _buildah("push", name, f"docker-archive:{path}:{name}")
    stamp.write_text(identity)
    return path


def size(name: str) -> str:
    """Uncompressed size: what the node unpacks."""
    if has_docker():
        size_bytes = int(run("docker", "image", "inspect", "--format={{.Size}}", name))
        return f"{size_bytes / 1e6:.1f} MB"
    return _buildah("images", "--format={{.Size}}", name).strip()


def scratch(name: str, program: Path) -> str:
    """An image that holds one static program and nothing else, run as a numeric user."""
    context = IMAGES / f"context-{program.name}"
    context.mkdir(parents=True, exist_ok=True)
    copy = context / program.name
    if not copy.exists() or copy.stat().st_mtime != program.stat().st_mtime:
        shutil.copy2(program, copy)
    (context / "Dockerfile").write_text(
        f'FROM scratch\nCOPY {program.name} /{program.name}\nUSER 65532:65532\nENTRYPOINT ["/{program.name}"]\n'
    )
    return build(name, context)


def _buildah(*arguments: str | Path) -> str:
    """
    In namespaces of its own.

    Chroot isolation, the only one that works everywhere, gives a build its caller's network: so the caller has none.
    And buildah's mounts end with it, also when it is killed.
    """
    return run("unshare", "--net", "--mount", "--propagation=private", "buildah", *STORAGE, *arguments, timeout=1800)
