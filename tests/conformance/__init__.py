"""Runs official test vectors: `python -m tests.conformance KIND [DIR]`.

A kind is a module of that name here with two functions:

    read(file: Path) -> Iterator[Case]    the cases in one JSON file
    check(case: Case) -> None             raises, with the reason, where our code does not do what the case says
"""
