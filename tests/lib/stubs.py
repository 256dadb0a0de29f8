"""gRPC stubs for etcd's API and messages of trace collectors, generated from proto/ into a temporary folder when first imported."""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
_NAMES = ["authpb", "mvccpb", "membershippb", "etcdserverpb", "v3lockpb", "v3electionpb",
          "health", "otlp"]


def _generate():
    out = tempfile.mkdtemp(prefix="quorate-stubs-")
    files = [f"proto/{name}.proto" for name in _NAMES]
    subprocess.run(
        ["protoc", f"--proto_path={ROOT}", f"--python_out={out}", *files], check=True, cwd=ROOT
    )
    sys.path.insert(0, out)
    return {name: importlib.import_module(f"proto.{name}_pb2") for name in _NAMES}


_modules = _generate()
etcd = _modules["etcdserverpb"]
mvcc = _modules["mvccpb"]
lock = _modules["v3lockpb"]
election = _modules["v3electionpb"]
health = _modules["health"]
otlp = _modules["otlp"]


class Client:
    """All methods of all services as attributes: client.KV.Put(request)."""

    class _Service:
        pass

    def __init__(self, endpoint, credentials=None):
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ]
        if credentials is None:
            self.channel = grpc.insecure_channel(endpoint, options=options)
        else:
            self.channel = grpc.secure_channel(endpoint, credentials, options=options)
        for module in (etcd, lock, election):
            for service in module.DESCRIPTOR.services_by_name.values():
                holder = Client._Service()
                for method in service.methods:
                    setattr(holder, method.name, self._callable(module, service, method))
                setattr(self, service.name, holder)

    _STREAMING = {
        "RangeStream": "unary_stream",
        "Watch": "stream_stream",
        "LeaseKeepAlive": "stream_stream",
        "Snapshot": "unary_stream",
        "Observe": "unary_stream",
    }

    def _callable(self, module, service, method):
        kind = self._STREAMING.get(method.name, "unary_unary")
        request = getattr(module, method.input_type.name)
        response = getattr(module, method.output_type.name)
        return getattr(self.channel, kind)(
            f"/{service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def close(self):
        self.channel.close()
