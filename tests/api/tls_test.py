#!/usr/bin/python3
"""TLS towards clients: Debian's etcdctl, gRPC for Python, curl and openssl against a server with
certificates, beside a real etcd where one is at hand.

usage: tls_test.py [CASE ...]
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from certificates import NAMELESS, Authority, ClientSide, server_flags  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, ServerDied, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

REAL_ETCD = ROOT / "build" / "peers" / "bin" / "etcd"


def tls_server(binary, *flags):
    server = Server(binary, *flags)
    server.scheme = "https"
    return server


def binaries():
    yield quorate_binary()
    if REAL_ETCD.exists():
        yield REAL_ETCD


def etcdctl(server, ca, pair, *arguments):
    """(exit status, output) of Debian's etcdctl."""
    flags = [f"--endpoints={server.url}", "--command-timeout=2s", "--dial-timeout=2s"]
    if ca is not None:
        flags += ClientSide(ca, pair).etcdctl_flags()
    done = subprocess.run(
        ["etcdctl", *flags, *arguments], capture_output=True, text=True,
        env={"PATH": os.environ.get("PATH", ""), "ETCDCTL_API": "3"})
    return done.returncode, done.stdout + done.stderr


def curl(server, path, *arguments):
    """(exit status, HTTP version, HTTP status, body)"""
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_version} %{http_code}", *arguments,
         f"{server.url}{path}"], capture_output=True, text=True, errors="replace")
    body, _, last = done.stdout.rpartition("\n")
    version, _, status = last.partition(" ")
    return done.returncode, version, status, body


def can_put(server, ca, pair=None):
    client = Client(server.endpoint, ClientSide(ca, pair).credentials())
    try:
        client.KV.Put(etcd.PutRequest(key=b"k", value=b"v"), timeout=5)
        return True
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
        return False
    finally:
        client.close()


def rejections(server):
    return server.log_tail(1 << 20).count("rejected connection on client endpoint")


def server_certificate_alone():
    """Clients need no certificate; they check the server's."""
    with Authority() as authority, Authority("another") as stranger:
        pair = authority.issue("server")
        elsewhere = authority.issue("elsewhere", names="DNS:elsewhere.example")
        for binary in binaries():
            with tls_server(binary, *server_flags(pair)) as server:
                assert etcdctl(server, authority.ca, None, "put", "a", "b") == (0, "OK\n")
                assert etcdctl(server, authority.ca, None, "get", "a") == (0, "a\nb\n")
                assert etcdctl(server, stranger.ca, None, "get", "a")[0] != 0
                assert can_put(server, authority.ca)
                assert not can_put(server, stranger.ca)
                for version, want in (("--http1.1", "1.1"), ("--http2", "2")):
                    got = curl(server, "/health", version, "--cacert", authority.ca)
                    assert got == (0, want, "200", '{"health":"true","reason":""}'), got
                # 60: the server's certificate is not known to be good.
                assert curl(server, "/health", "--cacert", stranger.ca)[0] == 60
                status, _, code, _ = curl(server, "/nothing", "--http2", "--cacert", authority.ca)
                assert (status, code) == (0, "404")
                got = curl(server, "/metrics", "--http2", "--cacert", authority.ca)
                assert got[:3] == (0, "2", "200") and "etcd_server_has_leader 1" in got[3]
            with tls_server(binary, *server_flags(elsewhere)) as server:
                assert not can_put(server, authority.ca), "a certificate for another host"


def client_certificates():
    with Authority() as authority, Authority("another") as stranger:
        pair = authority.issue("server")
        alice = authority.issue("alice")
        mallory = stranger.issue("alice")
        expired = authority.issue("expired", days=-1)
        for binary in binaries():
            flags = server_flags(pair, authority.ca)
            with tls_server(binary, *flags) as server:
                assert etcdctl(server, authority.ca, alice, "put", "a", "b") == (0, "OK\n")
                assert can_put(server, authority.ca, alice)
                before = rejections(server)
                assert etcdctl(server, authority.ca, None, "get", "a")[0] != 0
                assert not can_put(server, authority.ca, None)
                assert not can_put(server, authority.ca, mallory), "of an unknown authority"
                assert not can_put(server, authority.ca, expired), "expired"
                wait_for(lambda s=server, b=before: rejections(s) > b, "log line of a rejection")
                assert etcdctl(server, authority.ca, alice, "get", "a") == (0, "a\nb\n")
            # A CA alone asks for certificates as well.
            with tls_server(binary, *server_flags(pair),
                            f"--trusted-ca-file={authority.ca}") as server:
                assert not can_put(server, authority.ca, None)
                assert can_put(server, authority.ca, alice)


def names_at_the_gateway():
    """With auth on, certificates with a common name are refused there, and only there."""
    with Authority() as authority:
        pair = authority.issue("server")
        nameless = authority.issue("nameless", NAMELESS)
        root = authority.issue("root")
        for binary in binaries():
            def post(server, path, shown, *more):
                return curl(server, path, "--cacert", authority.ca, "--cert", shown.cert, "--key",
                            shown.key, "-d", "{}", *more)[2:]

            refusal = ("400", "CommonName of client sending a request against gateway will be ignored "
                       "and not used as expected\n")
            with tls_server(binary, *server_flags(pair, authority.ca)) as server:
                assert post(server, "/v3/auth/status", root)[0] == "200"
                for words in (("user", "add", "root:r"), ("role", "add", "root"),
                              ("user", "grant-role", "root", "root"), ("auth", "enable")):
                    assert etcdctl(server, authority.ca, root, *words)[0] == 0
                for version in ("--http1.1", "--http2"):
                    for path in ("/v3/auth/status", "/v3/nothing"):
                        assert post(server, path, root, version) == refusal
                    assert post(server, "/v3/auth/status", nameless, version)[0] == "200"
                    assert post(server, "/health", root, "-X", "GET", version)[0] == "200"
            with tls_server(binary, *server_flags(pair), f"--trusted-ca-file={authority.ca}") as server:
                assert post(server, "/v3/auth/status", root)[0] == "200"


def names_and_revocation():
    with Authority() as authority:
        pair = authority.issue("server")
        good = authority.issue("good", names="DNS:client.example")
        other = authority.issue("other", names="DNS:other.example")
        crl = authority.path("list.crl")
        authority.revoke(path=crl)
        for binary in binaries():
            with tls_server(binary, *server_flags(pair, authority.ca),
                            "--client-cert-allowed-hostname=x.example,client.example") as server:
                assert can_put(server, authority.ca, good)
                assert not can_put(server, authority.ca, other)
                wait_for(lambda s=server: "client certificate authentication failed"
                         in s.log_tail(1 << 20), "the reason in the log")
        with tls_server(quorate_binary(), *server_flags(pair, authority.ca),
                        f"--client-crl-file={crl}") as server:
            assert can_put(server, authority.ca, other)
            authority.revoke(other, path=crl)
            assert not can_put(server, authority.ca, other), "revoked while the server runs"
            assert can_put(server, authority.ca, good)


def renewal():
    """Files are replaced under a running server: new connections see the new ones."""
    with Authority() as authority, Authority("next") as successor:
        pair = authority.issue("server")
        for binary in binaries():
            authority.issue("server")
            with tls_server(binary, *server_flags(pair)) as server:
                old = Client(server.endpoint, ClientSide(authority.ca).credentials())
                old.KV.Put(etcd.PutRequest(key=b"k"), timeout=20)
                fresh = successor.issue("server")
                os.replace(fresh.key, pair.key)
                os.replace(fresh.cert, pair.cert)
                assert can_put(server, successor.ca)
                assert not can_put(server, authority.ca)
                old.KV.Put(etcd.PutRequest(key=b"k"), timeout=20)  # what is open stays open
                old.close()
        with tls_server(quorate_binary(), *server_flags(pair)) as server:
            Path(pair.cert).write_text("half a file")
            assert can_put(server, successor.ca), "the last good certificate is still used"


def versions_and_suites():
    suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    with Authority() as authority:
        pair = authority.issue("server")

        def shakes_hands(server, *arguments):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", server.endpoint, "-CAfile", authority.ca,
                 "-brief", *arguments], input="", capture_output=True, text=True,
                errors="replace")  # what the server says over HTTP/2 is no text
            return "CONNECTION ESTABLISHED" in done.stderr

        for binary in binaries():
            with tls_server(binary, *server_flags(pair), "--tls-min-version=TLS1.3") as server:
                assert shakes_hands(server, "-tls1_3")
                assert not shakes_hands(server, "-tls1_2")
            with tls_server(binary, *server_flags(pair), "--tls-max-version=TLS1.2",
                            f"--cipher-suites={suite}") as server:
                assert not shakes_hands(server, "-tls1_3")
                assert shakes_hands(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
                assert not shakes_hands(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")
            with tls_server(binary, *server_flags(pair)) as server:
                for old in ("-tls1", "-tls1_1"):
                    assert not shakes_hands(server, old)
                assert not shakes_hands(server, "-alpn", "spdy/3"), "nothing in common"
                assert shakes_hands(server, "-alpn", "spdy/3,h2")
                assert shakes_hands(server), "no protocol named at all"


def both_schemes_on_one_port():
    with Authority() as authority:
        pair = authority.issue("server")
        for binary in binaries():
            server = Server(binary, *server_flags(pair))
            server.flags += [f"--listen-client-urls=http://{server.endpoint},"
                             f"https://{server.endpoint}"]
            with server:
                assert can_put(server, authority.ca)
                plain = Client(server.endpoint)
                plain.KV.Put(etcd.PutRequest(key=b"k"), timeout=20)
                plain.close()
                assert curl(server, "/health")[:3] == (0, "1.1", "200")


def plain_text_to_a_tls_port():
    with Authority() as authority:
        pair = authority.issue("server")
        for binary in binaries():
            with tls_server(binary, *server_flags(pair)) as server:
                server.scheme = "http"
                assert curl(server, "/health")[0] != 0
                assert etcdctl(server, None, None, "get", "a")[0] != 0
                server.scheme = "https"
                wait_for(lambda s=server: "first record does not look like a TLS handshake"
                         in s.log_tail(1 << 20), "the reason in the log")
                assert can_put(server, authority.ca)


def own_certificates():
    """--auto-tls: made once, used again."""
    for binary in binaries():
        server = tls_server(binary, "--auto-tls", "--self-signed-cert-validity=2")
        with server:
            folder = Path(server.data_dir) / "fixtures" / "client"
            made = (folder / "cert.pem").read_bytes()
            assert oct((folder / "key.pem").stat().st_mode & 0o777) == "0o600"
            assert can_put(server, folder / "cert.pem")
            server.stop()
            server.start()
            assert (folder / "cert.pem").read_bytes() == made
            assert can_put(server, folder / "cert.pem")


def refused_starts():
    """What is wrong is named, with its flag; nothing is started."""
    with Authority() as authority:
        pair = authority.issue("server")
        other = authority.issue("other")
        junk = authority.path("junk")
        Path(junk).write_text("no certificate\n")
        locked = authority.path("locked.key")
        subprocess.run(["openssl", "ec", "-in", pair.key, "-aes256", "-passout", "pass:secret",
                        "-out", locked], check=True, capture_output=True)
        cert, key = f"--cert-file={pair.cert}", f"--key-file={pair.key}"
        both = [cert, key]
        cases = [
            ([], "TLS key/cert (--cert-file, --key-file) must be provided for client url"),
            ([cert], "KeyFile and CertFile must both be present[key: , cert: "),
            ([cert, "--key-file=/nowhere"], "--key-file: open /nowhere: no such file or directory"),
            ([cert, f"--key-file={other.key}"], "tls: private key does not match public key"),
            ([cert, f"--key-file={locked}"], "without a password"),
            ([f"--cert-file={junk}", key], "failed to find any PEM data in certificate input"),
            ([*both, "--trusted-ca-file=/nowhere"], "--trusted-ca-file: open /nowhere"),
            ([*both, f"--trusted-ca-file={junk}"], "--trusted-ca-file: "),
            ([*both, f"--trusted-ca-file={authority.ca}", f"--client-crl-file={junk}"],
             "--client-crl-file: "),
            ([*both, "--tls-min-version=TLS1.1"],
             'unexpected TLS version \\"TLS1.1\\" (must be one of: TLS1.2, TLS1.3)'),
            ([*both, "--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
             "min version (TLS1.3) is greater than max version (TLS1.2)"),
            ([*both, "--cipher-suites=FOO"], 'unexpected TLS cipher suite \\"FOO\\"'),
            ([*both, "--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"],
             "cipher suites cannot be configured when only TLS1.3 is enabled"),
            ([*both, f"--client-cert-file={pair.cert}"],
             "ClientKeyFile and ClientCertFile must both be present or both absent"),
            (["--auto-tls", "--self-signed-cert-validity=0"],
             "selfSignedCertValidity is invalid,it should be greater than 0"),
            ([*both, "--transport=grpc"], "--transport=grpc does not speak TLS"),
        ]
        for flags, text in cases:
            server = tls_server(quorate_binary(), *flags)
            try:
                server.start()
                raise AssertionError(f"{flags}: it started")
            except ServerDied:
                assert text in server.log_tail(), (flags, text, server.log_tail())
            finally:
                server.close()


CASES = [server_certificate_alone, client_certificates, names_at_the_gateway, names_and_revocation, renewal,
         versions_and_suites, both_schemes_on_one_port, plain_text_to_a_tls_port, own_certificates,
         refused_starts]


def main():
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.__name__ in wanted:
            print(case.__name__, flush=True)
            case()


if __name__ == "__main__":
    main()
