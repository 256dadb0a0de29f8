#!/usr/bin/python3
"""Clusters whose members find each other: by a registry in another cluster, as etcd's v3 discovery has
it, and by SRV records in DNS; and programs that find a cluster by DNS.

usage: discovery_test.py [CASE]...
"""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "proxy"))
import name_server  # noqa: E402
from certificates import Authority, ClientSide, server_flags  # noqa: E402
from cluster import wait_for  # noqa: E402
from proxies import ETCD  # noqa: E402
from servers import Server, ServerDied, free_ports, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

DOMAIN = "cluster.test"


class Seeker(Server):
    """A member that is told nobody's address."""

    names = None  # whom it asks for names, if not the system's

    def command(self):
        command = [word for word in super().command() if not word.startswith("--initial-cluster")]
        return command if self.names is None else self.names.around(command)


def started(members):
    for member in members:
        member.launch()
    for member in members:
        member.wait_ready()


def closed(members):
    for member in members:
        member.close()


def members_of(server, credentials=None):
    client = Client(server.endpoint, credentials)
    listed = client.Cluster.MemberList(etcd.MemberListRequest(linearizable=True)).members
    client.close()
    return {m.name: m for m in listed}


class Registry:
    def __init__(self, endpoint, token, size, credentials=None, metadata=()):
        self.client = Client(endpoint, credentials)
        self.metadata = metadata
        self.folder = f"/_etcd/registry/{token}"
        self.put("_config/size", str(size))

    def put(self, key, value):
        self.client.KV.Put(etcd.PutRequest(key=f"{self.folder}/{key}".encode(),
                                           value=value.encode()), metadata=self.metadata)

    def members(self):
        """What has registered: key to value."""
        folder = f"{self.folder}/members/"
        read = self.client.KV.Range(etcd.RangeRequest(key=folder.encode(),
                                                      range_end=(folder[:-1] + "0").encode()),
                                    metadata=self.metadata)
        return {kv.key.decode().removeprefix(folder): kv.value.decode() for kv in read.kvs}


def seekers(count, *flags, binary=None):
    return [Seeker(binary or quorate_binary(), *flags, name=f"m{i}") for i in range(count)]


def asking(server, token):
    return [f"--discovery-endpoints={server.url}", f"--discovery-token={token}"]


def by_registry():
    with Server(ETCD if ETCD.exists() else quorate_binary()) as server:
        registry = Registry(server.endpoint, "tok", 3)
        members = seekers(3, *asking(server, "tok"))
        try:
            started(members)
            seen = members_of(members[0])
            assert {name: list(m.peerURLs) for name, m in seen.items()} == {
                m.name: [m.peer_url] for m in members}, seen
            assert registry.members() == {
                f"{m.ID:x}": f"{name}={m.peerURLs[0]}" for name, m in seen.items()}
            # One more finds no place.
            extra, = seekers(1, *asking(server, "tok"))
            try:
                extra.start()
                raise AssertionError("a fourth of three")
            except ServerDied as error:
                assert "discovery: cluster is full" in str(error), error
            finally:
                extra.close()
            # Who has data knows the others, and asks nobody.
            server.stop()
            members[1].stop()
            members[1].start()
            assert members_of(members[1]).keys() == seen.keys()
        finally:
            closed(members)


def beside_etcds():
    """etcd's own members register as ours do, and take ours among them."""
    if not ETCD.exists():
        print("SKIPPED: no etcd 3.7; scripts/build_etcd.sh makes it")
        return
    with Server(ETCD) as server:
        registry = Registry(server.endpoint, "mix", 3)
        members = [*seekers(2, *asking(server, "mix")),
                   Seeker(ETCD, *asking(server, "mix"), name="theirs")]
        try:
            started(members)
            seen = members_of(members[0])
            assert registry.members() == {
                f"{m.ID:x}": f"{name}={m.peerURLs[0]}" for name, m in seen.items()}
            assert {m.ID for m in seen.values()} == {m.ID for m in members_of(members[2]).values()}
        finally:
            closed(members)


def bad_registries():
    with Server(quorate_binary()) as server:
        for size, text in (("no", "size key is bad"), ("0", "size key is bad")):
            Registry(server.endpoint, "bad", size)
            check_refused(asking(server, "bad"), f"discovery: {text}")
        check_refused(asking(server, "unknown"), "discovery: size key not found")
        # Waiting for others, and no longer wanted.
        registry = Registry(server.endpoint, "alone", 2)
        waiting, = seekers(1, *asking(server, "alone"))
        try:
            waiting.launch()
            wait_for(registry.members, "registered member")
            assert waiting.stop() == -signal.SIGTERM
        finally:
            waiting.close()


def check_refused(flags, text):
    member, = seekers(1, *flags)
    try:
        member.start()
        raise AssertionError(f"started with {flags}")
    except ServerDied as error:
        assert text in str(error), error
    finally:
        member.close()


def guarded_registry():
    """With TLS, and a user who may use it."""
    with Authority() as authority:
        pair = authority.issue("server")
        server = Server(quorate_binary(), *server_flags(pair))
        server.scheme = "https"
        with server:
            credentials = ClientSide(authority.ca).credentials()
            client = Client(server.endpoint, credentials)
            client.Auth.UserAdd(etcd.AuthUserAddRequest(name="root", password="secret"))
            client.Auth.RoleAdd(etcd.AuthRoleAddRequest(name="root"))
            client.Auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user="root", role="root"))
            client.Auth.AuthEnable(etcd.AuthEnableRequest())
            token = client.Auth.Authenticate(
                etcd.AuthenticateRequest(name="root", password="secret")).token
            registry = Registry(server.endpoint, "t", 2, credentials, [("token", token)])
            members = seekers(2, *asking(server, "t"), f"--discovery-cacert={authority.ca}",
                              "--discovery-user=root:secret")
            try:
                started(members)
                assert sorted(members_of(members[1])) == ["m0", "m1"]
                assert len(registry.members()) == 2
            finally:
                closed(members)


# --- DNS


def by_dns():
    members = seekers(3, f"--discovery-srv={DOMAIN}")
    hosts = {member.name: f"{member.name}.{DOMAIN}" for member in members}
    srv = {f"_etcd-server._tcp.{DOMAIN}": [(hosts[m.name], m.peer_port) for m in members],
           f"_etcd-client._tcp.{DOMAIN}": [(hosts[m.name], m.client_port) for m in members]}
    with name_server.NameServer(srv) as names:
        for member in members:
            member.names = names
            member.advertised_peer_url = f"http://{hosts[member.name]}:{member.peer_port}"
        try:
            started(members)
            seen = members_of(members[0])
            assert sorted(url for m in seen.values() for url in m.peerURLs) == sorted(
                m.advertised_peer_url for m in members), seen
            found_by_programs(names, members)
        finally:
            closed(members)


def found_by_programs(names, members):
    quoratectl = quorate_binary().with_name("quoratectl")

    def run(*command):
        return subprocess.run(names.around(command), capture_output=True, text=True)

    done = run(quoratectl, f"--discovery-srv={DOMAIN}", "put", "k", "found")
    assert done.stdout == "OK\n", done
    done = run(quoratectl, f"--discovery-srv={DOMAIN}", "endpoint", "status", "-w", "json")
    assert len(json.loads(done.stdout)) == len(members), done
    done = run(quoratectl, f"--discovery-srv={DOMAIN}", "--insecure-discovery=false", "get", "k",
               "--command-timeout=1ms")
    assert done.stderr.count("ignoring discovered insecure endpoint") == len(members), done
    done = run(quoratectl, "--discovery-srv=none.test", "get", "k")
    assert done.returncode == 1 and "dns lookup errors" in done.stderr, done
    for program, ready in (("gateway", "ready to proxy"), ("grpc-proxy", "started gRPC proxy")):
        port, = free_ports(1)
        with Standing(names, program, ready, port, "--insecure-discovery"):
            client = Client(f"127.0.0.1:{port}")
            assert client.KV.Range(etcd.RangeRequest(key=b"k")).kvs[0].value == b"found"
            client.close()


class Standing:
    """A program before a cluster that it finds by DNS."""

    def __init__(self, names, program, ready, port, *flags):
        self.process = subprocess.Popen(
            names.around([quorate_binary(), program, "start", f"--discovery-srv={DOMAIN}",
                          f"--listen-addr=127.0.0.1:{port}", *flags]),
            stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if ready in line:
                break
        else:
            raise AssertionError(f"{program} ended")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()


def by_dns_encrypted():
    """Members at https, and only those taken that can show who they are."""
    host = f"m0.{DOMAIN}"
    with Authority() as authority:
        pair = authority.issue("server", names=f"DNS:{host},IP:127.0.0.1")
        member, = seekers(1, f"--discovery-srv={DOMAIN}", "--discovery-srv-name=blue",
                          "--peer-auto-tls", *server_flags(pair))
        member.scheme = member.peer_scheme = "https"
        plain, = free_ports(1)
        srv = {f"_etcd-server-ssl-blue._tcp.{DOMAIN}": [(host, member.peer_port)],
               f"_etcd-client-ssl._tcp.{DOMAIN}": [(host, member.client_port)],
               f"_etcd-client._tcp.{DOMAIN}": [(host, plain)]}
        with name_server.NameServer(srv) as names:
            member.names = names
            member.advertised_peer_url = f"https://{host}:{member.peer_port}"
            try:
                member.start()
                port, = free_ports(1)
                with Standing(names, "grpc-proxy", "started gRPC proxy", port,
                              f"--cacert={authority.ca}") as proxy:
                    client = Client(f"127.0.0.1:{port}")
                    client.KV.Put(etcd.PutRequest(key=b"k"))
                    client.close()
                    ignored = [line for line in proxy.said if "ignoring a discovered" in line]
                    assert len(ignored) == 1 and f"http://{host}:{plain}" in ignored[0], ignored
            finally:
                member.close()


def bad_dns():
    with name_server.NameServer({f"_etcd-server._tcp.{DOMAIN}": [(f"other.{DOMAIN}", 1)]}) as names:
        for domain, text in ((DOMAIN, "cannot find local etcd member"),
                             ("none.test", "error querying DNS SRV records")):
            member, = seekers(1, f"--discovery-srv={domain}")
            member.names = names
            try:
                member.start()
                raise AssertionError(f"started with {domain}")
            except ServerDied as error:
                assert text in str(error), error
            finally:
                member.close()


CASES = [by_registry, beside_etcds, bad_registries, guarded_registry]
WITH_NAMES = [by_dns, by_dns_encrypted, bad_dns]


def main():
    wanted = sys.argv[1:]
    cases = list(CASES)
    reason = name_server.why_not()
    if reason is None:
        cases += WITH_NAMES
    else:
        print(f"SKIPPED: what asks DNS: no name server of one's own here: {reason}")
    for case in cases:
        if not wanted or case.__name__ in wanted:
            print(case.__name__, flush=True)
            case()


if __name__ == "__main__":
    sys.exit(main())
