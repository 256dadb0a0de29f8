"""Whom a measured server lets in: TLS with certificates made for the run, users, or everybody."""

import ssl
import subprocess

TLS_KINDS = ("server", "mutual")
ROLE = "everything"


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()[-300:]}")


class Access:
    """`tls`: "server" shows a certificate, "mutual" asks for the client's as well. `user`: the driver
    signs in; authentication is on."""

    def __init__(self, variant, folder):
        self.tls, self.user, self.password = variant.tls, variant.user, variant.password
        self.folder = folder
        if self.tls:
            folder.mkdir(parents=True)
            self._authority()
            self._issue("server")
            self._issue("client")

    def _file(self, name):
        return str(self.folder / name)

    @staticmethod
    def _key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    def _authority(self):
        _openssl("req", "-x509", *self._key(self._file("ca.key")), "-out", self._file("ca.pem"),
                 "-subj", "/CN=testbed", "-days", "30")

    def _issue(self, name):
        (self.folder / "extensions").write_text(
            "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n", encoding="utf-8")
        _openssl("req", *self._key(self._file(f"{name}.key")), "-out", self._file("request"),
                 "-subj", f"/CN={name}")
        _openssl("x509", "-req", "-in", self._file("request"), "-CA", self._file("ca.pem"),
                 "-CAkey", self._file("ca.key"), "-CAcreateserial", "-days", "30",
                 "-extfile", self._file("extensions"), "-out", self._file(f"{name}.pem"))

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    def server_flags(self):
        if not self.tls:
            return []
        flags = [f"--cert-file={self._file('server.pem')}", f"--key-file={self._file('server.key')}"]
        if self.tls == "mutual":
            flags += [f"--trusted-ca-file={self._file('ca.pem')}", "--client-cert-auth"]
        return flags

    def tls_flags(self):
        """Of etcdctl and quorate-bench."""
        if not self.tls:
            return []
        flags = [f"--cacert={self._file('ca.pem')}"]
        if self.tls == "mutual":
            flags += [f"--cert={self._file('client.pem')}", f"--key={self._file('client.key')}"]
        return flags

    def client_flags(self):
        if not self.user:
            return self.tls_flags()
        return [*self.tls_flags(), f"--user={self.user}", f"--password={self.password}"]

    def ssl_context(self):
        """For Python's own requests; None where they are plain text."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self._file("ca.pem"))
        if self.tls == "mutual":
            context.load_cert_chain(self._file("client.pem"), self._file("client.key"))
        return context

    def switch_users_on(self, etcdctl):
        """`etcdctl` runs one command. The user of the variant may do everything but administer."""
        if not self.user:
            return
        etcdctl("user", "add", f"root:{self.password}")
        etcdctl("user", "add", f"{self.user}:{self.password}")
        etcdctl("role", "add", "root")
        etcdctl("role", "add", ROLE)
        etcdctl("role", "grant-permission", ROLE, "readwrite", "--prefix", "")
        etcdctl("user", "grant-role", "root", "root")
        etcdctl("user", "grant-role", self.user, ROLE)
        etcdctl("auth", "enable")
