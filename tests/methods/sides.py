"""One server and the ways to ask it: bytes over gRPC, JSON, and what can be seen to have changed."""

import http.client
import json
import queue
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402
from good_calls import LASTING  # noqa: E402
from methods import as_dict, settled_answers, steady  # noqa: E402
from stubs import Client, etcd  # noqa: E402

PATIENCE_SECONDS = 60
# With TLS etcd serves gRPC by Go's HTTP server, which adds these.
OF_GOS_HTTP = {"access-control-allow-headers", "access-control-allow-methods",
               "access-control-allow-origin", "trailer"}


@dataclass
class Outcome:
    """What a client sees: a status, settled answers, and the names of its metadata. `seen`: all
    bytes, to look for what must not be in them."""
    code: str
    text: str
    answers: list
    metadata: tuple
    seen: bytes = b""

    def told(self):
        return self.code, self.text, self.answers, self.metadata


class Side:
    """`tls`: a certificates.ClientSide. `who` of a call: metadata, or None."""

    def __init__(self, name, server, tls=None):
        self.name = name
        self.server = server
        self.tls = tls
        self.client = None
        self.look = None  # whose state counts, where it is another's
        self.tokens = {}
        self.root_token = lambda: None  # of whoever may see everything

    def start(self):
        self.server.start()
        self.connect()
        return self

    def connect(self):
        self.client = Client(self.server.endpoint, self.tls and self.tls.credentials())

    @property
    def eyes(self):
        """The client of whoever shows the state that counts."""
        return (self.look or self).client

    @property
    def root(self):
        """Metadata of calls that look at everything."""
        token = self.root_token()
        return [("token", token)] if token else []

    def close(self):
        if self.client:
            self.client.close()
        self.server.close()

    def call(self, method, case, who=(), channel=None):
        """Sends the case's messages; reads its answers to the end, or as many as it says."""
        outgoing = queue.Queue()
        for message in case.messages_for(self):
            outgoing.put(message if isinstance(message, bytes) else message.SerializeToString())
        if case.answers is None or case.half_close or not method.client_stream:
            outgoing.put(None)
        stub = (channel or self.client.channel).stream_stream(method.path)
        stream = stub(iter(outgoing.get, None), metadata=[*who, *case.metadata],
                      compression=case.compression, timeout=PATIENCE_SECONDS)
        answers = []
        try:
            for answer in stream:
                answers.append(answer)
                if case.meanwhile and len(answers) == 1:
                    case.meanwhile(self)
                if len(answers) == case.answers:
                    break
            else:
                return self._outcome(method, case, stream, answers, stream.code(), "")
            stream.cancel()
            return self._outcome(method, case, stream, answers, grpc.StatusCode.OK, "")
        except grpc.RpcError as error:
            return self._outcome(method, case, stream, answers, error.code(), error.details())
        finally:
            outgoing.put(None)

    def _outcome(self, method, case, stream, answers, code, text):
        names = []
        for metadata in (stream.initial_metadata(), case.answers is None and
                         stream.trailing_metadata()):
            names.append(tuple(sorted({key for key, _ in metadata or ()} - OF_GOS_HTTP)))
        # Go's protobuf writes one blank or another, as a build has it, that nobody may rely on it.
        answers = [] if case.status_alone else answers
        return Outcome(code.name, steady(text.replace("\xa0", " ")),
                       settled_answers(method, [as_dict(method, a) for a in answers], case.own),
                       tuple(names), b"".join(answers))

    def ask_json(self, method, path, case, headers=None):
        """The same case at the gateway."""
        messages = [m if isinstance(m, str) else
                    json.dumps(MessageToDict(m, preserving_proto_field_name=True,
                                             use_integers_for_enums=True))
                    for m in case.messages_for(self)]
        if self.tls is None:
            connection = http.client.HTTPConnection(
                "127.0.0.1", self.server.client_port, timeout=PATIENCE_SECONDS)
        else:
            context = ssl.create_default_context(cafile=self.tls.ca)
            if self.tls.pair is not None:
                context.load_cert_chain(self.tls.pair.cert, self.tls.pair.key)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.server.client_port, timeout=PATIENCE_SECONDS, context=context)
        try:
            connection.request("POST", path, body="".join(messages), headers=headers or {})
            response = connection.getresponse()
            if case.answers is not None and response.status == 200:
                lines = [response.readline() for _ in range(case.answers)]
            else:
                lines = response.read().splitlines()
            names = (response.getheader("Content-Type"), response.getheader("Www-Authenticate"),
                     self.tls is None and response.getheader("Grpc-Metadata-Content-Type"))
        except OSError as error:
            return Outcome("no answer", str(error), [], ())
        finally:
            connection.close()
        return Outcome(str(response.status), "", self._lines(method, case, lines), names,
                       b"\n".join(lines))

    @staticmethod
    def _lines(method, case, lines):
        values = []
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                values.append(line.decode(errors="replace"))
                continue
            if isinstance(value, dict) and "result" in value:
                value = value["result"]
            values.append(value)
        return settled_answers(method, values, case.own)

    def state(self):
        """What a call that is refused must not have moved, and what must be equal on all sides."""
        ask = {"metadata": self.root, "timeout": PATIENCE_SECONDS}
        hashed = self.eyes.Maintenance.HashKV(etcd.HashKVRequest(), **ask)
        auth = self.eyes.Auth.AuthStatus(etcd.AuthStatusRequest(), **ask)
        members = self.eyes.Cluster.MemberList(etcd.MemberListRequest(), **ask).members
        leases = self.eyes.Lease.LeaseLeases(etcd.LeaseLeasesRequest(), **ask).leases
        alarms = self.eyes.Maintenance.Alarm(etcd.AlarmRequest(), **ask).alarms
        return {
            "hash": (hashed.hash, hashed.hash_revision, hashed.compact_revision),
            "revision": hashed.header.revision,
            "auth": (auth.enabled, auth.authRevision),
            "members": sorted((m.name, m.isLearner) for m in members),
            "leases": sorted({lease.ID for lease in leases} & LASTING),
            "alarms": sorted((a.memberID, a.alarm) for a in alarms),
        }

    def sign_in(self, name, password):
        answer = self.client.Auth.Authenticate(
            etcd.AuthenticateRequest(name=name, password=password), timeout=PATIENCE_SECONDS)
        self.tokens[name] = answer.token
        return answer.token

    def own_id(self):
        return self.client.Maintenance.Status(
            etcd.StatusRequest(), metadata=self.root, timeout=PATIENCE_SECONDS).header.member_id

