"""
2. Gradients: which way is down
===============================

Training means to make a number small, the *loss*, that says how wrong the network is. The *gradient* says how much the
loss changes when each weight changes a little; so the opposite direction is the way down. chainrule computes it by the
chain rule, exactly, for any program of its operations.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

# %%
# Arrays that remember
# --------------------
#
# A ``Tensor`` is an array like NumPy's, which also remembers how it was computed.

x = cr.asarray([1.0, 2.0, 3.0])
y = cr.sum(x**2)
print(y)

# %%
# The derivative of x² is 2x:

print(cr.gradients(y, x))

# %%
# ``cr.grad`` makes a function of a function: the derivative. It can be applied again.

f = lambda x: cr.sin(x) * x
print(cr.grad(f)(2.0).item(), "should be", np.cos(2.0) * 2.0 + np.sin(2.0))
print(
    cr.grad(cr.grad(f))(2.0).item(), "should be", 2 * np.cos(2.0) - 2.0 * np.sin(2.0)
)

# %%
# Walking downhill
# ----------------
#
# A landscape of two weights, a long valley. *Gradient descent* takes steps against the gradient. The length of a step
# is the gradient times the *learning rate*: too small, and the walk takes forever; too large, and it jumps across the
# valley and ends up higher than before.


def landscape(w):
    return 0.5 * (w[0] ** 2 + 12 * w[1] ** 2)


def descend(learning_rate, steps=25):
    w, path = cr.asarray([-4.0, 1.5]), []
    for _ in range(steps):
        path.append(w.numpy())
        w = w - learning_rate * cr.grad(landscape)(w)
    return np.array(path)


paths = {rate: descend(rate) for rate in (0.01, 0.1, 0.168)}

# %%

grid = np.linspace(-4.5, 4.5, 101), np.linspace(-2, 2, 81)
heights = 0.5 * (grid[0][None, :] ** 2 + 12 * grid[1][:, None] ** 2)
plt.contour(*grid, heights, 25, cmap="Greys")
for rate, path in paths.items():
    plt.plot(*path.T, "o-", markersize=3, label=f"learning rate {rate}")
plt.ylim(-2, 2)
plt.legend()
plt.title("Gradient descent in a valley")
plt.show()

# %%
# What one should have seen: the middle rate arrives, the small one is still far away, the large one jumps from side to
# side.

ends = {rate: float(landscape(cr.asarray(path[-1]))) for rate, path in paths.items()}
print(ends)
assert ends[0.1] < 0.2 < ends[0.01]
assert (np.diff(np.sign(paths[0.168][:, 1])) != 0).all()
