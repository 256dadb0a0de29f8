#!/usr/bin/python3
"""Ours beside etcd's own grpc-proxy, in front of the same etcd: the same calls, the same answers.
What is known to differ stands in DIFFERS with its reason (docs/grpc_proxy.md). Skipped where etcd
3.7 was not built.

usage: side_by_side_test.py
"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import wait_for  # noqa: E402
from proxies import ETCD, Proxy, WatchStream  # noqa: E402
from servers import ROOT, Server  # noqa: E402
from stubs import etcd  # noqa: E402


def without_header(message):
    """As text, but for what hangs on the member and the moment."""
    if hasattr(message, "header"):
        message.ClearField("header")
    return str(message)


def outcome(call, *arguments):
    """The answer, or the code and text of the refusal."""
    try:
        return without_header(call(*arguments))
    except grpc.RpcError as error:
        return error.code().name, error.details()


def reads_and_writes(client, say):
    kv = client.KV
    say("put", kv.Put, etcd.PutRequest(key=b"k", value=b"1"))
    say("put, prev_kv", kv.Put, etcd.PutRequest(key=b"k", value=b"2", ignore_lease=False,
                                                prev_kv=False))
    say("put, no key", kv.Put, etcd.PutRequest(value=b"1"))
    say("put, no such lease", kv.Put, etcd.PutRequest(key=b"k", lease=4711))
    say("range", lambda: [kv_.value for kv_ in kv.Range(etcd.RangeRequest(key=b"k")).kvs])
    say("range, no key", kv.Range, etcd.RangeRequest())
    say("range, future", kv.Range, etcd.RangeRequest(key=b"k", revision=1 << 40))
    say("range, odd sort", kv.Range, etcd.RangeRequest(key=b"k", sort_target=9))
    say("stream", lambda: list(kv.RangeStream(etcd.RangeRequest(key=b"k"))))
    say("txn, twice the same key", kv.Txn, etcd.TxnRequest(success=[
        etcd.RequestOp(request_put=etcd.PutRequest(key=b"a")),
        etcd.RequestOp(request_put=etcd.PutRequest(key=b"a"))]))
    say("txn", lambda: kv.Txn(etcd.TxnRequest(
        compare=[etcd.Compare(key=b"k", target=etcd.Compare.VALUE, value=b"2")],
        success=[etcd.RequestOp(request_range=etcd.RangeRequest(key=b"k", count_only=True))])
    ).succeeded)
    say("delete", kv.DeleteRange, etcd.DeleteRangeRequest(key=b"k"))
    say("delete, no key", kv.DeleteRange, etcd.DeleteRangeRequest())
    say("compact, future", kv.Compact, etcd.CompactionRequest(revision=1 << 40))


def leases(client, say):
    lease = client.Lease
    say("grant", lambda: lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=100)).TTL)
    say("grant, too long", lease.LeaseGrant, etcd.LeaseGrantRequest(TTL=1 << 40))
    say("revoke, none", lease.LeaseRevoke, etcd.LeaseRevokeRequest(ID=4711))
    say("time to live, none", lease.LeaseTimeToLive, etcd.LeaseTimeToLiveRequest(ID=4711))
    answered = threading.Event()

    def one_request():
        yield etcd.LeaseKeepAliveRequest(ID=4711)
        answered.wait()

    say("keep alive, none", lambda: next(iter(lease.LeaseKeepAlive(one_request()))).ID)
    answered.set()


def watches(client, say):
    stream = WatchStream(client)

    def flags(answer):
        return (answer.watch_id, answer.created, answer.canceled, answer.compact_revision,
                answer.cancel_reason)

    say("create", lambda: flags(stream.create(b"w", prev_kv=True)))
    say("create, second", lambda: flags(stream.create(b"x", range_end=b"z")))
    say("create, revision below 0", lambda: flags(stream.create(b"w", start_revision=-1)))
    say("create, no range", lambda: flags(stream.create(b"w", range_end=b"a")))
    for value in (b"1", b"2"):
        client.KV.Put(etcd.PutRequest(key=b"w", value=value))

    def event():
        answer = stream.next()
        return [(e.type, e.kv.key, e.kv.value, e.prev_kv.value) for e in answer.events]

    say("event", event)
    say("event with what was before", event)
    stream.send(cancel_request=etcd.WatchCancelRequest(watch_id=0))
    say("cancel", lambda: flags(stream.next()))
    stream.close()


def others(client, say, endpoint):
    auth, cluster, maintenance = client.Auth, client.Cluster, client.Maintenance
    say("auth status", auth.AuthStatus, etcd.AuthStatusRequest())
    say("auth enable, no root", auth.AuthEnable, etcd.AuthEnableRequest())
    say("user, none", auth.UserGet, etcd.AuthUserGetRequest(name="nobody"))
    say("authenticate", auth.Authenticate, etcd.AuthenticateRequest(name="a", password="b"))
    say("members", lambda: [[url == endpoint for url in m.clientURLs] for m in cluster.MemberList(
        etcd.MemberListRequest()).members])
    say("remove, none", cluster.MemberRemove, etcd.MemberRemoveRequest(ID=4711))
    say("promote, none", cluster.MemberPromote, etcd.MemberPromoteRequest(ID=4711))
    say("alarms", maintenance.Alarm, etcd.AlarmRequest())
    say("status", lambda: maintenance.Status(etcd.StatusRequest()).version)
    say("move leader, to nobody", maintenance.MoveLeader, etcd.MoveLeaderRequest(targetID=4711))


def over_http(proxy, say):
    for path in ("/health", "/proxy/health", "/version", "/"):
        say(f"GET {path}", lambda path=path: proxy.get(path))
    for path, name in (("/metrics", "etcd_server_has_leader 1"),
                       ("/proxy/metrics", "etcd_grpc_proxy_cache_hits_total")):
        say(f"GET {path}", lambda path=path, name=name: name in proxy.get(path)[1])


def answers_of(proxy):
    found = {}

    def say(name, call, *arguments):
        found[name] = outcome(call, *arguments)

    client = proxy.client()
    for part in (reads_and_writes, leases, watches):
        part(client, say)
    others(client, say, proxy.endpoint)
    over_http(proxy, say)
    return found


# etcd's proxy answers these in another way.
DIFFERS = {
    "promote, none": "ours hands it on; etcd's has it not implemented",
}


def alike(name, ours, etcds):
    if name in DIFFERS:
        return ours != etcds
    # etcd's loses the code of what a member refuses where its own client is in between.
    if isinstance(ours, tuple) and isinstance(etcds, tuple) and etcds[0] == "UNKNOWN":
        return ours[1:] == etcds[1:]
    return ours == etcds


def registered_together(server):
    """Proxies of both kinds find each other."""
    flags = ["--resolver-prefix=p", "--resolver-ttl=60"]
    with Proxy([server.endpoint], "--advertise-client-url=ours:1", *flags) as ours, \
            Proxy([server.endpoint], "--advertise-client-url=etcds:2", *flags,
                  binary=ETCD) as etcds:
        def listed(proxy):
            members = proxy.client().Cluster.MemberList(etcd.MemberListRequest()).members
            return sorted((m.name != "", list(m.clientURLs)) for m in members)

        both = [(True, ["etcds:2"]), (True, ["ours:1"])]
        wait_for(lambda: listed(ours) == listed(etcds) == both, "both in both lists")


def main():
    if not ETCD.exists():
        print(f"SKIPPED: no etcd 3.7 at {ETCD.relative_to(ROOT)}; scripts/build_etcd.sh makes it")
        return 77
    found = {}
    for name, binary in (("ours", None), ("etcd's", ETCD)):
        with Server(ETCD) as server, Proxy([server.endpoint], "--advertise-client-url=OWN",
                                           binary=binary) as proxy:
            found[name] = answers_of(proxy)
    ours, etcds = found["ours"], found["etcd's"]
    wrong = [f"{name}:\n  ours   {ours[name]}\n  etcd's {etcds[name]}" for name in ours
             if not alike(name, ours[name], etcds[name])]
    assert not wrong, "\n".join(wrong)
    with Server(ETCD) as server:
        registered_together(server)
    print(f"{len(ours)} answers, {len(DIFFERS)} of them other than etcd's proxy for a reason")
    return 0


if __name__ == "__main__":
    sys.exit(main())
