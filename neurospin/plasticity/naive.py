"""No rule at all: the optimizer alone, as the lower reference."""

from __future__ import annotations

from neurospin.plasticity.around import Around


class Naive(Around):
    """Any optimizer as a rule: it goes on through all tasks, and nothing is protected.

    Args:
        base: any torch optimizer.
    """

    citation = (
        "McCloskey & Cohen, Psychology of Learning and Motivation 24:109, 1989, doi:10.1016/S0079-7421(08)60536-8"
    )
    needs_task_boundaries = False
    needs_task_id = False
