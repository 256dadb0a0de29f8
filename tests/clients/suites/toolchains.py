"""How each client's program comes to be: a function that answers (command line, name and version) or
raises CannotBeHad with the reason. What is built stays in build/clients/."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from servers import ROOT

HERE = Path(__file__).resolve().parent
BUILT = ROOT / "build" / "clients"
PYTHON = "/usr/bin/python3"  # Debian's own: the client is installed for it


class CannotBeHad(Exception):
    pass


def etcdctl(path):
    def make():
        if not os.access(path, os.X_OK):
            raise CannotBeHad(f"no etcdctl at {path}")
        version = subprocess.run([path, "version"], capture_output=True, text=True, check=True,
                                 env={"ETCDCTL_API": "3"}).stdout.splitlines()[0]
        return [PYTHON, "-B", str(HERE / "etcdctl.py"), path], version

    return make


def python_etcd3():
    found = subprocess.run([PYTHON, "-c", "import etcd3; print(etcd3.__version__)"],
                           capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise CannotBeHad("python3-etcd3 is not installed")
    return ([PYTHON, "-B", str(HERE / "python_etcd3.py")],
            f"python3-etcd3 {found.stdout.strip()}")


def built(name, command, folder, unreachable, **environment):
    """Runs what builds a client; CannotBeHad if it says that something could not be fetched."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
    if done.returncode == 0:
        return
    text = (done.stdout + done.stderr).strip()
    if any(cause in text for cause in unreachable):
        raise CannotBeHad(f"its packages cannot be had: {text.splitlines()[-1]}")
    raise AssertionError(f"the suite of {name} does not compile:\n{text}")


def go():
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if program is None:
        raise CannotBeHad("Go is not installed")
    BUILT.mkdir(parents=True, exist_ok=True)
    suite = str(BUILT / "go-suite")
    built("go", [program, "build", "-o", suite, "."], HERE.parent / "go",
          ("dial tcp", "no such host", "connection refused", "GOPROXY", "go.mod requires go",
           "requires go >="), GOTOOLCHAIN="local")
    module = re.search(r"client/v3 (v\S+)", (HERE.parent / "go" / "go.mod").read_text())[1]
    return [suite], f"etcd's Go client {module}"


def copied(name):
    """The folder in build/clients that holds the suite's files as they are now, and what was built."""
    folder = BUILT / name
    shutil.copytree(HERE.parent / name, folder, dirs_exist_ok=True)
    return folder


def node():
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise CannotBeHad("Node and npm are not installed")
    folder = copied("node")
    lock = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".installed-lock.json"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        built("node", ["npm", "ci", "--no-audit", "--no-fund"], folder,
              ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "E404", "E403", "EAI_AGAIN"))
        shutil.copy(lock, stamp)
    version = json.loads((folder / "package.json").read_text())["dependencies"]["etcd3"]
    return ["node", str(folder / "main.js")], f"Node's etcd3 {version}"


def rust():
    if shutil.which("cargo") is None:
        raise CannotBeHad("cargo is not installed")
    target = BUILT / "rust"
    built("rust", ["cargo", "build", "--locked", "--target-dir", str(target)], HERE.parent / "rust",
          ("failed to download", "failed to get", "Could not resolve", "Could not connect",
           "failed to fetch", "is not supported by", "protoc"))
    version = re.search(r'etcd-client = .*"=([^"]+)"',
                        (HERE.parent / "rust" / "Cargo.toml").read_text())[1]
    return [str(target / "debug" / "quorate-client-suite")], f"Rust's etcd-client {version}"


def java():
    if any(shutil.which(program) is None for program in ("java", "javac", "mvn")):
        raise CannotBeHad("a JDK and Maven are not installed")
    source, folder = HERE.parent / "java", BUILT / "java"
    (folder / "classes").mkdir(parents=True, exist_ok=True)
    pom, stamp = source / "pom.xml", folder / "fetched-pom.xml"
    if not stamp.exists() or stamp.read_bytes() != pom.read_bytes():
        shutil.rmtree(folder / "lib", ignore_errors=True)
        built("java", ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies",
                       f"-DoutputDirectory={folder / 'lib'}"], folder,
              ("Could not transfer", "Could not resolve", "Could not find artifact"))
        shutil.copy(pom, stamp)
    path = f"{folder / 'classes'}:{folder / 'lib'}/*"
    built("java", ["javac", "-Xlint:all", "-Werror", "-d", str(folder / "classes"), "-cp", path,
                   *map(str, sorted((source / "src").glob("*.java")))], folder, ())
    version = re.search(r"jetcd-core</artifactId>\s*<version>([^<]+)", pom.read_text())[1]
    return ["java", "-Dslf4j.internal.verbosity=ERROR", "-cp", path, "Main"], f"jetcd {version}"


CLIENTS = {
    "go": go,
    "java": java,
    "node": node,
    "rust": rust,
    "etcdctl": etcdctl("/usr/bin/etcdctl"),
    "etcdctl_current": etcdctl(str(ROOT / "build" / "peers" / "bin" / "etcdctl")),
    "python_etcd3": python_etcd3,
}
