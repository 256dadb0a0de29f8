#!/usr/bin/python3
"""Spans as a collector gets them (docs/tracing.md): which calls are recorded, what their spans say, and
that nobody waits for a collector that is slow or not there. Where an etcd 3.7 is at hand, the same calls
to it have the same spans, but for the differences that are written down here.

usage: tracing_test.py
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent import futures
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, free_ports, quorate_binary  # noqa: E402
from stubs import Client, etcd, otlp  # noqa: E402

TIME_LIMIT_S = 60
BUILT = ROOT / "build" / "peers" / "bin" / "etcd"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ALL = "--distributed-tracing-sampling-rate=1000000"
SERVER_KIND = otlp.Span.KIND_SERVER
UNREACHABLE, BACK = "the trace collector cannot be reached", "the trace collector takes spans again"

# Known differences: etcd has inner spans as well, and says of the root of a trace too that its
# parent is remote. Which of two blanks stands in the texts of Go's protobuf is drawn with each build.
INNER_SPANS_OF_ETCD = {"put", "range", "txn", "watch"}
INNER_SCOPE_OF_ETCD = "go.etcd.io/etcd"


class Collector(grpc.GenericRpcHandler):
    """A gRPC server that keeps what it gets. While `gate` is clear it answers nobody. `refuse`: the code
    that it answers with; `reject`: of how many spans it says that it did not take them."""

    def __init__(self, port=None):
        self.port = port or free_ports(1)[0]
        self.requests = []
        self.changed = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()
        self.server = None
        self.refuse, self.reject = None, 0

    def service(self, details):
        if details.method != EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self.export, request_deserializer=otlp.ExportTraceServiceRequest.FromString,
            response_serializer=otlp.ExportTraceServiceResponse.SerializeToString)

    def export(self, request, context):
        if self.refuse:
            context.abort(self.refuse, "not here")
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        self.gate.wait()
        answer = otlp.ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.reject
        return answer

    def __enter__(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=(self,),
                                  options=[("grpc.so_reuseport", 0)])
        assert self.server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        self.server.start()
        return self

    def __exit__(self, *unused):
        self.gate.set()
        self.server.stop(None).wait()

    def found(self):
        """(resource, scope, span) of all that came."""
        return [(dict(values_of(group.resource)), scope.scope.name, span) for request in self.requests
                for group in request.resource_spans for scope in group.scope_spans
                for span in scope.spans]

    def wait(self, ready):
        """All spans, as soon as ready(spans)."""
        with self.changed:
            assert self.changed.wait_for(lambda: ready([span for _, _, span in self.found()]), TIME_LIMIT_S), \
                [span.name for _, _, span in self.found()]
            return self.found()


def values_of(holder):
    return [(attribute.key, getattr(attribute.value, attribute.value.WhichOneof("value")))
            for attribute in holder.attributes]


def flags_for(collector, *more):
    return ["--enable-distributed-tracing=true",
            f"--distributed-tracing-address=127.0.0.1:{collector.port}", *more]


class Caller:
    """Calls under parents of its own, by a name for each."""

    def __init__(self, server):
        self.client = Client(server.endpoint)
        self.parents = {}

    def metadata(self, name, sampled):
        trace, span = os.urandom(16).hex(), os.urandom(8).hex()
        self.parents[name] = (trace, span)
        return (("traceparent", f"00-{trace}-{span}-{'01' if sampled else '00'}"), ("tracestate", "a=b"))

    def put(self, name=None, sampled=True, key=b"k"):
        metadata = self.metadata(name, sampled) if name else ()
        self.client.KV.Put(etcd.PutRequest(key=key, value=b"v"), metadata=metadata)

    def spans_of(self, name, spans):
        return [span for span in spans if span.trace_id.hex() == self.parents[name][0]]


def failure(call, *arguments):
    try:
        call(*arguments)
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("the call succeeded")


def one_of_each(server):
    """Calls of all kinds, good and bad; answers who called."""
    caller = Caller(server)
    client = caller.client
    caller.put("with parent")
    client.KV.Range(etcd.RangeRequest(key=b"k"))
    client.KV.Txn(etcd.TxnRequest())
    code = grpc.StatusCode
    assert failure(client.KV.Put, etcd.PutRequest()) == code.INVALID_ARGUMENT
    assert failure(client.Maintenance.MoveLeader,
                   etcd.MoveLeaderRequest(targetID=5)) == code.FAILED_PRECONDITION
    broken = client.channel.unary_unary("/etcdserverpb.KV/DeleteRange")
    assert failure(broken, b"\xff\xff") == code.INTERNAL
    assert failure(client.channel.unary_unary("/etcdserverpb.KV/Nothing"), b"") == code.UNIMPLEMENTED
    watch = client.Watch.Watch(iter([etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k"))]))
    assert next(watch).created
    watch.cancel()
    return caller


WANTED = [  # name, code, failed
    ("etcdserverpb.KV/DeleteRange", "INTERNAL", True),
    ("etcdserverpb.KV/Put", "INVALID_ARGUMENT", False),
    ("etcdserverpb.KV/Put", "OK", False),
    ("etcdserverpb.KV/Range", "OK", False),
    ("etcdserverpb.KV/Txn", "OK", False),
    ("etcdserverpb.Maintenance/MoveLeader", "FAILED_PRECONDITION", False),
    ("etcdserverpb.Watch/Watch", "CANCELLED", False),
]


def summary(span):
    return (span.name, dict(values_of(span))["rpc.response.status_code"],
            span.status.code == otlp.Status.ERROR)


def spans_say(transport):
    with Collector() as collector:
        flags = flags_for(collector, ALL, "--distributed-tracing-instance-id=one", f"--transport={transport}")
        before = time.time_ns()
        with Server(quorate_binary(), *flags) as server:
            caller = one_of_each(server)
            found = collector.wait(lambda spans: len(spans) >= len(WANTED))
            port = server.client_port
            assert UNREACHABLE not in server.log_tail(1 << 30)
            metric = f"quorate_spans_sent_total {len(WANTED)}"
            if transport == "native":
                wait_for(lambda: metric in get(server, "/metrics"), metric)
    assert all(resource == {"service.name": "etcd", "service.instance.id": "one"} for resource, _, _ in found)
    spans = [span for _, _, span in found]
    assert sorted(map(summary, spans)) == WANTED, sorted(map(summary, spans))
    assert len({span.span_id for span in spans}) == len(spans)
    for span in spans:
        assert span.kind == SERVER_KIND
        assert (len(span.trace_id), len(span.span_id)) == (16, 8)
        assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns(), span
        assert dict(values_of(span)) == {
            "rpc.system.name": "grpc", "rpc.method": span.name, "server.address": "127.0.0.1",
            "server.port": port, "rpc.response.status_code": summary(span)[1]}, span
        assert bool(span.status.message) == (span.status.code == otlp.Status.ERROR), span
    child, = caller.spans_of("with parent", spans)
    assert child.name == "etcdserverpb.KV/Put"
    assert child.parent_span_id.hex() == caller.parents["with parent"][1]
    assert (child.trace_state, child.flags) == ("a=b", 0x301)
    assert [span.parent_span_id for span in spans if span is not child] == [b""] * (len(spans) - 1)


def get(server, path, body=None, headers=None):
    request = urllib.request.Request(server.url + path, data=body, headers=headers or {})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def gateway():
    with Collector() as collector, Server(quorate_binary(), *flags_for(collector)) as server:
        caller = Caller(server)
        parent = caller.metadata("json", True)[0][1]
        get(server, "/v3/kv/put", b'{"key":"a2V5"}', {"Grpc-Metadata-traceparent": parent})
        found = collector.wait(len)
    span, = caller.spans_of("json", [span for _, _, span in found])
    assert summary(span) == ("etcdserverpb.KV/Put", "OK", False)


def sampled_by(binary, rate):
    """Names of the calls that are recorded at a rate, of all kinds of parents."""
    with Collector() as collector:
        with Server(binary, *flags_for(collector, f"--distributed-tracing-sampling-rate={rate}")) as server:
            caller = Caller(server)
            caller.put("recorded")
            caller.put("not recorded", sampled=False)
            caller.client.KV.Range(etcd.RangeRequest(key=b"alone"))
            caller.client.KV.Range(etcd.RangeRequest(key=b"k"), metadata=(("traceparent", "00-nonsense"),))
            # Spans leave in order and the last ones before the server does.
            server.stop()
        spans = [span for _, scope, span in collector.found() if scope != INNER_SCOPE_OF_ETCD]
    names = [name for name in ("recorded", "not recorded") if caller.spans_of(name, spans)]
    return names + ["alone"] * sum(span.name == "etcdserverpb.KV/Range" for span in spans)


def sampling(binary):
    assert sampled_by(binary, 0) == ["recorded"], binary
    assert sampled_by(binary, 1_000_000) == ["recorded", "alone", "alone"], binary


def told(server, text):
    return server.log_tail(1 << 30).count(text)


def without_collector():
    """The server works on, says once what is wrong, and delivers when a collector comes."""
    late = Collector()
    with Server(quorate_binary(), *flags_for(late)) as server:
        caller = Caller(server)
        caller.put("first")
        wait_for(lambda: told(server, UNREACHABLE), "word of the collector in the log")
        for number in range(200):
            caller.put(f"number {number}")
        with late:
            found = late.wait(lambda spans: len(spans) >= 201)
            wait_for(lambda: told(server, BACK), "word of its return in the log")
            assert told(server, UNREACHABLE) == 1, server.log_tail()
        spans = [span for _, _, span in found]
        assert all(len(caller.spans_of(name, spans)) == 1 for name in caller.parents)
        # Away again; the server ends all the same.
        caller.put("lost")
        wait_for(lambda: told(server, UNREACHABLE) == 2, "word of the collector in the log")
        assert server.stop() == -signal.SIGTERM


def slow_collector():
    with Collector() as collector, Server(quorate_binary(), *flags_for(collector)) as server:
        collector.gate.clear()
        caller = Caller(server)
        caller.put("held up")
        collector.wait(len)
        for number in range(200):
            caller.put(f"number {number}")
        assert len(collector.found()) == 1, "a batch left before the one ahead of it was answered"
        collector.gate.set()
        collector.wait(lambda spans: len(spans) >= 201)


def refusals():
    """What a collector does not want is counted and not offered again."""
    with Collector() as collector, Server(quorate_binary(), *flags_for(collector)) as server:
        caller = Caller(server)
        collector.refuse = grpc.StatusCode.UNIMPLEMENTED
        caller.put("refused")
        wait_for(lambda: "quorate_spans_dropped_total 1\n" in get(server, "/metrics"), "a dropped span")
        assert told(server, "the trace collector refuses spans") == 1
        collector.refuse, collector.reject = None, 1
        caller.put("rejected")
        wait_for(lambda: "quorate_spans_dropped_total 2\n" in get(server, "/metrics"), "a rejected span")
        collector.reject = 0
        caller.put("taken")
        wait_for(lambda: "quorate_spans_sent_total 1\n" in get(server, "/metrics"), "a span that is taken")
    spans = [span for _, _, span in collector.found()]
    assert [len(caller.spans_of(name, spans)) for name in caller.parents] == [0, 1, 1]


def from_environment():
    with Collector() as collector:
        server = Server(quorate_binary())
        server.environment = {
            "ETCD_ENABLE_DISTRIBUTED_TRACING": "true",
            "ETCD_DISTRIBUTED_TRACING_ADDRESS": f"localhost:{collector.port}",
            "ETCD_DISTRIBUTED_TRACING_SERVICE_NAME": "mine",
            "ETCD_DISTRIBUTED_TRACING_INSTANCE_ID": "seven",
            "ETCD_DISTRIBUTED_TRACING_SAMPLING_RATE": "1000000"}
        with server:
            Caller(server).put()
            (resource, _, span), = collector.wait(len)
    assert resource == {"service.name": "mine", "service.instance.id": "seven"}
    assert span.name == "etcdserverpb.KV/Put"


def refused():
    """Impossible values end the start with a line that names the flag and what is possible."""
    cases = [("distributed-tracing-sampling-rate", "-1", "at least 0"),
             ("distributed-tracing-sampling-rate", "1000001", "at most 1000000"),
             ("distributed-tracing-sampling-rate", "some", "some")]
    cases += [("distributed-tracing-address", address, "such as localhost:4317")
              for address in ("", "nowhere", "host:", ":4317", "host:70000", "https://host:4317", "http://a:1")]
    for flag, value, way_out in cases:
        with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
            done = subprocess.run(
                [quorate_binary(), "--enable-distributed-tracing", f"--{flag}={value}"], cwd=folder, env={},
                capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
            assert not os.listdir(folder)
        lines = [line for line in done.stderr.splitlines() if f"--{flag}" in line]
        assert done.returncode != 0 and len(lines) == 1 and way_out in lines[0], (flag, value, done.stderr)


def spans_of(binary):
    """What a server's spans say that does not change from run to run; without the known differences."""
    with Collector() as collector:
        with Server(binary, *flags_for(collector, ALL, "--distributed-tracing-instance-id=one")) as server:
            caller = one_of_each(server)
            server.stop()
        shapes = []
        for resource, scope, span in collector.found():
            if scope == INNER_SCOPE_OF_ETCD:
                assert span.name in INNER_SPANS_OF_ETCD
                continue
            attributes = dict(values_of(span))
            del attributes["server.port"]
            ours = span.trace_id.hex() == caller.parents["with parent"][0]
            assert ours == bool(span.parent_span_id)
            shapes.append((summary(span), span.kind, sorted(attributes.items()), span.trace_state,
                           span.flags if ours else "", span.status.message.replace("\xa0", " "),
                           sorted(resource.items())))
    return sorted(shapes)


def beside_etcd():
    ours, theirs = spans_of(quorate_binary()), spans_of(BUILT)
    for mine, its in zip(ours, theirs):
        assert mine == its, f"quorate: {mine}\netcd:    {its}"
    assert len(ours) == len(theirs) == len(WANTED)
    sampling(BUILT)


def main():
    for transport in ("native", "grpc"):
        spans_say(transport)
    gateway()
    sampling(quorate_binary())
    without_collector()
    slow_collector()
    refusals()
    from_environment()
    refused()
    if BUILT.exists():
        beside_etcd()
        print(f"{len(WANTED)} calls have the same spans at etcd 3.7")
    else:
        print("note: no etcd 3.7 to compare with; scripts/build_etcd.sh makes it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
