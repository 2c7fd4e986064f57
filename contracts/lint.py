"""`python -m contracts.lint`: slither over contracts/src. Whatever it rates above "informational" has to be explained.

Explanations are in contracts/explained.toml: a check, the places where it is raised, and the reason why it is no fault
there. One that explains nothing any more is refused as well. slither comes with an environment of its own
(`make lint-contracts`), since it needs other versions of some libraries than the tests do.
"""

import inspect
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.build import HERE, SOURCES, compiler_output, install_compiler
from primitives.errors import UserError

EXPLAINED = HERE / "explained.toml"
EVERYWHERE = "*"
_RATED_ABOVE_INFORMATIONAL = ("High", "Medium", "Low")
# Nothing that slither looks at needs the code generator: trees and interfaces take seconds instead of a minute.
_OUTPUTS = {"*": {"*": ["abi", "devdoc", "userdoc", "evm.methodIdentifiers"], "": ["ast"]}}
_NO_CODE = {"object": "", "sourceMap": "", "linkReferences": {}}


@dataclass(frozen=True, slots=True)
class Finding:
    impact: str
    check: str
    place: str
    """Contract and function, `Meter.submit`, with the variable where it is about one."""
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a check may raise how many findings: `Meter.submit`, `Meter.submit x2`, or everywhere."""

    check: str
    times: Mapping[str, int]
    reason: str
    text: str = ""
    """What each finding has to say, where the reason holds for some kind of finding only."""


def read_explanations(path: Path = EXPLAINED) -> list[Explanation]:
    """Raises UserError where one has no reason or is there twice."""
    explanations = []
    seen: set[tuple[str, str]] = set()
    for entry in tomllib.loads(path.read_text())["explained"]:
        if not entry.get("reason", "").strip():
            raise UserError(f"{path.name}: no reason is given for {entry['check']}")
        times = {}
        for where in entry["where"]:
            place, _, count = where.partition(" x")
            if (entry["check"], place) in seen:
                raise UserError(f"{path.name}: {entry['check']} in {place} is explained twice")
            seen.add((entry["check"], place))
            times[place] = int(count or 1)
        explanations.append(Explanation(entry["check"], times, entry["reason"], entry.get("text", "")))
    return explanations


def complaints(findings: Iterable[Finding], explanations: Iterable[Explanation]) -> list[str]:
    """What is left to do: findings that nothing explains, explanations that explain nothing."""
    expected = {(one.check, place): (count, one.text) for one in explanations for place, count in one.times.items()}
    left = []
    found: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = finding.check, finding.place
        if key not in expected:
            key = finding.check, EVERYWHERE
        count, text = expected.get(key, (0, ""))
        if text not in finding.text or (key[1] != EVERYWHERE and found[key] == count) or not count:
            left.append(f"{finding.impact}: {finding.check} in {finding.place}\n    {finding.text}")
        else:
            found[key] += 1
    for (check, place), (count, _) in expected.items():
        if found[check, place] < count:
            left.append(f"{EXPLAINED.name} explains {count} of {check} in {place}; there are {found[check, place]}")
    return left


def run_slither() -> list[Finding]:
    """Everything that slither rates above informational in our own sources (not in the library's)."""
    # The environment of the tests has no slither.
    from slither import Slither  # type: ignore[import-not-found]
    from slither.detectors import all_detectors  # type: ignore[import-not-found]
    from slither.detectors.abstract_detector import AbstractDetector  # type: ignore[import-not-found]

    slither = Slither(_compiled())
    for _, detector in inspect.getmembers(all_detectors, inspect.isclass):
        if issubclass(detector, AbstractDetector):
            slither.register_detector(detector)
    return sorted(
        (
            Finding(result["impact"], result["check"], _place(result), " ".join(result["description"].split()))
            for results in slither.run_detectors()
            for result in results
            if result["impact"] in _RATED_ABOVE_INFORMATIONAL and _is_ours(result)
        ),
        key=lambda finding: (_RATED_ABOVE_INFORMATIONAL.index(finding.impact), finding.check, finding.place),
    )


def _compiled() -> Any:
    """The pinned compiler's output in the form that slither takes."""
    from crytic_compile import CompilationUnit, CryticCompile  # type: ignore[import-not-found]
    from crytic_compile.compiler.compiler import CompilerVersion  # type: ignore[import-not-found]
    from crytic_compile.platform import solc_standard_json as solc  # type: ignore[import-not-found]

    output = compiler_output(SOURCES, None, {"outputSelection": _OUTPUTS})
    for contracts in output["contracts"].values():
        for contract in contracts.values():
            contract.setdefault("evm", {}).update(bytecode=_NO_CODE, deployedBytecode=_NO_CODE)

    class Compiled(solc.SolcStandardJson):  # type: ignore[misc]
        def compile(self, crytic_compile: Any, **_: Any) -> None:
            unit = CompilationUnit(crytic_compile, "contracts")
            unit.compiler_version = CompilerVersion(
                "solc", _version(), optimized=False, optimize_runs=None, via_ir=False
            )
            solc.parse_standard_json_output(output, unit, solc_working_dir=str(SOURCES))

    return CryticCompile(Compiled({"sources": {}}))


def _version() -> str:
    return str(json.loads((HERE / "package.json").read_text())["dependencies"]["solc"])


def _is_ours(result: Mapping[str, Any]) -> bool:
    files = [Path(element["source_mapping"]["filename_absolute"]) for element in result["elements"]]
    return any(file.parent == SOURCES for file in files)


def _place(result: Mapping[str, Any]) -> str:
    """Of the first thing that it is about: names without parameters and lines, which change with every edit."""
    element = result["elements"][0]
    names = [element["name"]]
    while (parent := element.get("type_specific_fields", {}).get("parent")) is not None:
        element = parent
        if element["type"] in ("contract", "function"):
            names.append(element["name"])
    return ".".join(reversed(names))


def main() -> int:
    try:
        install_compiler()
        explanations = read_explanations()
        findings = run_slither()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    left = complaints(findings, explanations)
    for complaint in left:
        print(complaint)
    by_impact = Counter(finding.impact for finding in findings)
    counts = ", ".join(f"{by_impact[impact]} {impact.lower()}" for impact in _RATED_ABOVE_INFORMATIONAL)
    print(f"slither: {counts}; " + ("all explained" if not left else f"{len(left)} to be explained or mended"))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
