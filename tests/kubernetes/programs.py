"""The programs of these suites: Kubernetes' from pinned modules (go/go.mod), and a real etcd.

Everything is built into build/kubernetes once. Where it cannot be, the reason is told and the suites
are skipped (exit 77).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "go"
BUILT = ROOT / "build" / "kubernetes"
PEERS = ROOT / "build" / "peers" / "bin"
SKIPPED = 77

# program | package; those that end in .test are Kubernetes' own tests.
PACKAGES = {
    "controlplane": ".",
    "apiserver": "./apiserver",
    "etcd3.test": "k8s.io/apiserver/pkg/storage/etcd3",
    "factory.test": "k8s.io/apiserver/pkg/storage/storagebackend/factory",
    "cacher.test": "k8s.io/apiserver/pkg/storage/cacher",
    "integration.test": "k8s.io/apiextensions-apiserver/test/integration",
}


class Missing(RuntimeError):
    """Something that these suites need cannot be had; says what."""


def go():
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if found is None:
        raise Missing("Go is not installed")
    return found


def _run_go(*arguments):
    done = subprocess.run([go(), *arguments], cwd=SOURCE, capture_output=True, text=True,
                          env={**os.environ, "GOTOOLCHAIN": "local"})
    if done.returncode == 0:
        return done.stdout
    text = done.stderr.strip()
    for cause in ("dial tcp", "no such host", "connection refused", "GOPROXY", "requires go >="):
        if cause in text:
            raise Missing(f"the modules cannot be had: {text.splitlines()[-1]}")
    raise AssertionError(f"go {' '.join(arguments)}:\n{text}")


def built(name):
    """The program, as it is or freshly built: Go knows whether anything has changed."""
    BUILT.mkdir(parents=True, exist_ok=True)
    verb = ["test", "-c"] if name.endswith(".test") else ["build"]
    _run_go(*verb, "-p", "2", "-o", str(BUILT / name), PACKAGES[name])
    return BUILT / name


def source_folder(name):
    """Where the package of a program lies: tests run in theirs."""
    return _run_go("list", "-f", "{{.Dir}}", PACKAGES[name]).strip()


def peer(name):
    """A program of the current etcd."""
    program = PEERS / name
    if not program.exists():
        raise Missing(f"there is no {program} (./dev peers builds it)")
    return program


def kubectl():
    found = shutil.which("kubectl")
    if found is None:
        raise Missing("kubectl is not installed")
    return found
