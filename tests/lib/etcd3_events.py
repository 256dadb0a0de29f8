"""Events of python3-etcd3's watches."""


def take(events, count):
    """The next `count` events of a watch's queue of responses."""
    found = []
    while len(found) < count:
        response = events.get()
        if isinstance(response, Exception):
            raise response
        found += response.events
    assert len(found) == count, found
    return found


def shape(events):
    return [(type(event).__name__, event.key, event.value) for event in events]
