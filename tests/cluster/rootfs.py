"""
The base image: Python, its libraries and nothing else.

No shell, no package manager, no compiler: the files of a dozen Debian packages, unpacked into an empty folder.
apt checks the packages' signatures; maintainer scripts never run.
"""

import hashlib
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import builder
from commands import CommandError, lock, run, step
from places import BASE_IMAGE, CACHE, IMAGES

SUITE: Final = "bookworm"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
PYTHON: Final = "python3.11"
PACKAGES: Final = (
    "base-files",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libexpat1",
    "zlib1g",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
)
"""What Python needs to run, less what only its unused modules need (databases, terminals, NIS)."""
UNUSED: Final = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/bug",
    "usr/share/base-files",
    "usr/share/binfmts",
    "usr/share/python3",
    "usr/share/gcc",
    "usr/share/gdb",
    "usr/lib/*/gconv",
    "usr/lib/*/engines-3",
    "usr/lib/*/perl*",
    "usr/lib/python3.11/*/test",
    "usr/lib/python3.11/config-*",
    *(
        f"usr/lib/{PYTHON}/{name}"
        for name in (
            "idlelib",
            "lib2to3",
            "tkinter",
            "turtledemo",
            "ensurepip",
            "pydoc_data",
            "sqlite3",
            "curses",
            "dbm",
            "test",
        )
    ),
    *(
        f"usr/lib/{PYTHON}/lib-dynload/{name}.*"
        for name in (
            "_sqlite3",
            "_curses",
            "_curses_panel",
            "_dbm",
            "nis",
            "readline",
            "_crypt",
            "_codecs_*",
            "_testcapi",
        )
    ),
    "etc/*",
    "var/*",
    "sbin/*",
)
USERS: Final = "root:x:0:0:root:/:/nonexistent\nonguard:x:65532:65532:onguard:/:/nonexistent\n"
NEEDED: Final = (
    "asyncio, bz2, ctypes, hashlib, http.client, json, lzma, mmap, multiprocessing, socket, ssl, uuid, zlib, zoneinfo"
)

RULES: Final = 1
"""Count up when the files are to be treated in another way: it makes the base image anew."""


def ensure_image() -> str:
    """Build the base image unless one of this very description exists."""
    digest = hashlib.sha256(repr((SUITE, PACKAGES, UNUSED, USERS, RULES)).encode()).hexdigest()[:12]
    stamp = IMAGES / f"base-{digest}"
    with lock(CACHE / "base.lock"):
        if stamp.exists() and builder.exists(BASE_IMAGE):
            return BASE_IMAGE
        with step(f"base image from {len(PACKAGES)} Debian packages"):
            context = IMAGES / "context-base"
            shutil.rmtree(context, ignore_errors=True)
            _fill(context / "rootfs", context / "debs")
            shutil.rmtree(context / "debs")
            (context / "Dockerfile").write_text(
                'FROM scratch\nCOPY rootfs/ /\nENV PATH=/usr/bin LANG=C.UTF-8\nCMD ["python3"]\n'
            )
            builder.build(BASE_IMAGE, context)
            shutil.rmtree(context)
        for old in IMAGES.glob("base-*"):
            old.unlink()
        stamp.touch()
    return BASE_IMAGE


def _fill(root: Path, debs: Path) -> None:
    debs.mkdir(parents=True)
    root.mkdir()
    for folder in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    _download(debs)
    for deb in sorted(debs.glob("*.deb")):
        # dpkg-deb -x would replace the links of the merged /usr by folders.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as archive:
            subprocess.run(
                ["tar", "-x", "-C", root, "--keep-directory-symlink", "--no-same-owner"],
                stdin=archive.stdout,
                check=True,
            )
    _strip(root)
    _configure(root)
    _compile(root)
    run("chroot", root, f"/usr/bin/{PYTHON}", "-c", f"import {NEEDED}")


def _download(debs: Path) -> None:
    """By an apt whose state is our own, so that the suite is the same whatever the machine runs."""
    apt = debs / "apt"
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "cache" / "archives" / "partial").mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(_sources())
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    command = ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    run(*command, "update", cwd=debs)
    run(*command, "download", *PACKAGES, cwd=debs)
    shutil.rmtree(apt)


def _sources() -> str:
    """The machine's own mirrors where it runs the same suite, Debian's otherwise. Mirrors in comments do not count."""
    found: list[str] = []
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in file.read_text().split("\n\n"):
            fields = dict(re.findall(r"^(URIs|Suites|Components):\s*(.+)$", stanza, re.MULTILINE))
            suites = [suite for suite in fields.get("Suites", "").split() if suite.startswith(SUITE)]
            mirror = fields.get("URIs", "").split()
            found += [f"deb [signed-by={KEYRING}] {mirror[0]} {suite} main" for suite in suites if mirror]
    default = [f"deb [signed-by={KEYRING}] {DEFAULT_MIRROR} {suite} main" for suite in (SUITE, f"{SUITE}-updates")]
    return "\n".join(found or default) + "\n"


def _strip(root: Path) -> None:
    for pattern in UNUSED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _configure(root: Path) -> None:
    (root / "usr/bin/python3").symlink_to(PYTHON)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text("root:x:0:\nonguard:x:65532:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    loader = Path("lib64/ld-linux-x86-64.so.2") if platform.machine() == "x86_64" else Path("lib/ld-linux-aarch64.so.1")
    if not (root / loader).exists():
        raise CommandError(f"{loader} is missing in the base image")


def _compile(root: Path) -> None:
    """Byte code in the place of the source: half the size, and nothing is compiled at a container's start."""
    library = f"/usr/lib/{PYTHON}"
    compileall = ["-m", "compileall", "-q", "-b", "--invalidation-mode", "unchecked-hash", library]
    run("chroot", root, f"/usr/bin/{PYTHON}", *compileall)
    for source in (root / library[1:]).rglob("*.py"):
        source.unlink()
    for cache in (root / library[1:]).rglob("__pycache__"):
        shutil.rmtree(cache)
