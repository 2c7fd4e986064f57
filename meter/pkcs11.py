"""A meter's key in a secure element that never gives it away, by PKCS #11 (OASIS PKCS #11 v2.40, CKM_ECDSA).

What the element returns is r and s alone, s in either half: here s is brought into the lower one, and the parity found
that recovers the public key. An element that is pulled out and put back is opened again with the next signature. Loads
python-pkcs11 where it is used, since most meters keep their key in a file.
"""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meter.bounded_signer import BoundedSigner
from meter.signer import TOKEN_PIN, SignerUnavailable, read_secret
from primitives import secp256k1
from primitives.errors import InvalidSignature, NeedsPerson, UserError
from primitives.hexadecimal import to_checksum_address

if TYPE_CHECKING:
    import pkcs11
    from pkcs11._pkcs11 import lib as Library

logger = logging.getLogger(__name__)

SECP256K1_PARAMETERS = bytes.fromhex("06052b8104000a")
"""DER of the object identifier 1.3.132.0.10 (SEC 2), as CKA_EC_PARAMS has it."""
P256_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
# An element that does not answer is tried again at most this often: opening it may take a reader a second.
RETRY_S = 5.0
# As CKA_ID of common elements.
MAX_ID_BYTES = 32
_ID = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_CHIPS = "many chips know the curve P-256 alone; docs/metering/keys.md says what these would need"


@dataclass(frozen=True, slots=True)
class ElementSettings:
    """[pkcs11]: the meter's key is in a secure element."""

    module: Path
    """The maker's PKCS #11 library, such as /usr/lib/softhsm/libsofthsm2.so or opensc-pkcs11.so."""
    token: str
    """The label of the token."""
    address: bytes
    """The meter's: known before the element is asked, so that another element, or another key, is noticed."""
    key_label: str = ""
    key_id: str = ""
    """Hexadecimal. Label, id, or both name the key."""
    pin_file: Path | None = None

    def check(self) -> None:
        """Raises UserError for what cannot be meant."""
        if not self.key_label and not self.key_id:
            raise NeedsPerson("the settings must name the key in the element: pkcs11.key_label, pkcs11.key_id, or both")
        parse_id(self.key_id)


def parse_id(text: str) -> bytes:
    """CKA_ID in hexadecimal. Raises UserError."""
    if not _ID.fullmatch(text) or len(text) > 2 * MAX_ID_BYTES:
        raise NeedsPerson(
            f"the id of a key in an element is up to {MAX_ID_BYTES} bytes in hexadecimal such as 01, not {text[:80]!r}"
        )
    return bytes.fromhex(text)


class ElementSigner:
    """The key that the settings name. One in a program: opening again begins the maker's library anew."""

    def __init__(self, settings: ElementSettings, pin: str) -> None:
        self.address = settings.address
        self._settings = settings
        self._pin = pin
        self._library = load_module(settings.module)
        self._session: pkcs11.Session | None = None
        self._key: Any = None
        self._public_key = b""
        self._failed_s: float | None = None
        self._failed_why = ""

    @classmethod
    def open(cls, settings: ElementSettings, *, asks: bool = False) -> "ElementSigner":
        """Ready to sign as soon as the element is there. Raises UserError for what a person must do.

        Where a wrong PIN was given since the last right one, the PIN is not tried unless it `asks` a person for it:
        services start again by themselves, and a few wrong PINs lock the element for good.
        """
        return cls.begin(settings, read_pin(settings, asks=asks), asks=asks)

    @classmethod
    def begin(cls, settings: ElementSettings, pin: str, *, asks: bool = False) -> "ElementSigner":
        """As `open`, with the PIN."""
        signer = cls(settings, pin)
        try:
            signer._open(even_after_a_wrong_pin=asks)
        except SignerUnavailable as error:
            logger.warning("%s; readings are signed as soon as it is", error)
        return signer

    def sign(self, message_hash: bytes) -> tuple[int, int, int]:
        """(y_parity, r, s), s in the lower half. Raises SignerUnavailable, or UserError for what a person must do."""
        from pkcs11 import Mechanism, PKCS11Error

        if self._session is not None:
            try:
                return self._recoverable(message_hash, self._key.sign(message_hash, mechanism=Mechanism.ECDSA))
            except PKCS11Error as error:
                logger.warning(
                    "the element %s does not sign (%s); opening it again", self._settings.token, _name(error)
                )
        if self._failed_s is not None and time.monotonic() - self._failed_s < RETRY_S:
            raise SignerUnavailable(self._failed_why)
        self._open()
        try:
            return self._recoverable(message_hash, self._key.sign(message_hash, mechanism=Mechanism.ECDSA))
        except PKCS11Error as error:
            raise SignerUnavailable(f"the element {self._settings.token} does not sign: {_name(error)}") from error

    def close(self) -> None:
        from pkcs11 import PKCS11Error

        session, self._session, self._key = self._session, None, None
        if session is not None:
            try:
                session.close()
            except PKCS11Error as error:  # what was pulled out has no session any more
                logger.debug("the session of %s was gone already: %s", self._settings.token, _name(error))

    def _open(self, *, even_after_a_wrong_pin: bool = False) -> None:
        from pkcs11 import PKCS11Error

        self.close()
        settings = self._settings
        try:
            # Elements that came or went since are seen by a library that begins anew.
            if self._library.initialized:
                self._library.finalize()
            self._library.initialize()
            token = find_token(self._library, settings.token)
            self._session = log_in(token, self._pin, even_after_a_wrong_pin=even_after_a_wrong_pin)
            self._key, self._public_key = _find_key(self._session, settings)
        except PKCS11Error as error:
            self._fail(f"the element {settings.token} does not answer: {_name(error)}")
            raise SignerUnavailable(self._failed_why) from error
        except UserError as error:
            self._fail(str(error))
            raise
        self._failed_s = None
        found = secp256k1.public_key_to_address(self._public_key)
        if found != settings.address:
            self.close()
            raise NeedsPerson(
                f"the key in the element {settings.token} is that of {to_checksum_address(found)}, the settings say "
                f"{to_checksum_address(settings.address)}: put the meter's own element in, or have the supplier swap "
                "the meter and change pkcs11.address"
            )

    def _fail(self, why: str) -> None:
        self._failed_s, self._failed_why = time.monotonic(), why
        self.close()

    def _recoverable(self, message_hash: bytes, signature: bytes) -> tuple[int, int, int]:
        if len(signature) == 64:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            s = min(s, secp256k1.ORDER - s)
            for y_parity in (0, 1):
                try:
                    if secp256k1.recover(message_hash, y_parity, r, s) == self._public_key:
                        return y_parity, r, s
                except InvalidSignature:
                    continue
        raise SignerUnavailable(f"the element {self._settings.token} returned a signature that is not its key's")


def read_pin(settings: ElementSettings, *, asks: bool = False) -> str:
    """Raises UserError."""
    return read_secret(TOKEN_PIN, None if asks else settings.pin_file, f"PIN of the token {settings.token}")


def open_element(settings: ElementSettings, patience_s: float, *, asks: bool = False) -> BoundedSigner:
    """As `ElementSigner.open`, for who cannot wait longer for a signature. Raises UserError."""
    pin = read_pin(settings, asks=asks)
    name = f"the element {settings.token}"
    return BoundedSigner(settings.address, name, lambda: ElementSigner.begin(settings, pin, asks=asks), patience_s)


def load_module(path: Path) -> "Library":
    """The maker's library. Raises UserError."""
    try:
        import pkcs11
    except ImportError as error:
        raise NeedsPerson("keys in secure elements need a library: pip install 'wattchain[pkcs11]'") from error
    try:
        library: Library = pkcs11.lib(str(path))
    except pkcs11.PKCS11Error as error:
        raise UserError(
            f"the PKCS #11 library {path} cannot be used: {_name(error)}. Install the maker's, or name its file in "
            "pkcs11.module"
        ) from error
    return library


def find_token(library: "Library", label: str) -> "pkcs11.Token":
    """The token of that label. Raises SignerUnavailable where it is not plugged in, UserError where two have it."""
    tokens = list(library.get_tokens())
    found = [token for token in tokens if token.label == label]
    if len(found) > 1:
        raise NeedsPerson(f"{len(found)} tokens are labelled {label}: give the meter's a label of its own")
    if not found:
        others = ", ".join(sorted(token.label for token in tokens if token.label)) or "none"
        raise SignerUnavailable(f"the element {label} is not there; tokens that are: {others}")
    return found[0]


def log_in(token: "pkcs11.Token", pin: str, *, even_after_a_wrong_pin: bool, rw: bool = False) -> "pkcs11.Session":
    """A session that may use the token's keys. Raises UserError for what is wrong with the PIN."""
    import pkcs11

    locked = NeedsPerson(
        f"the element {token.label} is locked after too many wrong PINs: its owner's SO PIN unlocks it"
    )
    if token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise locked
    one_was_wrong = pkcs11.TokenFlag.USER_PIN_COUNT_LOW | pkcs11.TokenFlag.USER_PIN_FINAL_TRY
    if token.flags & one_was_wrong and not even_after_a_wrong_pin:
        raise NeedsPerson(
            f"a wrong PIN was given to the element {token.label}, and more of them would lock it for good: put the "
            "right PIN in place, then enter it once with `wattchain meter key test`"
        )
    try:
        session: pkcs11.Session = token.open(rw=rw, user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise NeedsPerson(f"that is not the PIN of the element {token.label}; a few more wrong ones lock it") from error
    except pkcs11.UserPinNotInitialized as error:
        raise NeedsPerson(f"the element {token.label} has no PIN yet: its maker's program sets one") from error
    except pkcs11.PinLocked as error:
        raise locked from error
    return session


def make_key(module: Path, token_label: str, key_label: str, key_id: bytes, pin: str) -> bytes:
    """A new secp256k1 key that stays in the element; the address. Raises UserError."""
    library = load_module(module)
    import pkcs11
    from pkcs11 import Attribute, KeyType, MechanismFlag

    try:
        with log_in(find_token(library, token_label), pin, even_after_a_wrong_pin=True, rw=True) as session:
            if any(True for _ in session.get_objects(_template(pkcs11.ObjectClass.PRIVATE_KEY, key_label, key_id))):
                raise UserError(f"the element {token_label} has a key of that label and id already; choose others")
            parameters = session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: SECP256K1_PARAMETERS}, local=True
            )
            public, _ = parameters.generate_keypair(
                id=key_id,
                label=key_label,
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
            )
            return secp256k1.public_key_to_address(_point(bytes(public[Attribute.EC_POINT])))
    except pkcs11.PKCS11Error as error:
        raise UserError(
            f"the element {token_label} makes no secp256k1 key: {_name(error)}. Where that is about neither PIN nor "
            f"another program that uses the element: {_CHIPS}"
        ) from error


def _find_key(session: "pkcs11.Session", settings: ElementSettings) -> tuple[Any, bytes]:
    """The private key that the settings name, and its 64-byte public key. Raises UserError, PKCS11Error."""
    from pkcs11 import Attribute, AttributeTypeInvalid, ObjectClass

    key_id = parse_id(settings.key_id)
    key = _only(session, _template(ObjectClass.PRIVATE_KEY, settings.key_label, key_id), "private key")
    parameters = bytes(key[Attribute.EC_PARAMS])
    if parameters != SECP256K1_PARAMETERS:
        curve = "P-256" if parameters == P256_PARAMETERS else "another curve"
        raise NeedsPerson(f"the key in the element is on {curve}, the ledger needs secp256k1: {_CHIPS}")
    try:
        return key, _point(bytes(key[Attribute.EC_POINT]))
    except AttributeTypeInvalid:  # where the standard has it: in the public key beside it
        public = _only(session, _template(ObjectClass.PUBLIC_KEY, settings.key_label, key_id), "public key")
        return key, _point(bytes(public[Attribute.EC_POINT]))


def _template(kind: "pkcs11.ObjectClass", label: str, key_id: bytes) -> dict[Any, Any]:
    from pkcs11 import Attribute, KeyType

    template: dict[Any, Any] = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.EC}
    if label:
        template[Attribute.LABEL] = label
    if key_id:
        template[Attribute.ID] = key_id
    return template


def _only(session: "pkcs11.Session", template: dict[Any, Any], what: str) -> Any:
    found = list(session.get_objects(template))
    if len(found) != 1:
        number = "no" if not found else f"{len(found)} times a"
        raise UserError(
            f"the element has {number} {what} of the label and id in the settings: check pkcs11.key_label and "
            "pkcs11.key_id, or make a key with `wattchain meter key new`"
        )
    return found[0]


def _point(encoded: bytes) -> bytes:
    """x || y of a point in CKA_EC_POINT: an uncompressed point, in a DER OCTET STRING or, by some elements, bare."""
    point = encoded[2:] if encoded[:2] == b"\x04\x41" and len(encoded) == 67 else encoded
    if len(point) != 65 or point[0] != 4:
        raise UserError(f"the element's public key is in a form that is not known: {encoded[:4].hex()}...")
    return point[1:]


def _name(error: Exception) -> str:
    """python-pkcs11 names the code by the class; a text is there for few."""
    return " ".join(str(error).split())[:200] or type(error).__name__
