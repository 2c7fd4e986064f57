"""keccak-256: known digests by every backend, and a backend that computes wrongly is refused."""

import pytest

from primitives import keccak

KNOWN = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"Transfer(address,address,uint256)": "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
}


@pytest.mark.parametrize("name", list(keccak.BACKENDS))
def test_every_backend_computes_known_digests(name: str) -> None:
    function = keccak.load_backend(name)
    for data, digest in KNOWN.items():
        assert function(data).hex() == digest


def test_the_backends_agree_around_the_block_length_of_136_bytes() -> None:
    functions = [keccak.load_backend(name) for name in keccak.BACKENDS]
    for length in (135, 136, 137, 271, 272, 273, 10_000):
        assert len({function(b"\x5a" * length) for function in functions}) == 1


def test_the_chosen_backend_is_the_fastest_that_is_installed() -> None:
    assert keccak.backend_name == "pysha3"


def test_a_backend_with_wrong_digests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    monkeypatch.setitem(keccak.BACKENDS, "sha3", lambda: lambda data: hashlib.sha3_256(data).digest())
    with pytest.raises(RuntimeError, match="wrong digests"):
        keccak.load_backend("sha3")
