# SPDX-License-Identifier: Apache-2.0
"""The chain rule at work on a small network: every node of a loss with its value, local derivatives and gradient.

In comes a loss that was just computed, out come text and a picture. The gradients shown are products and sums of the
local Jacobians shown, dL/dx = sum over the uses u of x of dL/du du/dx (Baydin et al., "Automatic differentiation in
machine learning: a survey", 2018), computed here with NumPy and not by `autodiff`, so one can check the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compiler.transform import jacobian
from ..errors import ArgumentError, TraceError
from ..errors import explain as tell
from ..ir import Tensor, Variable, as_tensor
from ..ir.bind import bind, leaf
from ..ir.graph import topological
from ..ir.node import OUTPUT, Node
from ..typing import Axes
from . import pictures

LARGEST = 4096  # elements of a local Jacobian: more is no longer to be read
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
MATRIX_PRODUCT = {"contracting": ((1,), (0,)), "batch": ((), ())}


@dataclass
class Step:
    """One node: `name` = `expression`, its value, and what the chain rule says about it.

    Attributes:
        kind: "constant", "variable" or "node".
        origin: the name of the Variable, or the layer in which the node was computed.
        inputs: names of the steps that it was computed from and that carry gradients.
        local: input name → Jacobian (elements of this node, elements of the input), for each of `inputs`.
        gradient: dL / d this node, in its shape; None for constants.
    """

    name: str
    kind: str
    expression: str
    value: np.ndarray
    origin: str = ""
    inputs: tuple[str, ...] = ()
    local: dict[str, np.ndarray] = field(default_factory=dict)
    gradient: np.ndarray | None = None


@dataclass
class Explanation:
    """The steps of a loss in the order in which they were computed; `str()` gives the text, `draw` the picture.

    >>> w = cr.Variable([1.0, 2.0], name="w")
    >>> isinstance(cr.inspect.explain(cr.sum(w * w), show=False), cr.inspect.Explanation)
    True
    """

    steps: list[Step]
    digits: int = 6

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Name of each Variable → dL / d Variable, as found by multiplying the local Jacobians."""
        return {step.origin: step.gradient for step in self.steps if step.kind == "variable"}

    def __str__(self) -> str:
        return "\n".join([*_forward(self), "", *_backward(self)])

    def __repr__(self) -> str:
        return f"Explanation({len(self.steps)} steps, {len(self.gradients)} Variables)"

    def draw(self, path: pictures.PathLike | None = None, ax: Axes | None = None) -> Any:
        """Write the graph as a picture (PNG): values in black, gradients in orange, local derivatives beside the
        arrows."""
        return _draw(self, path, ax)


def explain(loss: Any, *, digits: int = 6, show: bool = True) -> Explanation:
    """Print how the gradient of `loss` comes about, node by node, and return it as data.

    Args:
        loss: a scalar that was computed outside `cr.compile` and `cr.no_grad`, from a few dozen Variables' elements.
        digits: significant digits in the text.
        show: whether to print.

    Raises TraceError in a compiled function, ArgumentError for what is too large to read or depends on no Variable.

    >>> w = cr.Variable([1.0, 2.0], name="w")
    >>> found = cr.inspect.explain(cr.sum(w * w), show=False)
    >>> found.gradients["w"]
    array([2., 4.])
    """
    loss = as_tensor(loss)
    _check(loss)
    order = _with_gradient(loss.node)
    steps = _steps(order)
    _chain(steps, order)
    result = Explanation(list(steps.values()), digits)
    if show:
        print(result)
    return result


def _check(loss: Tensor) -> None:
    if loss.node.data is None:
        raise TraceError(tell("there are no values to show inside a compiled function", got=str(loss.node.type),
                              fix="call the function without cr.compile"))
    if loss.shape != ():
        raise ArgumentError(tell("the chain rule is shown for a scalar", got=f"shape {loss.shape}", expected="shape ()",
                                 fix="explain(cr.mean(loss))"))
    if not any(node.source is not None for node in topological([loss.node])):
        raise ArgumentError(tell("this loss depends on no Variable", got=str(loss.node.type),
                                 expected="a loss computed from a model, outside cr.no_grad()"))


# ---- nodes

def _parents(node: Node) -> tuple[Node, ...]:
    """What a node was computed from; one result of several, and the value beside a custom derivative, are passed over.
    """
    if node.source is not None:
        return ()
    if node.op is OUTPUT:
        return node.inputs[0].inputs
    return node.inputs[1:] if node.op.name == "custom_gradient" else node.inputs


def _with_gradient(loss: Node) -> list[Node]:
    """The nodes through which gradients flow, each after its inputs."""
    order = topological([loss], (), _parents)
    found: dict[Node, None] = {}
    for node in order:
        if node.source is not None or (node.op.vjp is not None and any(x in found for x in _parents(node))):
            found[node] = None
    return [node for node in order if node in found]


def _steps(order: list[Node]) -> dict[Node, Step]:
    active, steps = set(order), dict[Node, Step]()
    counts = {"constant": 0, "variable": 0, "node": 0}
    for node in order:
        for x in _parents(node):  # Variables come earlier in the order
            if x not in steps and x not in active and not _uniform(x):
                steps[x] = _step(x, "constant", counts, steps)
        steps[node] = _step(node, "node" if node.source is None else "variable", counts, steps)
    return steps


def _uniform(node: Node) -> bool:
    """Whether a constant is one number, repeated: it is written where it is used."""
    return node.type.size > 0 and bool(np.all(node.data == np.ravel(node.data)[0]))


def _step(node: Node, kind: str, counts: dict[str, int], steps: dict[Node, Step]) -> Step:
    counts[kind] += 1
    name = {"constant": "c", "variable": "w", "node": "v"}[kind] + str(counts[kind])
    parents = [steps[x] for x in _parents(node) if x in steps] if kind == "node" else []
    inputs = tuple(dict.fromkeys(x.name for x in parents if x.kind != "constant"))
    origin = node.source.name or name if isinstance(node.source, Variable) else node.layer or ""
    return Step(name, kind, _expression(node, steps) if kind == "node" else "", np.asarray(node.data), origin, inputs)


def _expression(node: Node, steps: dict[Node, Step]) -> str:
    names = [steps[x].name if x in steps else f"{np.ravel(x.data)[0]:.6g}" for x in _parents(node)]
    op = node.inputs[0].op if node.op is OUTPUT else node.op
    if op.name in SIGNS and len(names) == 2:
        return f"{names[0]} {SIGNS[op.name]} {names[1]}"
    if op.name == "contract" and dict(node.attrs) == MATRIX_PRODUCT:
        return f"{names[0]} @ {names[1]}"
    return f"{_function_of(node.attrs['rule']) if op.name == 'custom_gradient' else op.name}({', '.join(names)})"


def _function_of(rule: Any) -> str:
    """The function that gave the derivative `rule`, such as relu: what a rule is defined in, or is named after."""
    return getattr(rule, "__qualname__", "stop_gradient").partition(".")[0].strip("_").removesuffix("_rule")


# ---- the chain rule

def _chain(steps: dict[Node, Step], order: list[Node]) -> None:
    """Fill in local Jacobians and gradients, from the loss backwards."""
    gradients = {node: np.zeros((1, node.type.size)) for node in order}
    gradients[order[-1]][:] = 1
    for node in reversed(order):
        steps[node].gradient = gradients[node].reshape(node.shape)
        if node.source is not None:
            continue
        for x in dict.fromkeys(_parents(node)):
            if x in gradients:
                steps[node].local[steps[x].name] = local = _local(node, x)
                gradients[x] = gradients[x] + gradients[node] @ local


def _local(node: Node, x: Node) -> np.ndarray:
    """d node / d x with the other inputs fixed, (elements of node, elements of x)."""
    if node.type.size * x.type.size > LARGEST:
        raise ArgumentError(tell("this is too large to be read node by node",
                                 got=f"a Jacobian of {node.type.size} x {x.type.size} at {node.op.name}",
                                 expected=f"at most {LARGEST} elements",
                                 fix="use a smaller batch or a smaller network"))
    source = node.inputs[0] if node.op is OUTPUT else node
    fixed = [leaf(np.asarray(i.data)) for i in source.inputs]
    first = 1 if source.op.name == "custom_gradient" else 0

    def of(value: Tensor) -> Tensor:
        operands = [value if old is x and k >= first else fixed[k] for k, old in enumerate(source.inputs)]
        result = bind(source.op, *operands, **source.attrs)
        return result[node.attrs["index"]] if node.op is OUTPUT else result
    return np.asarray(jacobian(of)(leaf(np.asarray(x.data))), np.float64).reshape(node.type.size, x.type.size)


# ---- text

def _number(value: float, digits: int) -> str:
    return f"{value + 0.0:.{digits}g}"


def _array(value: np.ndarray, digits: int) -> str:
    """Nested lists, on one line."""
    if value.ndim == 0:
        return _number(float(value), digits)
    return "[" + ", ".join(_array(item, digits) for item in value) + "]"


def _forward(e: Explanation) -> list[str]:
    count = sum(step.value.size for step in e.steps if step.kind == "variable")
    lines = [f"L = {e.steps[-1].name} is a function of {count} numbers in {len(e.gradients)} Variables.", "",
             "forward: each value from those above it"]
    for step in e.steps:
        head = step.name if step.kind != "node" else f"{step.name} = {step.expression}"
        note = "constant" if step.kind == "constant" else step.origin
        lines.append(f"  {head} = {_array(step.value, e.digits)}" + (f"    # {note}" if note else ""))
    return lines


def _backward(e: Explanation) -> list[str]:
    last = e.steps[-1]
    lines = ["backward: dL/dx is the sum over the uses u of x of dL/du du/dx (row: element of u, column: element of x)",
             f"  dL/d{last.name} = 1"]
    for step in reversed(e.steps[:-1]):
        if step.gradient is None:
            continue
        uses = [u for u in e.steps if step.name in u.local]
        lines += [f"  d{u.name}/d{step.name} = {_array(u.local[step.name], e.digits)}    # {u.name} = {u.expression}"
                  for u in uses]
        total = " + ".join(f"dL/d{u.name} d{u.name}/d{step.name}" for u in uses)
        note = f"    # {step.origin}" if step.kind == "variable" else ""
        lines.append(f"  dL/d{step.name} = {total} = {_array(step.gradient, e.digits)}{note}")
    return lines


# ---- picture

def _draw(e: Explanation, path: pictures.PathLike | None = None, ax: Any = None) -> Any:
    places = _places(e)
    columns, rows = (max(p[i] for p in places.values()) - min(p[i] for p in places.values()) + 1 for i in (0, 1))
    return pictures._picture(max(6.0, 3.1 * columns), max(3.0, 1.15 * rows), path,
                             lambda figure: _paint(figure, e, places), ax)


def _places(e: Explanation) -> dict[str, tuple[float, float]]:
    """(x, y) of each step: one row above the first use, below the steps that it was computed from if they have a place.
    """
    shown = {step.name: step for step in e.steps if step.kind != "constant"}
    depth: dict[str, int] = {e.steps[-1].name: 0}
    for step in reversed(shown.values()):
        for name in step.inputs:
            depth[name] = min(depth.get(name, 0), depth[step.name] - 1)
    places: dict[str, tuple[float, float]] = {}
    for row in sorted(set(depth.values())):
        names = [name for name in shown if depth[name] == row]
        middle = {name: np.mean([places[i][0] for i in shown[name].inputs if i in places] or [np.inf])
                  for name in names}
        names.sort(key=lambda name: (middle[name], name))
        places.update({name: (k - (len(names) - 1) / 2, -row) for k, name in enumerate(names)})
    return places


def _paint(figure: Any, e: Explanation, places: dict[str, tuple[float, float]]) -> None:
    axes = figure.add_subplot()
    axes.set_axis_off()
    for step in e.steps:
        for name, local in step.local.items():
            _paint_arrow(axes, places[name], places[step.name],
                         _brief(local) if local.size > 1 else _number(local.item(), 3))
    for step in e.steps:
        if step.name in places:
            _paint_step(axes, step, places[step.name])
    x, y = ([p[i] for p in places.values()] for i in (0, 1))
    axes.set(xlim=(min(x) - 0.55, max(x) + 0.55), ylim=(min(y) - 0.5, max(y) + 0.75))
    axes.set_title("values (black), local derivatives (grey), gradients of the loss (orange)")


def _paint_arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], text: str) -> None:
    axes.annotate("", xy=(end[0], end[1] + 0.3), xytext=(start[0], start[1] - 0.3),
                  arrowprops={"arrowstyle": "-|>", "color": pictures.GREY, "linewidth": 1.2, "shrinkA": 0,
                              "shrinkB": 0})
    middle = [0.5 * (a + b) for a, b in zip(start, end, strict=True)]
    axes.text(middle[0] + 0.02, middle[1], text, fontsize=7, color=pictures.GREY, va="center", ha="left",
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})


def _paint_step(axes: Any, step: Step, place: tuple[float, float]) -> None:
    x, y = place
    leaf_step = step.kind == "variable"
    colour = pictures.BLUE if leaf_step else pictures.GREEN
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch((x - 0.44, y - 0.28), 0.88, 0.56, boxstyle="round,pad=0.02,rounding_size=0.06",
                                  facecolor="white", edgecolor=colour, linewidth=1.5, zorder=3))
    head = f"{step.name}: {step.origin}" if leaf_step else f"{step.name} = {step.expression}"
    gradient = f"dL/d{step.name} = {_brief(step.gradient)}"
    for height, text, tint in ((0.17, head, colour), (0, _brief(step.value), "black"),
                               (-0.17, gradient, pictures.ORANGE)):
        axes.text(x, y + height, pictures._short(text, 44), ha="center", va="center", fontsize=8, color=tint, zorder=4)


def _brief(value: Any) -> str:
    """All numbers in three digits if there are few, else the shape."""
    value = np.asarray(value)
    return _array(value, 3) if value.size <= 4 else " x ".join(map(str, value.shape))
