"""The one direction of imports between the rooms, so that nobody has to remember it (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "primitives": set(),
    "vm": {"primitives"},
    "contracts": {"primitives"},
    "chain": {"primitives", "vm", "contracts"},
    "wallet": {"primitives", "vm", "contracts", "chain"},
    "p2p": {"primitives", "vm", "contracts", "chain", "wallet"},
    "gateway": {"primitives", "vm", "contracts", "chain", "wallet"},
    "meter": {"primitives", "vm", "contracts", "chain", "wallet"},
    "node": {"primitives", "vm", "contracts", "chain", "wallet", "p2p", "gateway", "meter"},
}
ROOMS = set(MAY_IMPORT) | {"tests", "benchmarks"}


def imported_rooms(source: str) -> set[str]:
    """Every room that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found & ROOMS


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_in_one_direction_only(room: str) -> None:
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        forbidden = imported_rooms(path.read_text("utf-8")) - MAY_IMPORT[room] - {room}
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(forbidden)]
    assert wrong == []


def test_an_import_inside_a_function_is_seen() -> None:
    assert imported_rooms("def f():\n    from node.cli import main\n    import vm.gas\n") == {"node", "vm"}


def test_no_file_has_a_name_that_says_nothing() -> None:
    meaningless = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py", "manager.py"}
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "node_modules" not in path.parts]
    assert [str(path) for path in files if path.name in meaningless] == []
