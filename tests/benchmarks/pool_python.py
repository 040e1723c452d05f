"""What pool_benchmark measures, in Python: multiprocessing.Pool and ProcessPoolExecutor.

    python3 tests/benchmarks/pool_python.py              # all, about a minute
    python3 tests/benchmarks/pool_python.py map          # rows whose name has that in it

Rows are medians of five. Compare what was measured on the same machine, one after the other.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import statistics
import sys
import time

CONTEXT = multiprocessing.get_context("fork")
REPETITIONS = 5


def add_one(x):
    return x + 1


def size_of(data):
    return len(data)


def wait_for_ever():
    while True:
        signal.pause()


def executor(workers):
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=CONTEXT)


def seconds(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def median(measure):
    return statistics.median(measure() for _ in range(REPETITIONS))


def pool_map(count, chunksize):
    with CONTEXT.Pool(2) as pool:
        numbers = list(range(count))
        pool.map(add_one, numbers, chunksize)
        return median(lambda: seconds(lambda: pool.map(add_one, numbers, chunksize))) / count


def executor_map(count):
    with executor(2) as workers:
        numbers = list(range(count))
        list(workers.map(add_one, numbers))
        return median(lambda: seconds(lambda: list(workers.map(add_one, numbers)))) / count


def pool_submit():
    with CONTEXT.Pool(1) as pool:
        count = 2000
        return median(
            lambda: seconds(lambda: [pool.apply_async(add_one, (1,)).get() for _ in range(count)])
        ) / count


def executor_submit():
    with executor(1) as workers:
        count = 2000
        return median(
            lambda: seconds(lambda: [workers.submit(add_one, 1).result() for _ in range(count)])
        ) / count


def pool_large():
    data = b"x" * (64 << 20)
    with CONTEXT.Pool(1) as pool:
        pool.apply(size_of, (data,))
        return median(lambda: seconds(lambda: pool.apply(size_of, (data,))))


def executor_death():
    """Until the future tells that the executor is broken."""

    def once():
        with executor(1) as workers:
            workers.submit(add_one, 1).result()
            lost = workers.submit(wait_for_ever)
            while not lost.running():
                pass
            pid = next(iter(workers._processes))
            begin = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            try:
                lost.result()
            except concurrent.futures.process.BrokenProcessPool:
                pass
            return time.monotonic() - begin

    return median(once)


def pool_start(workers):
    def once():
        pool = CONTEXT.Pool(workers)
        pool.close()
        pool.join()

    return median(lambda: seconds(once))


ROWS = [
    ("Pool.map, chunks of 1, a task", "us", lambda: pool_map(100_000, 1)),
    ("Pool.map, default chunks, a task", "us", lambda: pool_map(1_000_000, None)),
    ("Executor.map, a task", "us", lambda: executor_map(10_000)),
    ("Pool.apply_async().get()", "us", pool_submit),
    ("Executor.submit().result()", "us", executor_submit),
    ("Pool.apply, 64 MiB", "ms", pool_large),
    ("Executor: a worker is killed", "ms", executor_death),
    ("Pool(2), close, join", "ms", lambda: pool_start(2)),
    ("Pool(100), close, join", "ms", lambda: pool_start(100)),
]


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    factors = {"us": 1e6, "ms": 1e3}
    print(f"Python {sys.version.split()[0]}")
    for name, unit, measure in ROWS:
        if wanted.lower() in name.lower():
            print(f"{name:40} {measure() * factors[unit]:10.2f} {unit}", flush=True)


if __name__ == "__main__":
    main()
