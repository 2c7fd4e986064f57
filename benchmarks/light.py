"""python -m benchmarks.light: how fast a light client checks headers, and how much memory that takes.

Another process makes a chain of sealed (or mined) headers of empty blocks first and leaves the node's answers as JSON
text. This one does all that the client does with an answer: parse, decode, link, apply the rules, check seals or work,
store. A network's delay comes on top, of one question for each 192 headers.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from chain.config import ChainConfig
from chain.consensus.proof_of_work import seal_here
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.engine import MIX_HASH
from chain.consensus.qbft.messages import Commit
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.fees import expected_base_fee
from chain.genesis import Genesis, parse_genesis
from chain.header import Header
from chain.header_chain import HeaderChain
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.genesis import genesis_alloc
from primitives.clock import ManualClock
from primitives.hexadecimal import to_data
from primitives.json_text import parse_json
from wallet.client import RpcClient
from wallet.light.follower import Follower
from wallet.light.source import MAX_HEADERS, NodeSource, SealedHeader
from wallet.light.store import LightStore
from wallet.light.trust import Trust

CHAIN_ID = 4242
START_S = 1_700_000_000
BLOCK_TIME_S = 2
MEBIBYTE = 1024 * 1024
COMPARED_HEADERS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.light", description=__doc__)
    parser.add_argument("--headers", type=int, default=10_000)
    parser.add_argument("--validators", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--make", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        _make(int(options.make[0]), options.headers, Path(options.make[1]))
        return
    rows = [_measure(count, options.headers) for count in (*options.validators, 0)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"{options.headers} headers of empty blocks")
    for title in ("consensus", "s", "us a header", "us with all certificates", "MiB more"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*[str(value) for value in row.values()])
    Console().print(table)


def _measure(validators: int, count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.light",
                "--headers",
                str(count),
                "--make",
                str(validators),
                str(answers),
            ],
            check=True,
        )
        genesis = _genesis(validators)
        trust = Trust(genesis, ManualClock(START_S + 10**9))
        with LightStore.open(Path(folder), trust) as store:
            source = NodeSource(cast(RpcClient, _Replay(answers)))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            begin = time.process_time()
            asyncio.run(Follower(trust, store).follow(source))
            seconds = time.process_time() - begin
            memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            assert store.record().head.number == count
            every = _microseconds_with_every_certificate(trust, store, source) if validators else 0.0
    return {
        "consensus": f"qbft, {validators} validators" if validators else "proof of work",
        "seconds": round(seconds, 2),
        "header_us": round(seconds / count * 1e6, 1),
        "every_certificate_us": round(every, 1) or "",
        "memory_mib": round(memory / MEBIBYTE, 1),
    }


def _microseconds_with_every_certificate(trust: Trust, store: LightStore, source: NodeSource) -> float:
    """What a header would take if each certificate were checked, without parsing and storing."""
    genesis = store.genesis
    chain = HeaderChain(trust.config, trust.engine(genesis), trust.clock, genesis, trust.first_validators())
    headers: list[SealedHeader] = []
    while len(headers) < COMPARED_HEADERS:
        headers += asyncio.run(source.headers(1 + len(headers), MAX_HEADERS))
    begin = time.process_time()
    for sealed in headers:
        chain.add(sealed.header, sealed.certificate)
    return (time.process_time() - begin) / len(headers) * 1e6


class _Replay:
    """Fits what NodeSource needs of an RpcClient; its answers are lines of a file, so that memory is the client's."""

    url = "a file"

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._offsets = [0]
        for line in self._file:
            self._offsets.append(self._offsets[-1] + len(line))

    async def request(self, method: str, *parameters: Any) -> object:
        if method == "eth_blockNumber":
            return hex(len(self._offsets) - 2)
        first, count = int(parameters[0], 16), int(parameters[1], 16)
        last = min(first + count, len(self._offsets) - 1)
        self._file.seek(self._offsets[first])
        lines = self._file.read(self._offsets[last] - self._offsets[first]).splitlines()
        return parse_json(b"[" + b",".join(lines) + b"]")


def _make(validators: int, count: int, path: Path) -> None:
    """Write one line of JSON for each header, the genesis block's first."""
    genesis = _genesis(validators)
    with tempfile.TemporaryDirectory() as folder, LightStore.open(Path(folder), Trust(genesis, ManualClock())) as store:
        header = store.genesis
    signers, domain = _signers(validators), Domain(CHAIN_ID, header.hash)
    with path.open("w") as file:
        print(_line(SealedHeader(header)), file=file)
        for number in range(1, count + 1):
            header = _child(header, genesis.config, signers[number % len(signers)].address if signers else bytes(20))
            print(_line(SealedHeader(header, _certificate(header, signers, domain))), file=file)


def _genesis(validators: int) -> Genesis:
    own = {"fees": "zero", "blockTimeSeconds": BLOCK_TIME_S}
    addresses = [signer.address for signer in _signers(validators)]
    if validators:
        own |= {"consensus": "qbft", "validatorContract": to_data(VALIDATORS_ADDRESS)}
    return parse_genesis(
        {
            "config": {"chainId": CHAIN_ID, "wattchain": own},
            "difficulty": "0x1",
            "gasLimit": "0x1c9c380",
            "timestamp": hex(START_S),
            "alloc": genesis_alloc(b"\x01" * 20, validators=addresses),
        }
    )


def _signers(count: int) -> list[KeySigner]:
    signers = [KeySigner(index.to_bytes(32, "big")) for index in range(1, count + 1)]
    return sorted(signers, key=lambda signer: signer.address)


def _child(parent: Header, config: ChainConfig, builder: bytes) -> Header:
    header = replace(
        parent,
        parent_hash=parent.hash,
        number=parent.number + 1,
        timestamp_s=parent.timestamp_s + BLOCK_TIME_S,
        coinbase=builder,
        base_fee_per_gas=expected_base_fee(parent, config),
        mix_hash=MIX_HASH,
        _hash=None,
    )
    return header if any(builder) else seal_here(header)


def _certificate(header: Header, signers: Sequence[KeySigner], domain: Domain) -> bytes:
    if not signers:
        return b""
    authenticator, commit = Authenticator(domain), Commit(header.number, 0, header.hash)
    quorum = (2 * len(signers) + 2) // 3
    seals = {signer.address: authenticator.signed(commit, signer).signature for signer in signers[:quorum]}
    return CommitCertificate.of(0, seals).encode()


def _line(sealed: SealedHeader) -> str:
    return json.dumps({"header": to_data(sealed.header.encode()), "certificate": to_data(sealed.certificate)})


if __name__ == "__main__":
    main()
