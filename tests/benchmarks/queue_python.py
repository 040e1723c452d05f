"""What queue_benchmark measures, in Python: multiprocessing.Queue, SimpleQueue and Pipe.

    python3 tests/benchmarks/queue_python.py              # all, about a minute
    python3 tests/benchmarks/queue_python.py stream       # rows whose name has that in it

Rows are medians of three. Senders are bound to the first processor and receivers to the second, if
there are two. Values are bytes, pickled as both ways do; a Pipe is for one sender and one receiver.
Time is that of the last receiver, from when all have started. Compare what was measured on the same
machine, one after the other.
"""

import multiprocessing
import os
import statistics
import sys
import time

CONTEXT = multiprocessing.get_context("fork")
REPETITIONS = 3


def bind(cpu):
    """To the one of those that this process may run on; None: to none."""
    if cpu is not None:
        allowed = sorted(ALLOWED)
        os.sched_setaffinity(0, {allowed[cpu % len(allowed)]})


class ByQueue:
    name = "Queue"
    make = CONTEXT.Queue

    def __init__(self):
        queue = type(self).make()
        self.send, self.receive = queue.put, queue.get


class BySimpleQueue(ByQueue):
    name = "SimpleQueue"
    make = CONTEXT.SimpleQueue


class ByPipe:
    name = "Pipe"

    def __init__(self):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        self.send, self.receive = sender.send, receiver.recv


def run(roles):
    """Seconds from when all have started until the last one that says when it was done."""
    gate = CONTEXT.Barrier(len(roles))
    begins = CONTEXT.RawArray("d", len(roles))
    ends = CONTEXT.RawArray("d", len(roles))

    def start(i, cpu, work):
        bind(cpu)
        gate.wait()
        begins[i] = time.monotonic()
        work()
        ends[i] = time.monotonic()

    processes = [
        CONTEXT.Process(target=start, args=(i, cpu, work))
        for i, (cpu, work) in enumerate(roles)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            sys.exit("a process failed")
    return max(ends) - min(begins)


def stream(way_type, value, pairs, count):
    """Values a second, `count` by each sender."""
    way = way_type()

    def send():
        for _ in range(count):
            way.send(value)

    def receive():
        for _ in range(count):
            way.receive()

    return pairs * count / run([(0, send), (1, receive)] * pairs)


def round_trip(way_type, cpus, count):
    """Seconds of one."""
    ping, pong = way_type(), way_type()
    elapsed = CONTEXT.RawValue("d")

    def ask():
        for i in range(count + 50):
            if i == 50:
                begin = time.monotonic()
            ping.send(i)
            pong.receive()
        elapsed.value = time.monotonic() - begin

    def answer():
        for _ in range(count + 50):
            pong.send(ping.receive())

    run([(cpus[0], ask), (cpus[1], answer)])
    return elapsed.value / count


def row(name, measure, text):
    if all(word not in name for word in sys.argv[1:]) and sys.argv[1:]:
        return
    print(f"{name:32}{text(statistics.median(measure() for _ in range(REPETITIONS)))}", flush=True)


def main():
    print(f"Python {sys.version.split()[0]}, {len(ALLOWED)} processors")
    words = {f"a word, number {i}": [i] * (i % 20) for i in range(1000)}
    ways = ByQueue, BySimpleQueue, ByPipe
    for size, pairs, count in (
        (8, 1, 50_000),
        (64, 1, 50_000),
        (64, 2, 25_000),
        (1 << 10, 1, 50_000),
        (64 << 10, 1, 5_000),
        (1 << 20, 1, 300),
    ):
        value = b"x" * size
        for way in ways:
            if pairs == 1 or way is not ByPipe:
                row(
                    f"stream {size} B {pairs}->{pairs} {way.name}",
                    lambda: stream(way, value, pairs, count),
                    lambda rate: f"{rate / 1e6:10.4f} M/s {rate * size / 1e9:10.4f} GB/s",
                )
    for way in ways:
        row(
            f"stream map {way.name}",
            lambda: stream(way, words, 1, 500),
            lambda rate: f"{rate / 1e3:10.4f} k/s",
        )
    for cpus, place in (((0, 0), "one core"), ((0, 1), "two cores"), ((None, None), "unbound")):
        for way in ways:
            row(
                f"round trip {place} {way.name}",
                lambda: round_trip(way, cpus, 3_000),
                lambda seconds: f"{seconds * 1e6:10.2f} us",
            )


ALLOWED = os.sched_getaffinity(0)

if __name__ == "__main__":
    main()
