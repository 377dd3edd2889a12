"""Writes the table of docs/targets.md from the conformance suite: `python experiments/conformance/table.py`.

Every target that can be used here is judged in every case; a column is written only when the suite finds no fault.
"""

from pathlib import Path

from hardware_targets.conformance import CASES, judge, table
from neurospin.target import check, get_target, targets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "targets.md"
BEGIN, END = "<!-- table: begin -->\n", "\n<!-- table: end -->"
NAMES = ("reference", "loihi", "lava", "crossbar")


def page(text: str) -> str:
    """The page with a fresh table in its place."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table(NAMES) + END + rest.split(END)[1]


def main() -> None:
    available = {status.name for status in targets() if status.available}
    for name in NAMES:
        for case in CASES.values():
            if name in available:
                judge(get_target(name), case)
            else:
                check(case.make(), name)
        print(f"{name}: {'judged in every case' if name in available else 'not here, taken from its list'}")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
