"""Whole nodes in one process on a virtual clock, with every fault that a network, a disk or a liar can bring."""
