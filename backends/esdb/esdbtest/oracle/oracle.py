"""Drives the double with the official Python client, which was written apart from
the others, sends every list of events with BatchAppend, and filters with a
look-ahead when it is not told otherwise. Prints one JSON object a row:
{"row": "...", "error": null or the text}.

    python oracle.py URL SECURE_URL CA_FILE

URL is an insecure double, SECURE_URL a secure one with admin's credentials, of
which CA_FILE is the authority.
"""

import json
import sys
import traceback
import uuid

from kurrentdbclient import CaughtUp, Checkpoint, KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import (
    AccessDeniedError,
    KurrentDBClientError,
    MaximumAppendSizeExceededError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)

URL, SECURE_URL, CA_FILE = sys.argv[1:4]
ROWS = []


def row(name):
    def add(run):
        ROWS.append((name, run))
        return run

    return add


def fresh(name):
    return f"{name}-{uuid.uuid4()}"


def event(event_type="Happened", data=b"{}"):
    return NewEvent(type=event_type, data=data)


def refused(kind, run):
    try:
        run()
    except kind as refusal:
        return refusal
    raise AssertionError(f"expected {kind.__name__}")


def until_caught_up(subscription):
    seen = []
    for item in subscription:
        if isinstance(item, CaughtUp):
            subscription.stop()
            return seen
        seen.append(item)
    raise AssertionError("it ended without having caught up")


@row("BA a list of events goes by BatchAppend, is atomic and repeated by its ids")
def _(db):
    stream = fresh("batch")
    events = [event(f"type-{i}") for i in range(40)]
    first = db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=events)
    again = db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=events)
    assert first == again, (first, again)
    assert [e.type for e in db.get_stream(stream)] == [e.type for e in events]
    assert db.get_stream(stream, backwards=True, limit=1)[0].commit_position == first


@row("BA refusals are typed, and the call goes on")
def _(db):
    stream = fresh("batch")
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event(), event()])
    for expected in (StreamState.NO_STREAM, 0, 7):
        refused(WrongCurrentVersionError, lambda e=expected: db.append_to_stream(stream, current_version=e, events=[event(), event()]))
    large = [event(data=b"x" * (1 << 20)), event()]
    refused(MaximumAppendSizeExceededError, lambda: db.append_to_stream(fresh("large"), current_version=StreamState.ANY, events=large))
    db.append_to_stream(stream, current_version=1, events=[event(), event()])
    assert len(db.get_stream(stream)) == 4


@row("M1 one event goes by Append")
def _(db):
    stream = fresh("m1")
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=event())
    refused(WrongCurrentVersionError, lambda: db.append_to_stream(stream, current_version=5, events=event()))
    refused(WrongCurrentVersionError, lambda: db.append_to_stream(fresh("missing"), current_version=StreamState.EXISTS, events=event()))
    assert db.get_current_version(stream) == 0


@row("M4 missing, soft-deleted and tombstoned streams are told apart")
def _(db):
    refused(NotFoundError, lambda: db.get_stream(fresh("missing")))
    stream = fresh("m4")
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event(), event()])
    db.delete_stream(stream, current_version=1)
    refused(NotFoundError, lambda: db.get_stream(stream))
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event("again"), event()])
    assert [e.stream_position for e in db.get_stream(stream)] == [2, 3]
    db.tombstone_stream(stream, current_version=3)
    refused(StreamIsDeletedError, lambda: db.get_stream(stream))
    refused(StreamIsDeletedError, lambda: db.append_to_stream(stream, current_version=StreamState.ANY, events=[event(), event()]))


@row("M6 metadata hides events")
def _(db):
    stream = fresh("m6")
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event() for _ in range(5)])
    db.set_stream_metadata(stream, metadata={"$maxCount": 2, "custom": "kept"})
    metadata, version = db.get_stream_metadata(stream)
    assert metadata["custom"] == "kept" and version == 0, (metadata, version)
    assert [e.stream_position for e in db.get_stream(stream)] == [3, 4]


@row("M7 a subscription to a stream catches up and goes live")
def _(db):
    stream = fresh("m7")
    db.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event() for _ in range(70)])
    subscription = db.subscribe_to_stream(stream, stream_position=9, include_caught_up=True)
    seen = []
    for item in subscription:
        if isinstance(item, CaughtUp):
            db.append_to_stream(stream, current_version=69, events=[event("live"), event("live")])
            continue
        seen.append(item.stream_position)
        if seen[-1] == 71:
            break
    subscription.stop()
    assert seen == list(range(10, 72)), seen


@row("M8 the filter that is not asked for has a look-ahead")
def _(db):
    stream = fresh("m8")
    commit = db.append_to_stream(stream, current_version=StreamState.ANY, events=[event("Wanted"), event("Wanted")])
    assert db.get_commit_position() == commit
    found = [e for e in db.read_all() if e.stream_name == stream]
    assert len(found) == 2, found
    assert not [e for e in db.read_all() if e.type.startswith("$")]
    subscription = db.subscribe_to_all(include_caught_up=True)
    assert len([e for e in until_caught_up(subscription) if e.stream_name == stream]) == 2


@row("M8 checkpoints come while nothing matches, and do not name the end")
def _(db):
    begin = db.append_to_stream(fresh("noise"), current_version=StreamState.ANY, events=event())
    end = db.append_to_stream(fresh("noise"), current_version=StreamState.ANY, events=[event() for _ in range(100)])
    subscription = db.subscribe_to_all(
        commit_position=begin, filter_include=["Nobody.*"], filter_exclude=[], include_checkpoints=True,
        include_caught_up=True, window_size=10, checkpoint_interval_multiplier=2,
    )
    checkpoints = [c.commit_position for c in until_caught_up(subscription) if isinstance(c, Checkpoint)]
    assert len(checkpoints) == 5, checkpoints
    assert all(begin < c < end for c in checkpoints), (begin, checkpoints, end)


@row("M10 TLS is verified by the authority, and rights are checked")
def _(_db):
    authority = open(CA_FILE, "rb").read().decode()
    admin = KurrentDBClient(SECURE_URL, root_certificates=authority)
    stream = fresh("m10")
    admin.append_to_stream(stream, current_version=StreamState.ANY, events=[event(), event()])
    assert len(list(admin.read_all(limit=1))) == 1
    ops = admin.construct_call_credentials("ops", "changeit")
    admin.set_stream_metadata(stream, metadata={"$acl": {"$r": "$admins", "$w": "$admins"}})
    denied = refused(KurrentDBClientError, lambda: admin.get_stream(stream, credentials=ops))
    assert "PERMISSION_DENIED" in str(denied), denied  # the client has no error of its own for a read
    refused(AccessDeniedError, lambda: admin.append_to_stream(stream, current_version=StreamState.ANY, events=[event(), event()], credentials=ops))
    wrong = admin.construct_call_credentials("ops", "wrong")
    unknown = refused(KurrentDBClientError, lambda: admin.get_stream(stream, credentials=wrong))
    assert "UNAUTHENTICATED" in str(unknown), unknown
    admin.close()


def main():
    db = KurrentDBClient(URL)
    for name, run in ROWS:
        error = None
        try:
            run(db)
        except BaseException:  # whatever it is, it is the row's
            error = traceback.format_exc()
        print(json.dumps({"row": name, "error": error}), flush=True)
    db.close()


main()
