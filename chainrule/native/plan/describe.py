# SPDX-License-Identifier: Apache-2.0
"""A plan as text: one line per step (what, for which operation, how much work), then the loop nests, then the memory.
"""

from __future__ import annotations

from .steps import Plan, ScanStep, Step


def describe(plan: Plan) -> str:
    """The plan as text."""
    lines = [_line(i, step) for i, step in enumerate(plan.steps)]
    seen: set[str] = set()
    for i, step in enumerate(plan.steps):
        text = _text(step)
        if text and text not in seen:
            seen.add(text)
            lines += ["", f"step {i}:", text]
    temporary = {b for step in plan.steps for b in (*step.reads, *step.writes) if b.kind == "temporary"}
    lines += ["", f"arena {plan.arena:,} bytes for {len(temporary)} buffers of {sum(b.bytes for b in temporary):,} "
                  "bytes"]
    return "\n".join(lines)


def _text(step: Step) -> str:
    """What a step does; of a loop the plans of its bodies."""
    if not isinstance(step, ScanStep):
        return step.text  # type: ignore[attr-defined]
    bodies = [f"{x.count} of {x.rows} from {x.first}\n{describe(x.body)}" for x in step.blocks]
    return "\n".join([f"{step.length} {step.reverse} {step.in_place}" + " stops" * step.stops + " alone" * step.alone,
                      *bodies])


def _line(number: int, step: Step) -> str:
    shape = "x".join(map(str, step.writes[0].shape)) if step.writes else ""
    layer = f"  {step.node.layer}" if step.node.layer else ""
    return f"{number:4} {step.kind:8} {step.label:24} {shape:20} {step.bytes:12,} B {step.flops:14,} flop{layer}"  # type: ignore[attr-defined]
