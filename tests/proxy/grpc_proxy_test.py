#!/usr/bin/python3
"""`quorate grpc-proxy start` between clients and members: programs that nobody here wrote through
it, watches and reads that many share, namespaces, TLS on both sides, users, and members that go.

usage: grpc_proxy_test.py [CASE]...
"""

import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))
import etcdctl_test  # noqa: E402
import grpc  # noqa: E402
from certificates import NAMELESS, Authority, ClientSide, server_flags  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from proxies import Proxy, WatchStream, metric_of  # noqa: E402
from servers import Server, free_ports, quorate_binary  # noqa: E402
from stubs import Client, election, etcd, lock  # noqa: E402

PUT, DELETE = 0, 1


def put(client, key, value=b"", **fields):
    return client.KV.Put(etcd.PutRequest(key=key, value=value, **fields)).header.revision


def get(client, key, **fields):
    return client.KV.Range(etcd.RangeRequest(key=key, **fields))


def value_of(client, key, **fields):
    kvs = get(client, key, **fields).kvs
    return kvs[0].value if kvs else None


def refused(code, text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except grpc.RpcError as error:
        assert error.code() == code and text in error.details(), error
    else:
        raise AssertionError(f"not refused: {text}")


def command_line():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        ctl = etcdctl_test.Ctl("/usr/bin/etcdctl", proxy)
        for case in etcdctl_test.SUITE:
            if case is not etcdctl_test.maintenance:  # it looks at the members
                case(ctl)
        print(f"{ctl.cases} commands of etcdctl as expected")


def python_library():
    program = Path(etcdctl_test.__file__).with_name("python_etcd3_test.py")
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        run = subprocess.run([sys.executable, "-B", program, "--at", str(proxy.client_port)],
                             capture_output=True, text=True)
        assert run.returncode in (0, 77), run
        print(run.stdout, end="")


def shared_watches():
    name = "etcd_debugging_mvcc_watcher_total"
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client, direct = proxy.client(), Client(server.endpoint)
        first = put(direct, b"w/1", b"old")
        streams = [WatchStream(client) for _ in range(20)]
        for number, stream in enumerate(streams):
            filters = [etcd.WatchCreateRequest.NOPUT] if number == 0 else []
            answer = stream.create(b"w/", range_end=b"w0", prev_kv=number == 1, filters=filters)
            assert answer.created and not answer.canceled and answer.watch_id == 0, answer
            assert answer.header.revision == first, answer
        assert metric_of(server, name) == 1
        assert proxy.metric("watchers_coalescing_total") == 19
        second = put(direct, b"w/1", b"new")
        put(direct, b"x", b"elsewhere")
        for stream in streams[1:]:
            assert stream.events(1) == [(PUT, b"w/1", b"new", second)]
        third = direct.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"w/1")).header.revision
        assert streams[0].events(1) == [(DELETE, b"w/1", b"", third)]
        answer = streams[1].next()
        assert answer.events[0].prev_kv.value == b"new", answer
        assert not streams[2].next().events[0].HasField("prev_kv")
        assert proxy.metric("events_coalescing_total") == 2 * 19

        # One that wants what has been gets it, and shares the others' watch from then on.
        late = WatchStream(client)
        assert late.create(b"w/", range_end=b"w0", start_revision=first).created
        assert [e[3] for e in late.events(3)] == [first, second, third]
        wait_for(lambda: metric_of(server, name) == 1, "one watch for all")
        fourth = put(client, b"w/2", b"more")
        for stream in [late, *streams[3:]]:
            while stream.next().header.revision < fourth:
                pass
        # Another range is another watch; a stream may have many, each with its id.
        assert late.create(b"w/2").watch_id == 1
        assert metric_of(server, name) == 2
        late.send(cancel_request=etcd.WatchCancelRequest(watch_id=1))
        answer = late.next()
        assert answer.canceled and answer.watch_id == 1, answer
        wait_for(lambda: metric_of(server, name) == 1, "one watch less")
        for stream in [late, *streams]:
            stream.close()
        wait_for(lambda: metric_of(server, name) == 0, "no watch")
        assert proxy.metric("watchers_coalescing_total") == 0


def odd_watches():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client = proxy.client()
        revisions = [put(client, b"k", b"%d" % n) for n in range(5)]
        client.KV.Compact(etcd.CompactionRequest(revision=revisions[2], physical=True))
        stream = WatchStream(client)
        assert stream.create(b"k", start_revision=revisions[0]).created
        answer = stream.next()
        assert answer.canceled and answer.compact_revision == revisions[2], answer
        answer = stream.create(b"k", start_revision=-1)
        assert (answer.watch_id, answer.created, answer.canceled) == (-1, True, True), answer
        answer = stream.create(b"k", range_end=b"a")
        assert (answer.watch_id, answer.created, answer.canceled) == (-1, True, True), answer
        assert stream.create(b"k", watch_id=7).watch_id == 7
        answer = stream.create(b"k", watch_id=7)
        assert answer.canceled and "duplicate" in answer.cancel_reason, answer
        # From the future on: nothing before it is told.
        ahead = WatchStream(client)
        assert ahead.create(b"k", start_revision=revisions[-1] + 2).created
        put(client, b"k", b"not yet")
        last = put(client, b"k", b"now")
        assert ahead.events(1) == [(PUT, b"k", b"now", last)]
        # How far is it? All before that has been told.
        ahead.send(progress_request=etcd.WatchProgressRequest())
        answer = ahead.next()
        assert answer.watch_id == -1 and answer.header.revision == last, answer
        for one in (stream, ahead):
            one.close()


def slow_client():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        slow, quick = WatchStream(proxy.client()), WatchStream(proxy.client())
        for stream in (slow, quick):
            assert stream.create(b"big").created
        writer = Client(server.endpoint)
        value = b"x" * 1_000_000
        revisions = [put(writer, b"big", value) for _ in range(40)]
        # The one that reads is not held up by the one that does not, who misses nothing.
        assert [e[3] for e in quick.events(40)] == revisions
        assert [e[3] for e in slow.events(40)] == revisions
        for stream in (slow, quick):
            stream.close()


def cached_reads():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client, direct = proxy.client(), Client(server.endpoint)
        put(client, b"c", b"1")
        assert value_of(client, b"c") == b"1"
        put(direct, b"c", b"2")
        # Allowed to be old, and told from memory; not allowed, and asked for.
        assert value_of(client, b"c", serializable=True) == b"1"
        assert proxy.metric("cache_hits_total") == 1 and proxy.metric("cache_misses_total") == 0
        assert value_of(client, b"c") == b"2"
        assert value_of(client, b"c", serializable=True) == b"2"
        assert proxy.metric("cache_keys_total") == 1
        put(client, b"c", b"3")
        assert proxy.metric("cache_keys_total") == 0
        assert value_of(client, b"c", serializable=True) == b"3"
        assert proxy.metric("cache_misses_total") == 1
        client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"a", range_end=b"z"))
        assert value_of(client, b"c", serializable=True) is None
        client.KV.Txn(etcd.TxnRequest(success=[etcd.RequestOp(
            request_put=etcd.PutRequest(key=b"c", value=b"4"))]))
        assert value_of(client, b"c", serializable=True) == b"4"
        old = get(client, b"c").header.revision
        put(client, b"c", b"5")
        assert value_of(client, b"c", revision=old, serializable=True) == b"4"
        client.KV.Compact(etcd.CompactionRequest(revision=old + 1))
        refused(grpc.StatusCode.OUT_OF_RANGE, "compacted", get, client, b"c", revision=old,
                serializable=True)
        lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=60)).ID
        put(client, b"leased", b"1", lease=lease)
        assert value_of(client, b"leased", serializable=True) == b"1"
        client.Lease.LeaseRevoke(etcd.LeaseRevokeRequest(ID=lease))
        assert value_of(client, b"leased", serializable=True) is None


def namespaces():
    with Server(quorate_binary()) as server, \
            Proxy([server.endpoint], "--namespace=app/") as proxy:
        client, direct = proxy.client(), Client(server.endpoint)
        put(direct, b"k", b"outside")
        stream = WatchStream(client)
        assert stream.create(b"\0", range_end=b"\0", prev_kv=True).created
        one = put(client, b"k", b"1")
        answer = client.KV.Put(etcd.PutRequest(key=b"k", value=b"2", prev_kv=True))
        assert answer.prev_kv.key == b"k" and answer.prev_kv.value == b"1"
        assert stream.events(2) == [(PUT, b"k", b"1", one), (PUT, b"k", b"2", one + 1)]
        assert value_of(direct, b"app/k") == b"2" and value_of(direct, b"k") == b"outside"
        everything = get(client, b"\0", range_end=b"\0")
        assert [kv.key for kv in everything.kvs] == [b"k"] and everything.count == 1
        done = client.KV.Txn(etcd.TxnRequest(
            compare=[etcd.Compare(key=b"k", target=etcd.Compare.VALUE, value=b"2")],
            success=[etcd.RequestOp(request_range=etcd.RangeRequest(key=b"k")),
                     etcd.RequestOp(request_put=etcd.PutRequest(key=b"t", value=b"3"))]))
        assert done.succeeded and done.responses[0].response_range.kvs[0].key == b"k"
        assert value_of(direct, b"app/t") == b"3"
        lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=60)).ID
        put(client, b"l", b"", lease=lease)
        put(direct, b"l", b"", lease=lease)
        told = client.Lease.LeaseTimeToLive(etcd.LeaseTimeToLiveRequest(ID=lease, keys=True))
        assert list(told.keys) == [b"l"]
        refused(grpc.StatusCode.INVALID_ARGUMENT, "key is not provided", put, client, b"")
        deleted = client.KV.DeleteRange(
            etcd.DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True))
        assert [kv.key for kv in deleted.prev_kvs] == [b"k", b"l", b"t"]
        assert value_of(direct, b"k") == b"outside"
        stream.close()


def kept_alive():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client = proxy.client()
        name = ('grpc_server_msg_received_total{grpc_method="LeaseKeepAlive",'
                'grpc_service="etcdserverpb.Lease",grpc_type="bidi_stream"}')
        lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=600)).ID

        def renew(lease_id):
            request = etcd.LeaseKeepAliveRequest(ID=lease_id)
            return next(iter(client.Lease.LeaseKeepAlive(iter([request])))).TTL

        before = metric_of(server, name)
        assert all(renew(lease) in (599, 600) for _ in range(30))
        assert metric_of(server, name) == before + 1
        assert renew(4711) == 0 and renew(4711) == 0
        assert metric_of(server, name) == before + 3
        answers = client.Lease.LeaseKeepAlive(
            iter([etcd.LeaseKeepAliveRequest(ID=lease), etcd.LeaseKeepAliveRequest(ID=4711)]))
        assert {answer.ID: answer.TTL > 0 for answer in answers} == {lease: True, 4711: False}
        assert lease in [l.ID for l in client.Lease.LeaseLeases(etcd.LeaseLeasesRequest()).leases]


def locks_and_elections():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client = proxy.client()
        leases = [client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=600)).ID for _ in range(2)]
        held = client.Lock.Lock(lock.LockRequest(name=b"m", lease=leases[0]))
        waiting = client.Lock.Lock.future(lock.LockRequest(name=b"m", lease=leases[1]))
        wait_for(lambda: get(client, b"m/", range_end=b"m0").count == 2, "one that waits")
        # He goes, and with him his place in the queue.
        waiting.cancel()
        wait_for(lambda: get(client, b"m/", range_end=b"m0").count == 1, "no one that waits")
        client.Lock.Unlock(lock.UnlockRequest(key=held.key))
        leader = client.Election.Campaign(
            election.CampaignRequest(name=b"e", lease=leases[0], value=b"me")).leader
        seen = client.Election.Observe(election.LeaderRequest(name=b"e"))
        assert next(seen).kv.value == b"me"
        client.Election.Proclaim(election.ProclaimRequest(leader=leader, value=b"still me"))
        assert next(seen).kv.value == b"still me"
        seen.cancel()
        snapshot = b"".join(a.blob for a in client.Maintenance.Snapshot(etcd.SnapshotRequest()))
        assert len(snapshot) > 4096
        assert client.Maintenance.Status(etcd.StatusRequest()).version


def users():
    with Server(quorate_binary()) as server, Proxy([server.endpoint]) as proxy:
        client = proxy.client()
        put(client, b"mine/a", b"1")
        put(client, b"yours", b"2")
        assert value_of(client, b"yours", serializable=True) == b"2"
        auth = client.Auth
        for user in ("root", "me"):
            auth.UserAdd(etcd.AuthUserAddRequest(name=user, password="p"))
        auth.RoleAdd(etcd.AuthRoleAddRequest(name="root"))
        auth.RoleAdd(etcd.AuthRoleAddRequest(name="mine"))
        permission = type(etcd.AuthRoleGrantPermissionRequest().perm)(
            permType=2, key=b"mine/", range_end=b"mine0")
        auth.RoleGrantPermission(etcd.AuthRoleGrantPermissionRequest(name="mine", perm=permission))
        auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user="root", role="root"))
        auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user="me", role="mine"))
        assert value_of(client, b"yours", serializable=True) == b"2"
        auth.AuthEnable(etcd.AuthEnableRequest())
        token = auth.Authenticate(etcd.AuthenticateRequest(name="me", password="p")).token
        me = [("token", token)]
        read = etcd.RangeRequest(key=b"mine/a", serializable=True)
        for _ in range(2):
            assert client.KV.Range(read, metadata=me).kvs[0].value == b"1"
        # What others may read, or everybody might before, is in nobody's memory.
        refused(grpc.StatusCode.INVALID_ARGUMENT, "user name is empty", get, client, b"mine/a",
                serializable=True)
        refused(grpc.StatusCode.INVALID_ARGUMENT, "user name is empty", get, client, b"yours",
                serializable=True)
        refused(grpc.StatusCode.PERMISSION_DENIED, "permission denied", client.KV.Range,
                etcd.RangeRequest(key=b"yours", serializable=True), metadata=me)
        stream = WatchStream(client, me)
        answer = stream.create(b"yours")
        assert answer.canceled and "permission denied" in answer.cancel_reason, answer
        assert stream.create(b"mine/", range_end=b"mine0").created
        nobody = WatchStream(client)
        assert nobody.create(b"mine/", range_end=b"mine0").canceled
        client.KV.Put(etcd.PutRequest(key=b"mine/b"), metadata=me)
        assert stream.events(1)[0][1] == b"mine/b"
        for one in (stream, nobody):
            one.close()


def encrypted():
    with Authority() as authority:
        pair = authority.issue("server")
        nameless = authority.issue("proxy", common_name=NAMELESS)
        named = authority.issue("someone", common_name="someone")
        server = Server(quorate_binary(), *server_flags(pair, authority.ca))
        server.scheme = "https"
        to_members = [f"--cacert={authority.ca}", f"--cert={nameless.cert}", f"--key={nameless.key}"]
        listen = [f"--cert-file={pair.cert}", f"--key-file={pair.key}",
                  f"--trusted-ca-file={authority.ca}"]
        with server:
            with Proxy([server.url], *to_members, *listen, scheme="https") as proxy:
                client = proxy.client(ClientSide(authority.ca, named).credentials())
                put(client, b"k", b"secret")
                stream = WatchStream(client)
                assert stream.create(b"k").created
                put(client, b"k", b"more")
                assert stream.events(1)[0][2] == b"more"
                stream.close()
                stranger = proxy.client(ClientSide(authority.ca).credentials())
                refused(grpc.StatusCode.UNAVAILABLE, "", get, stranger, b"k")
            with Proxy([server.url], *to_members, "--auto-tls", scheme="https") as proxy:
                made = Path(proxy.folder.name) / "fixtures" / "proxy" / "cert.pem"
                client = proxy.client(ClientSide(made).credentials())
                assert value_of(client, b"k") == b"more"
            # The cluster would take the proxy's clients for that user.
            run = subprocess.run(
                [quorate_binary(), "grpc-proxy", "start", f"--cacert={authority.ca}",
                 f"--cert={named.cert}", f"--key={named.key}"], capture_output=True, text=True)
            assert run.returncode == 1 and "non empty Common Name (someone)" in run.stderr, run


def members_go():
    with Cluster(3) as cluster:
        members = list(cluster.members.values())
        with Proxy([m.endpoint for m in members]) as proxy:
            client = proxy.client()
            stream = WatchStream(client)
            assert stream.create(b"k").created
            lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=60)).ID
            revisions = []

            def write(count):
                for _ in range(count):
                    try:
                        revisions.append(put(client, b"k", b"v"))
                    except grpc.RpcError as error:
                        assert error.code() in (grpc.StatusCode.UNAVAILABLE,
                                                grpc.StatusCode.DEADLINE_EXCEEDED), error

            write(10)
            for member in members:
                member.kill()
                wait_for(lambda: put_works(client), "write after a member went")
                write(10)
                request = etcd.LeaseKeepAliveRequest(ID=lease)
                assert next(iter(client.Lease.LeaseKeepAlive(iter([request])))).TTL > 0
                for _ in range(6):
                    assert get(client, b"k").count == 1
                member.start()
            # Each write once and in order, and none of those that were answered left out.
            last = put(client, b"k", b"end")
            seen = []
            while not seen or seen[-1] != last:
                seen += [e.kv.mod_revision for e in stream.next().events]
            assert seen == sorted(set(seen)) and set(revisions) <= set(seen), (revisions, seen)
            stream.close()


def put_works(client):
    try:
        put(client, b"other", b"")
        return True
    except grpc.RpcError:
        return False


def advertised():
    def members_of(proxy):
        listed = proxy.client().Cluster.MemberList(etcd.MemberListRequest()).members
        return sorted(url for m in listed for url in m.clientURLs)

    with Server(quorate_binary()) as server:
        with Proxy([server.endpoint], "--advertise-client-url=here:1") as proxy:
            assert members_of(proxy) == ["here:1"]
        with Proxy([server.endpoint], "--advertise-client-url=") as proxy:
            assert members_of(proxy) == [server.url]
            assert proxy.get("/proxy/health") == (
                503, '{"health":"false","reason":"no connection to proxy"}\n')
        flags = ["--resolver-prefix=proxies", "--resolver-ttl=60"]
        direct = Client(server.endpoint)
        with Proxy([server.endpoint], "--advertise-client-url=one:1", *flags) as one, \
                Proxy([server.endpoint], "--advertise-client-url=two:2", *flags) as two:
            wait_for(lambda: members_of(one) == members_of(two) == ["one:1", "two:2"], "both")
            assert two.stop() == -signal.SIGTERM
            assert members_of(one) == ["one:1"]
            assert get(direct, b"proxies/", range_end=b"proxies0").count == 1


def http_side():
    metrics_port, = free_ports(1)
    with Server(quorate_binary()) as server:
        with Proxy([server.endpoint], f"--metrics-addr=http://127.0.0.1:{metrics_port}") as proxy:
            for port in (proxy.client_port, metrics_port):
                well = (200, '{"health":"true","reason":""}')
                assert proxy.get("/health", port) == well and proxy.get("/proxy/health", port) == well
                assert "etcd_server_has_leader 1" in proxy.get("/metrics", port)[1]
                assert "etcd_grpc_proxy_cache_keys_total 0" in proxy.get("/proxy/metrics", port)[1]
                assert proxy.get("/version", port)[0] == proxy.get("/debug/pprof/", port)[0] == 404
            refused(grpc.StatusCode.UNIMPLEMENTED, "not supported by the gRPC proxy", list,
                    proxy.client().KV.RangeStream(etcd.RangeRequest(key=b"k")))
            server.stop()
            status, text = proxy.get("/health")
            assert status == 503 and '"health":"false"' in text, text
            assert proxy.get("/metrics")[0] == 500
            assert proxy.stop() == -signal.SIGTERM
        with Proxy([server.endpoint], "--enable-pprof") as proxy:
            assert proxy.get("/debug/pprof/")[0] == 200


def synced_endpoints():
    with Cluster(3) as cluster:
        first, *others = cluster.members.values()
        with Proxy([first.url], "--endpoints-auto-sync-interval=50ms") as proxy:
            client = proxy.client()
            put(client, b"k", b"1")
            name = ('grpc_server_handled_total{grpc_code="OK",grpc_method="Range",'
                    'grpc_service="etcdserverpb.KV",grpc_type="unary"}')

            def all_asked():
                get(client, b"k")
                return all(metric_of(member, name) > 0 for member in others)

            wait_for(all_asked, "reads at all members")
            first.kill()
            wait_for(lambda: put_works(client), "write without the first")


def ordered_reads():
    with Server(quorate_binary()) as behind, Server(quorate_binary()) as ahead:
        put(Client(behind.endpoint), b"k", b"old")
        for _ in range(5):
            put(Client(ahead.endpoint), b"k", b"new")
        ends = [behind.endpoint, ahead.endpoint]
        # Both "members" answer in turn, unless what has been shown counts.
        with Proxy(ends) as proxy:
            client = proxy.client()
            wait_for(lambda: value_of(client, b"k") == b"new", "new value")
            wait_for(lambda: value_of(client, b"k") == b"old", "old value after it")
        with Proxy(ends, "--experimental-serializable-ordering",
                   "--experimental-enable-grpc-logging") as proxy:
            client = proxy.client()
            wait_for(lambda: value_of(client, b"k") == b"new", "new value")
            assert all(value_of(client, b"k") == b"new" for _ in range(10))
            proxy.wait_log('"method":"/etcdserverpb.KV/Range"')


def bad_flags():
    for words in (["stop"], ["start", "--no-such-flag"], ["start", "--endpoints=nowhere"],
                  ["start", "--resolver-prefix=p"], ["start", "--resolver-ttl=5"],
                  ["start", "--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
                  ["start", "--auto-tls", "--self-signed-cert-validity=0"],
                  ["start", "--experimental-leasing-prefix=x"]):
        run = subprocess.run([quorate_binary(), "grpc-proxy", *words], capture_output=True,
                             text=True)
        assert run.returncode == 1 and "Error: " in run.stderr, (words, run)


CASES = [command_line, python_library, shared_watches, odd_watches, slow_client, cached_reads,
         namespaces, kept_alive, locks_and_elections, users, encrypted, members_go, advertised,
         http_side, synced_endpoints, ordered_reads, bad_flags]


def main():
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.__name__ in wanted:
            print(case.__name__, flush=True)
            case()


if __name__ == "__main__":
    sys.exit(main())
