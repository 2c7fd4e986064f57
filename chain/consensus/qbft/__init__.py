"""QBFT, the proof of authority with final blocks, as a pure state machine (docs/consensus.md).

Nothing in this package owns a clock, a socket or a task; `vote_store.py` is the one file that owns a disk.
"""
