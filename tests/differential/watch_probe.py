"""Watches beside a stream of operations: what each must have seen follows from the one that sees
everything, so that two servers can be compared without waiting for a time.
"""

import queue
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from stubs import etcd, mvcc  # noqa: E402

FROM_KEY = b"\x00"
EVERYTHING = 0  # the id of the first watch of a stream
WAIT_S = 120    # for events that must come; only a server that lost some lets it pass


class WatchFailure(AssertionError):
    pass


def contains(create, key):
    if not create.range_end:
        return key == create.key
    return key >= create.key and (create.range_end == FROM_KEY or key < create.range_end)


def wants(create, event):
    unwanted = [mvcc.Event.PUT if f == 0 else mvcc.Event.DELETE for f in create.filters]
    return (event.kv.mod_revision >= create.start_revision and event.type not in unwanted
            and contains(create, event.kv.key))


class WatchProbe:
    """One watch stream of one server. The first watch sees all events from revision 2 on."""

    def __init__(self, client):
        self._requests = queue.Queue()
        self._changed = threading.Condition()
        self._events = {}    # watch id -> events as they came
        self._creates = {}   # watch id -> request
        self._created = []   # created replies, in order
        self._checked = {}   # watch id -> how many of all events, and how many of its own
        self._ended = None
        self._stream = client.Watch.Watch(iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.create(etcd.WatchCreateRequest(key=FROM_KEY, range_end=FROM_KEY, start_revision=2,
                                            prev_kv=True))

    def _read(self):
        try:
            for response in self._stream:
                with self._changed:
                    if response.created:
                        self._created.append(response)
                        self._events[response.watch_id] = []
                    elif response.canceled:
                        self._ended = f"watch {response.watch_id} was cancelled: {response}"
                    else:
                        self._events[response.watch_id].extend(response.events)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            with self._changed:
                self._ended = self._ended or f"the stream ended: {error}"
                self._changed.notify_all()

    def _wait(self, done, what):
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or done(), WAIT_S):
                raise WatchFailure(f"{what} did not come")
            if not done():
                raise WatchFailure(f"{what} did not come: {self._ended}")

    def create(self, request):
        count = len(self._created) + 1
        self._requests.put(etcd.WatchRequest(create_request=request))
        self._wait(lambda: len(self._created) == count, "the created reply")
        reply = self._created[-1]
        if reply.canceled:
            raise WatchFailure(f"refused: {request} {reply}")
        self._creates[reply.watch_id] = request
        self._checked[reply.watch_id] = (0, 0)
        return reply.watch_id

    def wait_for(self, revision):
        """Until the watch of everything has seen `revision`, and each other what it must."""
        everything = self._events[EVERYTHING]
        if revision >= 2:
            self._wait(lambda: everything and everything[-1].kv.mod_revision >= revision,
                       f"revision {revision}")
        seen = len(everything)
        for watch, create in self._creates.items():
            of_all, own = self._checked[watch]
            wanted = [event for event in everything[of_all:seen] if wants(create, event)]
            self._wait(lambda: len(self._events[watch]) >= own + len(wanted),
                       f"event {own + len(wanted)} of watch {watch}")
            got = self._events[watch][own:own + len(wanted)]
            if [(e.type, e.kv) for e in got] != [(e.type, e.kv) for e in wanted]:
                raise WatchFailure(f"watch {watch} saw {got[-5:]} and not {wanted[-5:]}")
            self._checked[watch] = (seen, own + len(wanted))

    def everything(self):
        return self._events[EVERYTHING]

    def close(self):
        self._requests.put(None)
        self._stream.cancel()
        self._thread.join()


def same_event(mine, other, compacted):
    """A previous pair below the compaction is there or not, as the server's moment has it."""
    if mine == other:
        return True
    gone = mine.kv.mod_revision - 1 < compacted
    return gone and (mine.type, mine.kv) == (other.type, other.kv) and (
        not mine.HasField("prev_kv") or not other.HasField("prev_kv"))


class WatchPair:
    """The same watches on two servers. Compared up to a revision that both have reached."""

    CATCH_UPS_MAX = 12

    def __init__(self, mine, other, random):
        self._random = random
        self._probes = [WatchProbe(mine), WatchProbe(other)]
        self._compared = 0
        for create in (etcd.WatchCreateRequest(key=b"a"),
                       etcd.WatchCreateRequest(key=b"b", range_end=b"c", filters=[0]),
                       etcd.WatchCreateRequest(key=b"k/", range_end=b"k0", filters=[1],
                                               fragment=True)):
            create.start_revision = 2
            self._create(create)

    def _create(self, create):
        ids = [probe.create(create) for probe in self._probes]
        if ids[0] != ids[1]:
            raise WatchFailure(f"watch ids {ids}")

    def catch_up_from(self, revision, keys):
        """One more watch that begins in the past."""
        if self._random.random() < 1 / self.CATCH_UPS_MAX:
            return
        self._create(etcd.WatchCreateRequest(
            key=self._random.choice(keys), range_end=FROM_KEY, start_revision=revision,
            filters=self._random.choice([[], [0], [1]])))

    def compare(self, revision, compacted):
        for probe in self._probes:
            probe.wait_for(revision)
        mine, other = (probe.everything() for probe in self._probes)
        for number in range(self._compared, len(mine)):
            if number >= len(other) or not same_event(mine[number], other[number], compacted):
                raise WatchFailure(f"event {number}: {mine[number:number + 1]} and "
                                   f"{other[number:number + 1]}")
        self._compared = len(mine)

    @property
    def events(self):
        return self._compared

    def close(self):
        for probe in self._probes:
            probe.close()
