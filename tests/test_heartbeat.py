"""The heartbeat calls each duty when it is due, whatever becomes of the others."""

import gc
import threading
import time
import weakref

import pytest

from stores.heartbeat import Heartbeat
from tests.support.processes import until

SOON_S, LATE_S = 0.01, 3600


class Watch:
    """An object with a duty: the times at which it was called, by the monotonic clock."""

    def __init__(self, again_s=SOON_S):
        self.again_s = again_s
        self.calls = []

    def look(self):
        self.calls.append(time.monotonic())
        return self.again_s


class FailingWatch(Watch):
    def look(self):
        super().look()
        raise ConnectionError("HQ is gone")


@pytest.fixture
def heartbeat():
    """A heartbeat of the test's own, whose thread sleeps for ever when the test has ended."""
    return Heartbeat()


def test_a_duty_is_called_again_and_again(heartbeat):
    watch = Watch()
    start = time.monotonic()

    heartbeat.add(watch.look, 0.1)
    until(lambda: len(watch.calls) >= 3, 10)

    assert watch.calls[0] - start >= 0.1
    assert watch.calls[2] - watch.calls[0] >= 2 * SOON_S


def test_a_duty_that_is_due_sooner_than_the_others_is_not_late(heartbeat):
    late, soon = Watch(), Watch()
    heartbeat.add(late.look, LATE_S)

    heartbeat.add(soon.look, SOON_S)

    until(lambda: soon.calls, 10)
    assert late.calls == []


def test_a_duty_that_fails_is_tried_again_and_the_others_go_on(heartbeat, monkeypatch):
    monkeypatch.setattr("stores.heartbeat.RETRY_S", SOON_S)
    failing, watch = FailingWatch(), Watch()

    heartbeat.add(failing.look, 0)
    heartbeat.add(watch.look, 0)

    until(lambda: len(failing.calls) >= 3 and len(watch.calls) >= 3, 10)


def test_a_duty_that_wants_to_exit_does_not_end_the_others(heartbeat):
    class ExitingWatch(Watch):
        def look(self):
            super().look()
            raise SystemExit

    exiting, watch = ExitingWatch(), Watch(LATE_S)
    heartbeat.add(exiting.look, 0)
    until(lambda: exiting.calls, 10)

    heartbeat.add(watch.look, 0)

    until(lambda: watch.calls, 10)
    heartbeat.remove(exiting.look)


def test_a_thread_that_could_not_be_started_is_started_for_the_next_duty(heartbeat, monkeypatch):
    first, second = Watch(), Watch()
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", no_thread_left)
        with pytest.raises(RuntimeError):
            heartbeat.add(first.look, 0)

    heartbeat.add(second.look, 0)

    until(lambda: first.calls and second.calls, 10)


def no_thread_left(thread):
    raise RuntimeError("can't start new thread")


def test_a_removed_duty_is_called_no_more(heartbeat):
    watch = Watch()
    heartbeat.add(watch.look, 0)
    until(lambda: watch.calls, 10)

    heartbeat.remove(watch.look)

    calls = len(watch.calls)
    time.sleep(10 * SOON_S)
    assert len(watch.calls) == calls


def test_a_duty_is_removed_once_its_call_has_ended(heartbeat):
    is_called, may_end = threading.Event(), threading.Event()

    class SlowWatch(Watch):
        def look(self):
            is_called.set()
            may_end.wait(10)
            return super().look()

    watch = SlowWatch()
    heartbeat.add(watch.look, 0)
    is_called.wait(10)
    removal = threading.Thread(target=heartbeat.remove, args=(watch.look,))
    removal.start()
    removal.join(0.1)
    waited = removal.is_alive()
    may_end.set()
    removal.join(10)

    assert waited
    assert (removal.is_alive(), len(watch.calls)) == (False, 1)


def test_a_collected_object_is_forgotten(heartbeat):
    watch = Watch()
    watched, calls = weakref.ref(watch), watch.calls
    heartbeat.add(watch.look, 0)
    until(lambda: calls, 10)

    del watch
    gc.collect()

    assert watched() is None
    until(lambda: not heartbeat._due, 10)


def test_all_duties_share_one_thread(heartbeat):
    threads = set()

    class Recorder(Watch):
        def look(self):
            threads.add(threading.current_thread())
            return super().look()

    watches = [Recorder() for _ in range(5)]
    for watch in watches:
        heartbeat.add(watch.look, 0)

    until(lambda: all(watch.calls for watch in watches), 10)
    assert [thread.daemon for thread in threads] == [True]


def test_it_sleeps_while_nothing_is_due(heartbeat):
    watch = Watch(again_s=LATE_S)
    heartbeat.add(watch.look, 0)
    until(lambda: watch.calls, 10)
    before = time.process_time()

    time.sleep(0.5)

    assert time.process_time() - before < 0.1
    assert len(watch.calls) == 1
