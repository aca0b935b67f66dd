# SPDX-License-Identifier: Apache-2.0
"""Networks whose structure depends on the data: a Tree-LSTM over sentences' trees, eagerly, and compiled by levels.

The eager one is Python recursion, one graph per tree. For the compiled one, trees become arrays whose sizes are rounded
up to buckets, so the number of programs is bounded by the number of buckets, not of trees.
Source of the model: Tai, Socher and Manning, ACL 2015 (binary, N-ary form).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import TraceError

WORDS, WIDTH = 6, 8  # five values and one word that turns the sign of what stands beside it


@dataclass(frozen=True)
class Tree:
    """A word, or two trees below it."""

    word: int = -1
    below: tuple[Tree, ...] = ()


class TreeLSTM(nn.Module):
    """The state of a tree is (h, c)."""

    def __init__(self):
        self.words, self.gates, self.output = nn.Embedding(WORDS, WIDTH), nn.Dense(5 * WIDTH), nn.Dense(2)

    def state(self, tree):
        if not tree.below:
            return cr.tanh(self.words(np.array([tree.word]))), np.zeros((1, WIDTH), "float32")
        (h1, c1), (h2, c2) = map(self.state, tree.below)
        return self.join(cr.concat([h1, h2], axis=-1), c1, c2)

    def join(self, h, c1, c2):
        i, o, u, left, right = (self.gates(h)[:, k * WIDTH:(k + 1) * WIDTH] for k in range(5))
        c = cr.sigmoid(i) * cr.tanh(u) + cr.sigmoid(left) * c1 + cr.sigmoid(right) * c2
        return cr.sigmoid(o) * cr.tanh(c), c

    def forward(self, trees):
        return self.output(cr.concat([self.state(tree)[0] for tree in trees], axis=0))


def draw(generator, depth):
    if depth == 0 or generator.random() < 0.3:
        return Tree(int(generator.integers(0, 5)))
    if generator.random() < 0.3:
        return Tree(below=(Tree(5), draw(generator, depth - 1)))
    return Tree(below=(draw(generator, depth - 1), draw(generator, depth - 1)))


def meaning(tree):
    if not tree.below:
        return tree.word - 2.1
    first, second = tree.below
    return -meaning(second) if first.word == 5 else meaning(first) + meaning(second)


def samples(seed, n, depth=3):
    generator = np.random.default_rng(seed)
    trees = [draw(generator, depth) for _ in range(n)]
    return trees, np.array([meaning(t) > 0 for t in trees]).astype(int)


def test_gradients_through_recursion_are_finite_differences():
    model = TreeLSTM()
    trees, y = samples(0, 8)
    model(trees)
    weight, direction = (model.parameters()["gates.weight"],
                         np.random.default_rng(2).normal(size=(2 * WIDTH, 5 * WIDTH)).astype("float32"))
    loss = lambda: losses.cross_entropy(model(trees), y)
    slope = (cr.gradients(loss(), model)["gates.weight"].numpy() * direction).sum()
    start, ends = weight.numpy(), []
    for side in (1e-2, -1e-2):
        weight.assign(start + np.float32(side) * direction)
        ends.append(loss().item())
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=5e-2, abs=1e-3)


# ---- compiled: nodes in an order in which children come first, sizes rounded up

def flat(trees):
    """(word or -1, left, right) of all nodes, children first, and the roots."""
    nodes, roots = [], []

    def add(tree):
        entry = (-1, *map(add, tree.below)) if tree.below else (tree.word, 0, 0)
        nodes.append(entry)
        return len(nodes) - 1
    for tree in trees:
        roots.append(add(tree))
    return np.array(nodes), np.array(roots)


def levels(nodes):
    height = np.zeros(len(nodes), int)
    for n, (word, left, right) in enumerate(nodes):
        height[n] = 0 if word >= 0 else 1 + max(height[left], height[right])
    return [np.flatnonzero(height == h) for h in range(height.max() + 1)]


def bucket(n):
    return 1 << max(int(np.ceil(np.log2(n))), 3)


def padded(trees):
    """Arrays whose extents are powers of two: leaves' words, and for each level the rows of its children."""
    nodes, roots = flat(trees)
    place, rows, total = np.zeros(len(nodes), int), [], 0
    for h, level in enumerate(levels(nodes)):
        size = bucket(len(level))
        place[level] = total + np.arange(len(level))
        filled = np.zeros((size, 2), int) if h else np.zeros(size, int)
        filled[:len(level)] = place[nodes[level, 1:]] if h else nodes[level, 0]
        rows.append(filled)
        total += size
    return rows, place[roots]


def by_levels(model, rows, roots):
    h = cr.tanh(model.words(rows[0]))
    c = h * 0
    for pair in rows[1:]:
        new_h, new_c = model.join(cr.concat([cr.take(h, pair[:, 0], axis=0), cr.take(h, pair[:, 1], axis=0)], axis=-1),
                                  cr.take(c, pair[:, 0], axis=0), cr.take(c, pair[:, 1], axis=0))
        h, c = cr.concat([h, new_h], axis=0), cr.concat([c, new_c], axis=0)
    return model.output(cr.take(h, roots, axis=0))


def test_levels_compile_once_per_bucket_and_equal_the_recursion():
    model = TreeLSTM()
    trees, _ = samples(0, 4)
    model(trees)
    run = cr.compile(lambda rows, roots: by_levels(model, rows, roots), backend="reference")
    shapes = set()
    for seed in range(25):
        trees, _ = samples(seed, 8)
        rows, roots = padded(trees)
        shapes.add(tuple(len(r) for r in rows))
        np.testing.assert_allclose(run(rows, roots).numpy(), model(trees).numpy(), rtol=1e-4, atol=1e-5)
    assert len(run.entries) == len(shapes) <= 12  # of 25 batches, no two alike


def test_a_tree_lstm_learns():
    model, optimizer = TreeLSTM(), optim.Adam(2e-2)
    trees, y = samples(0, 240)
    model(trees[:2])

    @cr.compile(backend="reference")
    def step(rows, roots, labels):
        loss = losses.cross_entropy(by_levels(model, rows, roots), labels)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    for _ in range(25):
        for start in range(0, 240, 20):
            step(*padded(trees[start:start + 20]), y[start:start + 20])
    test, answers = samples(1, 200)
    rows, roots = padded(test)
    assert max(answers.mean(), 1 - answers.mean()) < 0.7
    assert (by_levels(model, rows, roots).numpy().argmax(-1) == answers).mean() > 0.85
    assert len(step.entries) <= 12


def test_a_condition_on_a_value_that_does_not_exist_yet_says_why():
    @cr.compile(backend="reference")
    def f(x):
        return x if cr.sum(x) > 0 else -x
    with pytest.raises(TraceError, match="where"):
        f(np.ones(3, "float32"))


def test_eager_loops_may_depend_on_values():
    x, steps = cr.asarray(np.array(100.0)), 0
    while x > 1:
        x, steps = x / 3, steps + 1
    assert steps == 5
