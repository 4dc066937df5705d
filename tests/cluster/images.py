"""
Build the project's images: ``python tests/cluster/images.py [all] | build NAME CONTEXT [--file F] [--arg KEY=VALUE]``.

A build reaches no network. Libraries are installed on the host with the host's pip settings, by hash, into a folder;
our own wheel goes to a second one. Both are copied into the image: the first layer changes with the lock files, the
second with our code, so that a rebuild takes seconds. What an image does not need at run time is left out.
"""

import argparse
import hashlib
import os
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import builder
import rootfs
from commands import CommandError, lock, run, say, step
from places import BASE_IMAGE, CACHE, IMAGES, TREE

NEEDED_PYTHON: Final = (3, 11)
UNUSED: Final = (
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.c",
    "**/*.cpp",
    "**/*.h",
    "**/*.a",
    "**/*.hash",
    "**/tests",
    "**/test_*.py",
    "**/*_test.py",
    "*.dist-info/RECORD",
    "*.dist-info/licenses/**/*.html",
    "bin",
    "numpy/f2py",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/doc",
    "kubernetes/docs",
    "kubernetes/e2e_test",
    "kubernetes/aio/docs",
    "kubernetes/aio/e2e_test",
)
"""Sources of compiled modules, type stubs, tests and build aids of our libraries."""
LIBRARY_RULES: Final = 1
"""Count up when libraries are to be treated in another way: it makes them anew."""


@dataclass(frozen=True)
class Image:
    """
    One image of the project.

    Attributes:
        name: full name, as buildah and containerd write it.
        dockerfile: its path in the tree.
        requirements: the lock file of its libraries, in ``requirements/``.
        packages: which packages of our own wheel go in.
        files: further files of the tree, as patterns.
    """

    name: str
    dockerfile: str
    requirements: str
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


ALL: Final = (
    Image("localhost/onguard-operator:dev", "operator/Dockerfile", "operator.txt", ("onguard", "onguard_operator")),
    Image("localhost/onguard-sidecar:dev", "sidecar/Dockerfile", "sidecar.txt", ("onguard", "onguard_sidecar")),
    Image(
        "localhost/onguard-models:dev",
        "tests/models/Dockerfile",
        "sidecar.txt",
        files=("tests/models/*.py", "tests/models/*.json"),
    ),
)


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        with lock(CACHE / "images.lock"):
            if options.command == "build":
                _build_one(options)
            else:
                build_all()
    except CommandError as error:
        say(f"images: {error}")
        return 1
    return 0


def build_all() -> None:
    """Build every image of the project and print the sizes."""
    _require_python()
    base = _base()
    with step("wheel"):
        wheel = _wheel()
    for image in ALL:
        if not (TREE / image.dockerfile).exists():
            say(f"  {image.name}: no {image.dockerfile} yet")
            continue
        _build_if_changed(image, wheel, base)
    for name in built():
        print(f"{name}: {builder.size(name)}")


def _build_if_changed(image: Image, wheel: Path, base: str) -> None:
    """An image whose base, Dockerfile, libraries and program are those of the last build is that image."""
    libraries = _libraries(image.requirements)
    context = _context(image, wheel)
    digest = hashlib.sha256(f"{libraries} {builder.image_id(base)}".encode())
    for path in (TREE / image.dockerfile, *sorted((context / "program").rglob("*.*"))):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    stamp = context / "built"
    if stamp.exists() and stamp.read_text() == digest.hexdigest() and builder.exists(image.name):
        return
    stamp.unlink(missing_ok=True)
    with step(image.name):
        _link_libraries(context, libraries)
        builder.build(image.name, context, file=TREE / image.dockerfile, arguments={"BASE": base})
    stamp.write_text(digest.hexdigest())


def built() -> list[str]:
    """Names of those of the project's images that are there, the base included: tests run commands in it."""
    return [name for name in (BASE_IMAGE, *(image.name for image in ALL)) if builder.exists(name)]


def _build_one(options: argparse.Namespace) -> None:
    arguments = dict(pair.split("=", 1) for pair in options.arg)
    with step(options.name):
        builder.build(options.name, options.context, file=options.file, arguments={"BASE": _base(), **arguments})
    print(f"{options.name}: {builder.size(options.name)}")


def _base() -> str:
    """``ONGUARD_BASE`` names another base with Python 3.11, such as python:3.11-slim-bookworm."""
    return os.environ.get("ONGUARD_BASE") or rootfs.ensure_image()


def _require_python() -> None:
    if sys.version_info[:2] != NEEDED_PYTHON:
        raise CommandError(f"images hold Python {NEEDED_PYTHON}; run this with it, not with {sys.version.split()[0]}")


def _wheel() -> Path:
    folder = IMAGES / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=TREE)
    return next(folder.glob("*.whl"))


def _context(image: Image, wheel: Path) -> Path:
    """A folder with ``program/``: our packages of the wheel and further files."""
    context = IMAGES / f"context-{Path(image.dockerfile).parent.name}"
    program = context / "program"
    shutil.rmtree(program, ignore_errors=True)
    program.mkdir(parents=True)
    if image.packages:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(program)
        _keep_only(program, image.packages)
    for file in sorted(path for pattern in image.files for path in TREE.glob(pattern)):
        target = program / file.relative_to(TREE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    _compile(program)
    _same_times(program)
    return context


def _link_libraries(context: Path, libraries: Path) -> None:
    folder = context / "libraries"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(libraries, folder, copy_function=os.link)
    _same_times(folder)


def _libraries(requirements: str) -> Path:
    """The locked libraries, installed, pruned and compiled; made once for each lock file and set of rules."""
    lock_file = TREE / "requirements" / requirements
    digest = hashlib.sha256(lock_file.read_bytes() + repr((UNUSED, LIBRARY_RULES)).encode()).hexdigest()[:12]
    folder = IMAGES / f"libraries-{lock_file.stem}-{digest}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with step(f"libraries of {requirements}"):
        _install(partial, "--require-hashes", "--requirement", str(lock_file))
        _prune(partial)
        _strip_symbols(partial)
        _compile(partial, "-b")
        for source in partial.rglob("*.py"):
            source.unlink()
    partial.rename(folder)
    return folder


def _install(target: Path, *what: str) -> None:
    """With pip: it honours the host's index, certificate and proxy settings."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--only-binary=:all:",
        "--target",
        target,
    ]
    run(*command, *what, timeout=1800)


def _keep_only(program: Path, packages: tuple[str, ...]) -> None:
    for path in program.iterdir():
        if path.name not in packages and path.suffix != ".dist-info":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if "onguard" in packages:
        # The command line reads files and prints; the services have no use for it.
        shutil.rmtree(program / "onguard" / "cli", ignore_errors=True)


def _prune(folder: Path) -> None:
    for pattern in UNUSED:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _strip_symbols(folder: Path) -> None:
    """
    Drop debugging symbols: two thirds of uvloop.

    Not of libraries that the wheel's maker has patched (numpy, ``*.libs``): strip breaks their page alignment.
    """
    libraries = [path for path in folder.rglob("*.so*") if not path.relative_to(folder).parts[0].startswith("numpy")]
    plain = [path for path in libraries if not path.relative_to(folder).parts[0].endswith(".libs")]
    run("strip", "--strip-unneeded", *plain)


def _compile(folder: Path, *options: str) -> None:
    """Byte code that is bound to the source's content, not to its time: the same code gives the same layer."""
    run(sys.executable, "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", *options, folder)


def _same_times(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (0, 0), follow_symlinks=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("all", help="every image of the project (the default)")
    one = commands.add_parser("build", help="one image from a context of its own")
    one.add_argument("name")
    one.add_argument("context", type=Path)
    one.add_argument("--file", type=Path)
    one.add_argument("--arg", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    started = time.monotonic()
    code = main(sys.argv[1:])
    say(f"  images: {time.monotonic() - started:.1f} s")
    sys.exit(code)
