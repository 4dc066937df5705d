"""
The local cluster: ``python tests/cluster/cluster.py up|down|status|kubeconfig|packages|tools|load|exec|leftovers``.

kind where a Docker engine answers, otherwise a real one-node Kubernetes in a network namespace (needs root).
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import builder
import gotools
import images
import kind
import netns_cluster
import packages
import teardown
from commands import CommandError, lock, say
from places import LOCK


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        return int(COMMANDS[options.command](options))
    except CommandError as error:
        say(f"cluster {options.command}: {error}")
        return 1


def _cluster() -> ModuleType:
    if builder.has_docker():
        return kind
    if os.geteuid() != 0:
        raise CommandError("needs a Docker engine (for kind) or root (for a cluster in a network namespace)")
    return netns_cluster


def _up(_: argparse.Namespace) -> int:
    started = time.monotonic()
    with lock(LOCK):
        _cluster().up()
        _load_all(images.built())
    say(f"  cluster is up after {time.monotonic() - started:.1f} s; KUBECONFIG={_cluster().kubeconfig()}")
    return 0


def _down(_: argparse.Namespace) -> int:
    started = time.monotonic()
    with lock(LOCK):
        _cluster().down()
    say(f"  cluster is down after {time.monotonic() - started:.1f} s")
    return 0


def _status(_: argparse.Namespace) -> int:
    print("\n".join(_cluster().status()))
    return 0 if _cluster().is_up() else 1


def _kubeconfig(_: argparse.Namespace) -> int:
    print(_cluster().kubeconfig())
    return 0


def _tools(_: argparse.Namespace) -> int:
    print(gotools.ensure())
    return 0


def _packages(_: argparse.Namespace) -> int:
    """Without Docker the cluster, and in any case the tests, need Debian's packages."""
    packages.ensure()
    return 0


def _load(options: argparse.Namespace) -> int:
    """Bring the named images to the cluster; without names the project's, where a cluster is up."""
    with lock(LOCK):
        if options.words or _cluster().is_up():
            _load_all(options.words or images.built())
    return 0


def _load_all(names: Sequence[str]) -> None:
    for name in names:
        _cluster().load(name)


def _exec(options: argparse.Namespace) -> int:
    """Run a command with the cluster's KUBECONFIG and programs (kubectl, helm) in its environment."""
    tools = gotools.ensure()
    environment = {**os.environ, "KUBECONFIG": str(_cluster().kubeconfig()), "PATH": f"{tools}:{os.environ['PATH']}"}
    os.execvpe(options.words[0], options.words, environment)


def _leftovers(_: argparse.Namespace) -> int:
    left = teardown.leftovers()
    print("\n".join(left) if left else "nothing left behind")
    return 1 if left else 0


COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "kubeconfig": _kubeconfig,
    "packages": _packages,
    "tools": _tools,
    "load": _load,
    "exec": _exec,
    "leftovers": _leftovers,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("words", nargs=argparse.REMAINDER, help="load: image names; exec: the command")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
