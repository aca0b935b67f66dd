# SPDX-License-Identifier: Apache-2.0
"""What the doctor hands over: findings, each with a place, a measurement and one remedy, and the list of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> found = cr.diagnose(model, (1000 * x, (x[:, 0] > 0).astype(int)), loss="cross_entropy")
    >>> isinstance(found[0], cr.train.Finding), found[0].kind
    (True, 'inputs not normalised')
    """

    kind: str
    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}\n  found   {self.problem}\n  remedy  {self.remedy}"


class Report(list[Finding]):
    """Findings, in the order in which they were made.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> found = cr.diagnose(model, (1000 * x, (x[:, 0] > 0).astype(int)), loss="cross_entropy")
    >>> isinstance(found, cr.train.Report)
    True
    """

    def place(self, finding: Finding) -> int | None:
        """Where a finding of the same kind at the same layer is, or None."""
        known = [(old.kind, old.where) for old in self]
        here = (finding.kind, finding.where)
        return known.index(here) if here in known else None

    @property
    def kinds(self) -> list[str]:
        """The kinds of the findings, each once."""
        return list(dict.fromkeys(finding.kind for finding in self))

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing found"

    __repr__ = __str__
