# SPDX-License-Identifier: Apache-2.0
"""A function of one example for a whole batch: `vmap`. Here: the gradient of each example, all pairs, many models."""

import numpy as np

import chainrule as cr

rng = np.random.default_rng(0)
x, y = rng.normal(size=(8, 5)), rng.integers(0, 3, 8)
parameters = {"w": rng.normal(size=(3, 5)), "b": np.zeros(3)}


def loss(p, x, y):  # one example: no batch axis anywhere
    return -cr.take(cr.log_softmax(p["w"] @ x + p["b"]), y)


each = cr.vmap(cr.grad(loss), in_axes=(None, 0, 0))(parameters, x, y)
print("gradient of each example:", {name: g.shape for name, g in each.items()})
norms = np.linalg.norm(each["w"].numpy().reshape(8, -1), axis=1)
print("examples by how much they would change the weights:", np.argsort(-norms).tolist())

whole = cr.grad(lambda p: cr.mean(cr.vmap(loss, (None, 0, 0))(p, x, y)))(parameters)
assert np.allclose(each["w"].numpy().mean(0), whole["w"].numpy())  # their mean is the gradient of the batch

distance = lambda a, b: cr.sqrt(cr.sum((a - b) ** 2))
pairs = cr.vmap(cr.vmap(distance, (None, 0)), (0, None))(x, x)
assert np.allclose(pairs.numpy(), np.linalg.norm(x[:, None] - x[None], axis=-1))

models = {"w": rng.normal(size=(20, 3, 5)), "b": np.zeros((20, 3))}  # twenty models, one input
votes = cr.vmap(lambda p: cr.argmax(p["w"] @ x[0] + p["b"]))(models)
print("votes of twenty random models:", np.bincount(votes.numpy(), minlength=3))

compiled = cr.compile(cr.vmap(cr.grad(loss), in_axes=(None, 0, 0)))  # one program, no loop
assert np.allclose(compiled(parameters, x, y)["w"].numpy(), each["w"].numpy())
operations = [node.op.name for node in compiled.lower(parameters, x, y).graph.nodes]
print(f"compiled: {len(operations)} operations for any number of examples")
assert "scan" not in operations
