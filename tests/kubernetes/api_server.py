"""A Kubernetes API server (that of extensions: custom resources) as a process of its own, and kubectl."""

import json
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import wait_for  # noqa: E402
from servers import free_ports  # noqa: E402
import programs  # noqa: E402

# It asks nobody who a client is: certificates say it, and the group system:masters may do everything.
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: nobody, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
contexts: [{name: nobody, context: {cluster: nobody, user: nobody}}]
current-context: nobody
"""
READY = "/readyz?exclude=informer-sync"  # it would look for services in a whole Kubernetes
NEEDS_A_WHOLE_KUBERNETES = ("NamespaceLifecycle", "MutatingAdmissionWebhook", "MutatingAdmissionPolicy",
                            "ValidatingAdmissionWebhook", "ValidatingAdmissionPolicy")


class ApiServer:
    """Started against the etcd end points, with what it shows to them, and stopped by its pid."""

    def __init__(self, authority, endpoints, etcd_pair, *flags):
        self.authority = authority
        self.admin = authority.issue("admin", common_name="admin/O=system:masters")
        self.serving = authority.issue("apiserver")
        self.folder = tempfile.TemporaryDirectory(prefix="quorate-kubernetes-")
        self.port, = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        kubeconfig = Path(self.folder.name, "kubeconfig")
        kubeconfig.write_text(KUBECONFIG, encoding="utf-8")
        self.log_path = Path(self.folder.name, "apiserver.log")
        etcd = [f"--etcd-servers={','.join(endpoints)}"]
        if etcd_pair is not None:
            etcd += [f"--etcd-cafile={authority.ca}", f"--etcd-certfile={etcd_pair.cert}",
                     f"--etcd-keyfile={etcd_pair.key}"]
        self.command = [
            str(programs.built("apiserver")), *etcd,
            f"--secure-port={self.port}", "--bind-address=127.0.0.1",
            f"--tls-cert-file={self.serving.cert}", f"--tls-private-key-file={self.serving.key}",
            f"--client-ca-file={authority.ca}", "--authentication-skip-lookup",
            f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            f"--kubeconfig={kubeconfig}", "--enable-priority-and-fairness=false",
            f"--disable-admission-plugins={','.join(NEEDS_A_WHOLE_KUBERNETES)}", *flags]
        self.process = None
        self.tls = ssl.create_default_context(cafile=authority.ca)
        self.tls.load_cert_chain(self.admin.cert, self.admin.key)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        wait_for(self._ready, "API server that is ready")
        return self

    def _ready(self):
        assert self.process.poll() is None, f"the API server ended:\n{self.log_tail()}"
        try:
            return self.get(READY) == b"ok"
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path, timeout=60):
        with urllib.request.urlopen(self.url + path, context=self.tls, timeout=timeout) as answer:
            return answer.read()

    def json(self, path):
        """Tried again while the server says that its cache is being filled (429)."""

        def served():
            try:
                return self.get(path)
            except urllib.error.HTTPError as error:
                if error.code == 429:
                    return None
                raise

        return json.loads(wait_for(served, "answer from a cache that is filled"))

    def log_tail(self, size=4000):
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-size:]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            self.folder.cleanup()
            raise

    def __exit__(self, kind, *unused):
        if kind is not None:
            print(f"--- log of the API server:\n{self.log_tail()}", flush=True)
        self.stop()
        self.folder.cleanup()

    def run_kubectl(self, *arguments, stdin=None):
        return subprocess.run(
            [programs.kubectl(), f"--server={self.url}", f"--certificate-authority={self.authority.ca}",
             f"--client-certificate={self.admin.cert}", f"--client-key={self.admin.key}",
             f"--cache-dir={self.folder.name}/cache", *arguments],
            input=stdin, capture_output=True, text=True, env={"HOME": self.folder.name})

    def kubectl(self, *arguments, stdin=None):
        """What kubectl says; AssertionError with its words where it fails."""
        done = self.run_kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def client(self, verb, *flags):
        """Starts go/'s client against this server; client_result() waits for what it saw."""
        return subprocess.Popen(
            [str(programs.built("controlplane")), verb, f"--server={self.url}",
             f"--ca={self.authority.ca}", f"--cert={self.admin.cert}", f"--key={self.admin.key}",
             *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def client_result(client):
    out, err = client.communicate()
    assert client.returncode == 0, err
    return json.loads(out)
