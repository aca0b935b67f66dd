# SPDX-License-Identifier: Apache-2.0
"""Tables of which a batch takes few rows: updated as PyTorch does with sparse gradients, in place, without touching the
rest."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import NonFiniteError
from chainrule.ir import as_tensor
from chainrule.ops.index import scatter
from chainrule.optim.rows import Rows, rows_of

VOCABULARY, WIDTH = 50, 3
TABLE = np.random.default_rng(0).standard_normal((VOCABULARY, WIDTH))
HEAD = np.random.default_rng(1).standard_normal((WIDTH, 2))
BATCHES = np.random.default_rng(2).integers(0, 20, (100, 4, 3))  # many ids twice, the last thirty rows never

ROWS = {
    "sgd": (lambda: optim.SGD(0.1), lambda t, p: t.optim.SGD(p, 0.1)),
    "adagrad": (lambda: optim.Adagrad(0.1, initial=0.1),
                lambda t, p: t.optim.Adagrad(p, 0.1, initial_accumulator_value=0.1)),
    "lazy adam": (lambda: optim.Adam(0.05, 0.8, 0.99, epsilon=1e-30, lazy=True),
                  lambda t, p: t.optim.SparseAdam(p, 0.05, (0.8, 0.99), eps=1e-30)),
}


def objective(rows, head):
    return cr.mean(cr.tanh(rows @ head) ** 2) + 0.1 * cr.mean(rows)


def train(optimizer, backend, batches=BATCHES):
    table = cr.Variable(TABLE, name="table")

    def step(ids):
        loss = objective(cr.take(table.value, ids, axis=0), HEAD)
        optimizer.update({"table": table}, cr.gradients(loss, {"table": table}))
    run = step if backend is None else cr.compile(step, backend=backend)
    for ids in batches:
        run(ids)
    return table.numpy(), run


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("backend", [None, "native"])
@pytest.mark.parametrize("name", ROWS)
def test_a_hundred_steps_as_pytorch_with_sparse_gradients(name, backend):
    torch = pytest.importorskip("torch")
    ours, theirs = ROWS[name]
    table, head = torch.nn.Embedding(VOCABULARY, WIDTH, sparse=True, dtype=torch.float64), torch.tensor(HEAD)
    table.weight.data[:] = torch.tensor(TABLE)
    optimizer = theirs(torch, [table.weight])
    for ids in BATCHES:
        optimizer.zero_grad()
        rows = table(torch.tensor(ids))
        ((torch.tanh(rows @ head) ** 2).mean() + 0.1 * rows.mean()).backward()
        optimizer.step()
    found, _ = train(ours(), backend)
    np.testing.assert_allclose(found, table.weight.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found[20:], TABLE[20:])


@pytest.mark.parametrize("make", [
    lambda: optim.SGD(0.1, clip_norm=0.01), lambda: optim.SGD(0.1, clip_value=0.002),
    lambda: optim.Adagrad(0.1, clip_norm=0.01),
    lambda: optim.Adagrad(0.1, clip_value=0.002),
    lambda: optim.groups(optim.SGD(1.0, clip_norm=0.01), {"table": {"learning_rate": 0.1}}),
    lambda: optim.SGD(0.1, weight_decay=0.1), lambda: optim.SGD(0.1, momentum=0.9),
    lambda: optim.Adagrad(0.1, weight_decay=0.1)])
def test_rows_change_nothing_but_the_work(make):
    found, _ = train(make(), "native", BATCHES[:10])
    table, optimizer = cr.Variable(TABLE, name="table"), make()
    for ids in BATCHES[:10]:
        optimizer.update({"table": table},
                         {"table": cr.gradients(objective(cr.take(table.value, ids, axis=0), HEAD),
                                                {"table": table})["table"].numpy()})
    np.testing.assert_allclose(found, table.numpy(), rtol=1e-12, atol=1e-14)


def test_a_large_table_is_touched_only_where_rows_are_taken():
    model = nn.Sequential([nn.Embedding(200_000, 8), nn.Flatten(), nn.Dense(2)])
    for optimizer in (optim.SGD(0.1), optim.Adagrad(0.1), optim.Adam(0.1, lazy=True, clip_norm=1.0)):
        ids = np.array([[3, 5, 3], [199_999, 5, 0]])
        model(ids)
        before = model[0].weight.numpy()
        step = cr.train.step.training_step(model, losses.get("cross_entropy"), optimizer, backend="native")
        step(ids, np.array([0, 1]), np.ones(2, np.float32))
        changed = np.flatnonzero((model[0].weight.numpy() != before).any(axis=1))
        assert set(changed) <= {0, 3, 5, 199_999} and len(changed) >= 3
        whole = [line for line in step.show("kernels").splitlines() if "200000x8" in line]
        # nothing else writes the table or its slots
        assert whole and all(line.split()[1] == "scatter" for line in whole)
        arena = next(line for line in step.show("kernels").splitlines() if line.startswith("arena"))
        assert int(arena.split()[1].replace(",", "")) < 100_000


def test_lazy_adam_is_adam_where_every_row_occurs():
    every = np.tile(np.arange(VOCABULARY), (5, 1))
    lazy, _ = train(optim.Adam(0.05, lazy=True), "reference", every)
    whole, _ = train(optim.Adam(0.05), "reference", every)
    np.testing.assert_allclose(lazy, whole, rtol=1e-12)


def test_lazy_adam_in_numpy_with_decay_and_clipping():
    p, m, v = TABLE.copy(), 0 * TABLE, 0 * TABLE
    for t, ids in enumerate(BATCHES[:20], 1):
        rows, h = p[ids], np.tanh(p[ids] @ HEAD)
        g = np.zeros_like(p)
        np.add.at(g, ids, (2 * h * (1 - h * h) / h.size) @ HEAD.T + 0.1 / rows.size)
        g *= min(0.05 / (np.linalg.norm(g) + 1e-6), 1)
        i = np.unique(ids)
        g[i] += 0.1 * p[i]
        m[i], v[i] = 0.9 * m[i] + 0.1 * g[i], 0.999 * v[i] + 0.001 * g[i] ** 2
        p[i] -= 0.05 * m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
    found, _ = train(optim.Adam(0.05, lazy=True, weight_decay=0.1, clip_norm=0.05), "native", BATCHES[:20])
    np.testing.assert_allclose(found, p, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 5, 1024, 1025, 3000])
def test_equal_ids_are_added_up_for_any_number_of_them(count):
    ids, values = (np.random.default_rng(count).integers(0, 300, count),
                   np.random.default_rng(0).standard_normal((count, 2)))
    rows = Rows(as_tensor(ids), as_tensor(values), (300, 2))
    expected = np.zeros((300, 2))
    np.add.at(expected, ids, values)
    np.testing.assert_allclose(rows.each.numpy(), expected[ids], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose((rows.totals.numpy() ** 2).sum(), (expected**2).sum(), rtol=1e-12)
    last = {i: place for place, i in enumerate(ids.tolist())}
    np.testing.assert_array_equal(rows.place.numpy(), [last[i] for i in ids.tolist()])


def test_gradients_that_are_not_rows_alone():
    table = cr.Variable(TABLE, name="table")
    twice = cr.sum(cr.take(table.value, np.array([1, 2]), axis=0)) + cr.sum(cr.take(table.value, np.array([2]), axis=0))
    rows = rows_of(cr.gradients(twice, {"table": table})["table"])
    assert sorted(rows.ids.numpy().tolist()) == [1, 2, 2]
    np.testing.assert_array_equal(np.abs(rows.totals.numpy()).sum(), 9.0)
    tied = cr.sum(cr.take(table.value, np.array([1, 2]), axis=0) @ cr.permute_dims(table.value, (1, 0)))
    assert rows_of(cr.gradients(tied, {"table": table})["table"]) is None


def test_a_step_that_is_not_finite_leaves_the_table_alone():
    model = nn.Sequential([nn.Embedding(40, 2), nn.Flatten(), nn.Dense(1)])
    model(np.zeros((1, 2), int))
    model[0].weight.assign(np.where(np.arange(40)[:, None] == 7, np.inf, model[0].weight.numpy()))
    before = model[0].weight.numpy()
    with pytest.raises(NonFiniteError):
        cr.fit(model, (np.array([[7, 3]]), np.zeros((1, 1))), loss="mean_squared_error", optimizer=optim.Adagrad(0.1),
               progress=False)
    np.testing.assert_array_equal(model[0].weight.numpy(), before)


def test_scatter_into_a_variable_that_is_read_afterwards():
    """The old table is still needed when the rows are written, so the result cannot lie in its memory from the start.
    """
    table = cr.Variable(TABLE, name="table")

    @cr.compile(backend="native")
    def step(ids, rows):
        old = table.value
        table.assign(scatter(old, ids, rows, mode="set", drop=True))
        return old * 2, cr.sum(table.value)
    before, total = step(np.array([3, -1, 99, 3]), np.arange(12.0).reshape(4, 3))
    expected = TABLE.copy()
    expected[[3, -1]] = [[9, 10, 11], [3, 4, 5]]
    np.testing.assert_array_equal(before.numpy(), TABLE * 2)
    np.testing.assert_array_equal(table.numpy(), expected)
    np.testing.assert_allclose(total.item(), expected.sum())
