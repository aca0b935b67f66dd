# SPDX-License-Identifier: Apache-2.0
"""What an attention kernel is made for: extents, strides, and how queries and keys are cut into blocks.

In: a node, and where its operands lie. Out: an `AttentionSpec`, from which everything else follows. Queries are cut
into panels of a few vectors, whose lanes are the queries, so that maxima and sums over keys are sums of vectors; keys
are cut into blocks that stay in the nearest cache. The cut depends on the shapes alone, so the number of threads
changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.node import Node
from ...target import Target
from ..tile import tile_rows

FEWEST_QUERIES = 8  # below which most lanes would be idle, if queries were in them
FEWEST_KEYS = 16  # of few queries: below, lanes of keys would be idle too
PANEL_VECTORS = 2
TILE_ROWS = 8  # keys of one register tile of scores
FORWARD_KEYS = 128  # keys of one block
BACKWARD_KEYS = 64
BACKWARD_PANELS = 4  # panels of queries that one block of keys meets in turn
SIZES = {"float32": 4, "float64": 8}
Strides = tuple[int, ...]


@dataclass(frozen=True)
class AttentionSpec:
    """One attention, or its gradient; strides count elements along (batch, steps, heads), the last axis has stride 1.

    `strides` are those of q, k, v and (of the gradient) g; `mask` those of the mask along (batch, heads, steps,
    sources), 0 where it has extent 1.
    """

    batch: int
    steps: int
    sources: int
    heads: int
    groups: int
    width: int
    value_width: int
    strides: tuple[Strides, ...]
    mask: Strides | None
    causal: bool
    scale: float
    dtype: str
    gradient: bool

    @property
    def shared(self) -> int:
        """Heads of queries for each head of keys."""
        return self.heads // self.groups

    @property
    def few(self) -> bool:
        """Whether keys are in the lanes, because the queries are too few."""
        return self.steps < FEWEST_QUERIES

    @property
    def offset(self) -> int:
        """A causal query i sees the keys up to i + offset."""
        return self.sources - self.steps

    @property
    def flops(self) -> int:
        """Of the products that are computed: two, or five in the gradient; half of them if causal."""
        pairs = self.batch * self.heads * self.steps * self.sources // (2 if self.causal else 1)
        return 2 * pairs * (3 * self.width + 2 * self.value_width if self.gradient else self.width + self.value_width)


@dataclass(frozen=True)
class Cut:
    """How an attention is cut; `panel` counts queries, `rows` the keys of one tile, `keys` those of one block."""

    vectors: int
    panel: int
    panels: int
    rows: int
    keys: int
    together: int  # panels that the gradient takes together
    pitch: int  # elements from the scores of one key to those of the next


def make_cut(spec: AttentionSpec, target: Target) -> Cut:
    """The cut of an attention."""
    lanes = target.lanes(spec.dtype)
    vectors = min(PANEL_VECTORS, -(-spec.steps // lanes))
    panel = vectors * lanes
    panels = -(-spec.steps // panel)
    rows = min(TILE_ROWS, tile_rows(target, vectors))
    most = BACKWARD_KEYS if spec.gradient else FORWARD_KEYS
    keys = min(-(-spec.sources // rows), max(1, most // rows)) * rows
    together = min(BACKWARD_PANELS, panels) if spec.gradient else 1
    pitch = together * panel + (lanes if together > 1 else 0)  # rows of scores shall not fall on the same cache sets
    return Cut(vectors, panel, panels, rows, keys, together, pitch)


def fits(node: Node) -> bool:
    """Whether there is a kernel for an attention or its gradient."""
    kinds = [x.type for x in node.inputs]
    if node.type[0].dtype.name not in SIZES or not all(t.size for t in kinds):
        return False
    return kinds[0].shape[1] >= FEWEST_QUERIES or (node.op.name == "attention" and kinds[1].shape[1] >= FEWEST_KEYS)
