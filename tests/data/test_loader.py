# SPDX-License-Identifier: Apache-2.0
"""The Loader: the same batches whatever the workers, exact places, and bad input told in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment
from chainrule.errors import ArgumentError, CallError, DataError
from chainrule.foundations import tree

X = np.random.default_rng(0).integers(0, 256, (53, 8, 8, 3), dtype=np.uint8)
Y = np.arange(53) % 5
WORKERS = [{"workers": 0}, {"workers": 1}, {"workers": 3, "prefetch": 7}, {"workers": 2, "processes": True}]
PAIRS = list(zip(X, Y.tolist(), strict=True))


def jitter(sample, generator):
    return sample[0] + generator.normal(size=(8, 8, 3)).astype(np.float32), sample[1]


KINDS = {
    "arrays": ((X, Y), {}),
    "samples": (PAIRS, {}),
    "pipeline": ((X, Y), {"augment": augment.Compose([augment.Crop(8, padding=2), augment.Flip()])}),
    "function": (PAIRS, {"augment": jitter}),
    "weighted": ((X, Y), {"weights": np.arange(53.0), "augment": augment.Flip()}),
    "balanced": ((X, Y), {"weights": "balanced"}),
    "sampler": ((X, Y), {"sampler": lambda epoch: np.arange(epoch, 40)}),
    "drop last": ((X, Y), {"drop_last": True}),
    "in order": ((X, Y), {"shuffle": False}),
    "shard": ((X, Y), {"shard": (1, 3)}),
    "buckets": ([np.arange(3 + i % 7, dtype=np.float32) for i in range(53)], {"buckets": 3}),
    "dicts": ([{"image": x, "label": {"a": i, "b": f"text {i}"}} for i, x in enumerate(X)], {}),
}


def flat(batches) -> list:
    return [leaf for batch in batches for leaf in tree.flatten(batch)[0]]


def same(a, b) -> bool:
    a, b = flat(a), flat(b)
    return (len(a) == len(b) and all(p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes()
                                     for p, q in zip(a, b, strict=True)))


def loader(kind: str, **options) -> cr.data.Loader:
    source, more = KINDS[kind]
    return cr.data.Loader(source, 8, seed=5, **more, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_do_not_depend_on_workers(kind):
    with loader(kind, workers=0) as one:
        expected = [list(one) for _ in range(3)]
        assert [len(epoch) for epoch in expected] == [len(epoch) for epoch in expected] and one.epoch == 3
        assert len(expected[2]) == one._feed.count(2)
    for options in WORKERS[1:]:
        with loader(kind, **options) as other:
            for epoch in expected:
                assert same(epoch, list(other))


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_is_gone_on_with_by_other_workers(kind):
    with loader(kind, workers=3) as first:
        list(first)
        batches = iter(first)
        for _ in range(2):
            next(batches)
        state = json.loads(json.dumps(first.state()))
        rest = [*batches, *first]
    for options in WORKERS:
        with loader(kind, **options) as other:
            other.restore(state)
            assert (other.epoch, other.step) == (1, 2)
            assert same(rest, [*other, *other])


def test_each_epoch_has_every_sample_once_in_another_order():
    with cr.data.Loader(np.arange(100), 7, seed=1) as numbers:
        epochs = [np.concatenate(list(numbers)) for _ in range(3)]
    assert all((np.sort(epoch) == np.arange(100)).all() for epoch in epochs)
    assert not (epochs[0] == epochs[1]).all() and (epochs[1] == cr.data.permutation(100, 1, 1)).all()


def test_the_order_is_that_of_batches():
    batches = cr.data.Batches(53, 8, seed=9)
    with cr.data.Loader(np.arange(53), 8, seed=9) as numbers:
        for _ in range(2):
            assert all((a == b).all() for a, b in zip(batches, numbers, strict=True))


def test_balanced_draws_give_every_class_its_share():
    y = np.repeat([0, 1, 2], [900, 90, 10])
    with cr.data.Loader((np.zeros(1000), y), 100, weights="balanced", seed=0) as drawn:
        labels = np.concatenate([b[1] for b in drawn])
    assert len(labels) == 1000 and (np.abs(np.bincount(labels) - 1000 / 3) <= 1).all()


def test_a_sample_that_is_drawn_twice_is_changed_in_two_ways():
    source = cr.data.Loader((X[:2], Y[:2]), 50, weights=np.ones(2), sampler=None, augment=jitter)
    source.close()
    with cr.data.Loader(PAIRS, 4, sampler=[3, 3, 3, 1], augment=jitter) as drawn:
        x, y = next(iter(drawn))
    assert y.tolist() == [3, 3, 3, 1] and not (x[0] == x[1]).all() and not (x[1] == x[2]).all()


def test_shards_share_an_epoch():
    parts = []
    for k in range(3):
        with cr.data.Loader(np.arange(99), 10, seed=2, shard=(k, 3)) as part:
            parts.append(np.concatenate(list(part)))
    assert (np.sort(np.concatenate(parts)) == np.arange(99)).all() and {len(p) for p in parts} == {33}


def test_buckets_hold_samples_of_similar_length():
    rows = [(np.arange(n), n) for n in np.random.default_rng(0).integers(1, 50, 200).tolist()]
    with cr.data.Loader(rows, 16, buckets=[10, 20, 50], seed=0) as grouped:
        batches = list(grouped)
        assert len(batches) == len(grouped)
    assert sorted(n for _, y in batches for n in y.tolist()) == sorted(n for _, n in rows)
    for x, y in batches:
        assert x.values.shape[1] in (10, 20, 50) and (x.lengths == y).all() and x.lengths.max() <= x.values.shape[1]
        assert x.values.shape[1] == 10 or x.lengths.min() > {20: 10, 50: 20}[x.values.shape[1]]
        for row, n in zip(x.values, y.tolist(), strict=True):
            assert (row[:n] == np.arange(n)).all() and not row[n:].any()
    with pytest.raises(ArgumentError, match="longer than the longest bucket"):
        cr.data.Loader(rows, 16, buckets=[10, 20])
    with cr.data.Loader(rows, 16, buckets=[10, 20, 50], seed=0, lengths=[n for _, n in rows]) as told:
        assert same(batches, list(told))


def test_batches_that_are_kept_are_not_written_over():
    with cr.data.Loader([(np.full((64, 64, 3), i, np.uint8), i) for i in range(40)], 4, shuffle=False,
                        workers=2) as large:
        parts = [(b[0][:1, 0], b[1]) for b in large]
        assert all((x == y[:1, None]).all() for x, y in parts)


def test_memory_of_batches_is_used_again():
    with cr.data.Loader([np.full((64, 64, 3), i % 200, np.uint8) for i in range(400)], 4, shuffle=False,
                        workers=2) as large:
        places = set()
        for batch in large:
            places.add(batch.__array_interface__["data"][0])
        assert len(places) <= 2 * 2 + 2 + 2 + 1


def test_one_loop_at_a_time():
    with loader("arrays") as pair:
        outer = iter(pair)
        next(outer)
        assert len(list(pair)) == 6
        with pytest.raises(ArgumentError, match="one loop at a time"):
            next(outer)


def test_peeking_moves_nothing():
    with loader("arrays") as seen:
        first = seen.peek()
        assert seen.step == 0 and same([first], [next(iter(seen))])


def test_places_of_other_loaders_are_refused():
    with loader("arrays") as one:
        state = one.state()
    for other in (cr.data.Loader((X, Y), 9, seed=5), cr.data.Loader((X, Y), 8, seed=6),
                  cr.data.Loader((X[:50], Y[:50]), 8, seed=5), cr.data.Loader((X, Y), 8, seed=5, weights="balanced")):
        with pytest.raises(ArgumentError, match="belongs to another loader"):
            other.restore(state)
        other.close()


# ---- bad input


def odd(i: int, value) -> list:
    return [*PAIRS[:i], value, *PAIRS[i + 1:]]


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize(("value", "what"), [((X[0, :4], 1), "shape"), ((X[0].astype(np.float32), 1), "dtype"),
                                             ((X[0],), "structure"), ({"x": X[0]}, "structure")])
def test_a_sample_of_another_kind_names_its_number(options, value, what):
    with cr.data.Loader(odd(17, value), 8,
                        **options) as mixed, pytest.raises(DataError, match=f"sample 17 has another {what}"):
        list(mixed)
    with cr.data.Loader(odd(17, value), 1, shuffle=False,
                        **options) as single, pytest.raises(DataError, match=f"sample 17 has another {what}"):
        list(single)


class Broken:
    def __init__(self, bad=(3, 20)):
        self.bad, self.size = bad, 24

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if i in self.bad:
            raise ValueError(f"cannot read {i}")
        return np.full(3, i), i


@pytest.mark.parametrize("options", WORKERS)
def test_a_workers_error_names_the_sample(options):
    with cr.data.Loader(Broken(), 4, shuffle=False, **options) as broken:
        for _ in range(2):  # what is tried again fails again, and hides nothing
            with pytest.raises(DataError, match=r"sample 3 cannot be read[^$]*ValueError: cannot read 3"):
                next(iter(broken))


@pytest.mark.parametrize("options", WORKERS)
def test_errors_name_the_line_of_the_loop(options):
    with cr.data.Loader(odd(17, (X[0, :4], 1)), 8, **options) as mixed:
        with pytest.raises(DataError, match=r"at        test_loader\.py:\d+  for _ in mixed:  # here"):
            for _ in mixed:  # here
                pass
    with cr.data.Loader([1, 2], 2, collate=lambda a, b: a,
                        **options) as wrong, pytest.raises(DataError, match=r"at        test_loader\.py:\d+ "):
        list(wrong)


@pytest.mark.parametrize("options", WORKERS)
def test_unreadable_samples_are_left_out_and_counted(options):
    with cr.data.Loader(Broken(), 4, shuffle=False, skip_errors=True, **options) as broken:
        with pytest.warns(UserWarning, match="2 samples of 24 left out of epoch 0"):
            labels = np.concatenate([b[1] for b in broken])
        assert labels.tolist() == [i for i in range(24) if i not in (3, 20)]
        assert [(s.epoch, s.index)
                for s in broken.skipped] == [(0, 3), (0, 20)] and "cannot read 3" in broken.skipped[0].reason


def test_an_epoch_without_readable_samples_is_an_error():
    with cr.data.Loader(Broken(bad=range(24)), 4,
                        skip_errors=True) as broken, pytest.raises(DataError, match="no sample of epoch 0 could be "
                                                                                    "read"):
        list(broken)


def test_what_makes_batches_is_refused():
    torch_data = pytest.importorskip("torch.utils.data")
    given = torch_data.DataLoader(PAIRS, 4)
    with pytest.raises(ArgumentError, match="makes batches itself"):
        cr.data.Loader(given, 8)
    with cr.data.Loader(given, None) as ready:
        batches = list(ready)
        assert [len(b[1]) for b in batches] == [4] * 13 + [1] and all(
            type(leaf) is np.ndarray for leaf in flat(batches)
        )
    with pytest.raises(ArgumentError, match="augment is for samples"):
        cr.data.Loader(given, None, augment=augment.Flip())


def test_a_place_in_an_earlier_epoch():
    with loader("arrays") as there:
        state = there.state()
        epochs = [list(there) for _ in range(4)]
        there.restore(state)
        assert all(same(epoch, list(there)) for epoch in epochs)
    with pytest.raises(ArgumentError, match="no saved place"):
        there.restore(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of POSIX")
@pytest.mark.parametrize("processes", [False, True])
def test_a_forked_process_goes_on_by_itself(processes, tmp_path):
    program = f"""
import os, sys, numpy as np, chainrule as cr
loader = cr.data.Loader(np.arange(40), 4, shuffle=False, workers=2, processes={processes})
batches = iter(loader)
next(batches)
child = os.fork()
rest = [int(b[0]) for b in batches]
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or rest != list(range(4, 40, 4)))
sys.exit(rest != list(range(4, 40, 4)))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_a_batch_without_readable_samples_is_left_out():
    with cr.data.Loader(Broken(bad=range(4, 8)), 4, shuffle=False,
                        skip_errors=True) as broken, pytest.warns(UserWarning, match="4 samples"):
        assert [b[1][0] for b in broken] == [0, 8, 12, 16, 20]


def test_a_source_that_changes_its_length():
    source = Broken(bad=())
    with cr.data.Loader(source, 4) as changing:
        list(changing)
        source.size = 20
        with pytest.raises(DataError, match="changed its length"):
            list(changing)


class Shrinks(Broken):
    def __getitem__(self, i):
        self.size = 20
        return [*range(20)][i]


def test_a_source_that_shrinks_within_an_epoch():
    with cr.data.Loader(Shrinks(), 4, shuffle=False) as shrinking, pytest.raises(DataError, match="changed its length"):
        list(shrinking)


def test_what_is_made_ahead_has_an_end():
    source = Counts()
    with cr.data.Loader(source, 4, shuffle=False, workers=2, prefetch=3) as ahead:
        batches = iter(ahead)
        for i in range(5):
            next(batches)
            time.sleep(0.05)
            assert source.read <= 4 * (i + 1 + 3)


class Counts(Broken):
    read = 0

    def __init__(self):
        super().__init__(bad=())
        self.size = 400

    def __getitem__(self, i):
        self.read += 1
        return super().__getitem__(i)


@pytest.mark.parametrize("options", WORKERS)
def test_a_sample_that_ends_the_program_is_an_error(options):
    with cr.data.Loader(cr.data.map([1, 2, 3], lambda _: sys.exit("enough")), 2,
                        **options) as ending, pytest.raises(DataError, match="enough"):
        list(ending)


def test_errors_name_the_file_of_a_list_of_files(tmp_path):
    files = [str(tmp_path / f"{i}.txt") for i in range(3)]
    with cr.data.Loader(cr.data.map(files, lambda path: len(open(path).read())), 2,
                        shuffle=False) as lines, pytest.raises(DataError, match=r"sample 0 .*0\.txt"):
        list(lines)


def test_empty_sources():
    for given in ([], np.zeros((0, 3)), (np.zeros((0, 3)), np.zeros(0))):
        with pytest.raises(DataError, match="the source is empty"):
            cr.data.Loader(given, 4)
    with cr.data.Loader(lambda: iter(()), 4) as nothing, pytest.raises(DataError, match="the stream is empty"):
        list(nothing)


class Dies:
    def __len__(self):
        return 24

    def __getitem__(self, i):
        if i == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return i


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_that_dies_is_told_at_once():
    with (
        cr.data.Loader(Dies(), 4, shuffle=False, workers=2, processes=True) as dying,
        pytest.raises(DataError, match=r"worker process of the loader died[^$]*SIGKILL"),
    ):
        list(dying)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_workers_that_die_while_they_wait_are_told_too():
    with cr.data.Loader(np.arange(400), 4, workers=2, processes=True, prefetch=2) as idle:
        batches = iter(idle)
        next(batches)
        time.sleep(0.2)
        for child in idle._ahead.engine._children:
            os.kill(child.process.pid, signal.SIGKILL)
            child.process.join()
        with pytest.raises(DataError, match="SIGKILL"):
            list(batches)
        before = idle.step
        assert len(list(idle)) == 100 - before  # new workers go on where it was


def test_batches_that_cannot_be_sent_are_told():
    with cr.data.Loader([1, 2, 3, 4], 2, workers=1, processes=True,
                        collate=lambda samples: lambda: samples) as strange, \
            pytest.raises(ArgumentError, match="cannot be sent from a worker process"):
        list(strange)


def test_what_a_sample_cannot_be():
    with cr.data.Loader([object()] * 4, 2,
                        workers=0) as strange, pytest.raises(DataError, match="neither number, text nor array"):
        next(iter(strange))


@pytest.mark.parametrize(("options", "what"), [({"batch_size": 0}, "batch_size"), ({"workers": -1}, "workers"),
                                               ({"shard": (3, 3)}, "shard"), ({"seed": -1}, "seed"),
                                               ({"weights": [1.0, 2.0]}, "weights"),
                                               ({"weights": "balanced", "labels": [1]}, "class of each"),
                                               ({"sampler": [99]}, "sampler"),
                                               ({"num_workers": 4}, "workers=4"), ({"seed": None}, "seed"),
                                               ({"workers": None}, "workers"), ({"prefetch": -1}, "prefetch"),
                                               ({"buckets": True}, "buckets"), ({"lengths": [1]}, "buckets"),
                                               ({"drop_last": True, "batch_size": 99}, "no batch")])
def test_arguments_that_make_no_sense(options, what):
    with pytest.raises(ArgumentError, match=what):
        cr.data.Loader((X, Y), **({"batch_size": 8} | options))


def test_a_range_of_values_is_not_guessed_from_a_batch():
    with cr.data.Loader((X.astype(np.float32), Y), 8,
                        augment=augment.Brightness(0.2)) as dark, pytest.raises(ArgumentError, match="black and white"):
        list(dark)


# ---- ends


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("processes", [False, True])
def test_ctrl_c_ends_all(processes, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(f"""
import time, chainrule as cr

class Slow:
    def __len__(self):
        return 1000
    def __getitem__(self, i):
        time.sleep(0.2 if i < 8 else 100)
        return i

if __name__ == "__main__":
    for batch in cr.data.Loader(Slow(), 4, shuffle=False, workers=2, processes={processes}):
        print("batch", flush=True)
""")
    running = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    assert running.stdout.readline() == "batch\n"
    time.sleep(0.3)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0 and said.count("KeyboardInterrupt") == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_threads_end_with_the_loader():
    before = set(threading.enumerate())
    one = loader("arrays", workers=4)
    next(iter(one))
    started = set(threading.enumerate()) - before
    assert len(started) == 4
    del one
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


# ---- streams


def numbers(n: int = 50):
    return lambda: (np.array([i, i]) for i in range(n))


def values(batches) -> list[int]:
    return [int(v) for b in batches for v in b[:, 0]]


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 3}])
@pytest.mark.parametrize("shuffle", [None, 16])
def test_streams_are_gone_through_and_resumed(options, shuffle):
    with cr.data.Loader(numbers(), 8, shuffle=shuffle, seed=1, workers=2) as stream:
        first = values(stream)
        assert sorted(first) == list(range(50)) and (first == list(range(50))) == (shuffle is None)
        batches = iter(stream)
        for _ in range(3):
            next(batches)
        state = json.loads(json.dumps(stream.state()))
        rest = values(batches)
        with pytest.raises(CallError, match="no length"):
            len(stream)
    with cr.data.Loader(numbers(), 8, shuffle=shuffle, seed=1, **options) as other:
        other.restore(state)
        assert (other.epoch, other.step) == (1, 3) and values(other) == rest
    with cr.data.Loader(lambda: (np.array([i, 0]) for i in range(7, 57)), 8, shuffle=shuffle, seed=1,
                        **options) as another, \
            pytest.raises(DataError, match="does not give what it gave"):
        another.restore(state)


def test_epochs_of_a_stream_have_their_steps():
    with cr.data.Loader(numbers(96), 8, steps_per_epoch=4) as stream:
        assert len(stream) == 4
        assert [values(stream) for _ in range(4)] == [list(range(32)), list(range(32, 64)), list(range(64, 96)),
                                                      list(range(32))]
    with cr.data.Loader(numbers(40), 8, steps_per_epoch=4) as short:
        values(short)
        with pytest.raises(DataError, match="ended within epoch 1"):
            values(short)
    with cr.data.Loader(numbers(40), 8, steps_per_epoch=4, repeat=True) as again:
        values(again)
        assert values(again) == [*range(32, 40), *range(24)]


def test_a_stream_that_cannot_go_back_says_so():
    once = cr.data.Loader(numbers()(), 8)
    state = once.state() | {"batches": 2, "step": 2}
    assert values(once) == list(range(50))
    with pytest.raises(DataError, match="cannot go back"):
        once.restore(state)
    with pytest.raises(DataError, match="used up"):
        values(once)
    read: list[int] = []
    with cr.data.Loader((read.append(i) or x for i, x in enumerate(numbers()())), 8, workers=2) as left:
        next(iter(left))
        until = time.monotonic() + 60
        while len(read) <= 8 and time.monotonic() < until:  # a worker reads ahead in its own time
            time.sleep(0.001)
        left.close()
        with pytest.raises(DataError, match="cannot go back"):
            next(iter(left))
    with cr.data.Loader(numbers()(), 8, workers=0) as kept:
        next(iter(kept))
        kept.close()
        assert values(kept) == list(range(8, 50))
    with cr.data.Loader(numbers(), 8, workers=2) as anew:
        next(iter(anew))
        anew.close()
        assert values(anew) == list(range(8, 50))
    with cr.data.Loader(numbers()(), 8) as fresh:
        fresh.restore(state)
        assert values(fresh) == list(range(16, 50))


class Stateful:
    def __init__(self):
        self.at = 0

    def __iter__(self):
        while self.at < 50:
            self.at += 1
            yield np.array([self.at, 0])
        self.at = 0

    def state(self):
        return {"at": self.at}

    def restore(self, state):
        self.at = state["at"]


def test_a_stream_that_knows_its_place_is_asked_for_it():
    with cr.data.Loader(Stateful(), 8) as stream:
        batches = iter(stream)
        next(batches)
        state = stream.state()
        rest = values(batches)
    assert state["stream"] == {"at": 8}
    with cr.data.Loader(Stateful(), 8) as other:
        other.restore(state)
        assert values(other) == rest


def test_streams_fail_with_the_number_of_samples():
    def failing():
        yield from (np.array([i, i]) for i in range(20))
        raise OSError("line lost")

    with cr.data.Loader(failing, 8) as stream, pytest.raises(DataError, match=r"failed after 20 samples[^$]*line lost"):
        list(stream)
    for options in ({"skip_errors": True}, {"buckets": 2}, {"weights": "balanced"}, {"processes": True}):
        with pytest.raises(ArgumentError, match="samples by number"):
            cr.data.Loader(failing, 8, **options)


def test_streams_of_batches_and_shards():
    with cr.data.Loader(lambda: (np.full((3, 2), i) for i in range(4)), None) as ready:
        assert values(ready) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    with cr.data.Loader(numbers(10), 3, shard=(1, 2)) as part:
        assert values(part) == [1, 3, 5, 7, 9]


def test_nothing_warns_when_a_loader_is_left():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in WORKERS:
            left = loader("samples", **options)
            batches = [next(iter(left)) for _ in range(2)]
            del left
            assert batches[0][0].shape == (8, 8, 8, 3)
