"""Certificates for tests, made by the openssl program in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import grpc

NAMES = "IP:127.0.0.1,DNS:localhost"
NAMELESS = ""  # as a common name: there is none


def run(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


class Pair:
    """A certificate and its key, as two files."""

    def __init__(self, cert, key):
        self.cert = cert
        self.key = key


class ClientSide:
    """What clients trust and show. The files may be replaced; credentials are read when asked for."""

    def __init__(self, ca, pair=None):
        self.ca = ca
        self.pair = pair

    def credentials(self):
        def read(path):
            return Path(path).read_bytes()

        if self.pair is None:
            return grpc.ssl_channel_credentials(read(self.ca))
        return grpc.ssl_channel_credentials(
            read(self.ca), read(self.pair.key), read(self.pair.cert))

    def etcdctl_flags(self):
        flags = [f"--cacert={self.ca}"]
        if self.pair is not None:
            flags += [f"--cert={self.pair.cert}", f"--key={self.pair.key}"]
        return flags


def server_flags(pair, ca=None, prefix=""):
    """The flags that make a server show `pair` and, with `ca`, ask for certificates."""
    flags = [f"--{prefix}cert-file={pair.cert}", f"--{prefix}key-file={pair.key}"]
    if ca is not None:
        flags += [f"--{prefix}trusted-ca-file={ca}", f"--{prefix}client-cert-auth"]
    return flags


class Authority:
    """Issues certificates: `ca` is what others trust."""

    def __init__(self, name="test-ca"):
        self.folder = tempfile.mkdtemp(prefix="quorate-certs-")
        self.ca = self.path("ca.pem")
        self.key = self.path("ca.key")
        run("req", "-x509", *self._key(self.key), "-out", self.ca, "-subj", f"/CN={name}",
            "-days", "30")
        # What `openssl ca` wants for lists of revoked certificates.
        with open(self.path("index.txt"), "w"):
            pass
        with open(self.path("crlnumber"), "w") as file:
            file.write("01\n")
        with open(self.path("ca.cnf"), "w") as file:
            file.write(f"[ca]\ndefault_ca=own\n[own]\ndatabase={self.path('index.txt')}\n"
                       f"crlnumber={self.path('crlnumber')}\ndefault_md=sha256\n"
                       "default_crl_days=30\n")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def _key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    def issue(self, name, common_name=None, names=NAMES, days=30, file=None):
        """A certificate for both ends. `days` below zero: expired. `file`: replaces these files."""
        pair = Pair(self.path(f"{file or name}.pem"), self.path(f"{file or name}.key"))
        fresh = Pair(self.path("fresh.pem"), self.path("fresh.key"))
        request, extensions = self.path("fresh.csr"), self.path("fresh.ext")
        name_in_it = name if common_name is None else common_name
        run("req", *self._key(fresh.key), "-out", request, "-subj",
            "/O=test" if name_in_it == NAMELESS else f"/CN={name_in_it}")
        with open(extensions, "w") as file_:
            file_.write("extendedKeyUsage=serverAuth,clientAuth\n")
            if names:
                file_.write(f"subjectAltName={names}\n")
        validity = ["-days", str(days)]
        run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
            "-out", fresh.cert, "-extfile", extensions, *validity)
        os.replace(fresh.key, pair.key)
        os.replace(fresh.cert, pair.cert)
        return pair

    def revoke(self, *pairs, path):
        """Writes a list of revoked certificates that holds these."""
        for pair in pairs:
            run("ca", "-config", self.path("ca.cnf"), "-revoke", pair.cert, "-cert", self.ca,
                "-keyfile", self.key)
        fresh = self.path("fresh.crl")
        run("ca", "-config", self.path("ca.cnf"), "-gencrl", "-cert", self.ca, "-keyfile", self.key,
            "-out", fresh)
        os.replace(fresh, path)
