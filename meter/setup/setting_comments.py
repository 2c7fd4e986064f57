"""What a setting means, for the comments in a settings file: the text below its field in the dataclass, or here where
there is none since the name says it to whoever reads the code."""

import ast
import inspect
from functools import cache
from textwrap import dedent

_SHORT = {
    "meter.outbox": "The database of this meter: readings that wait, and what it has to know.",
    "account.key": "Key file of the account that pays for transactions.",
    "account.password_file": "File whose first line is its password. Without it the password is asked.",
    "pkcs11.key_label": "Label of the key in the element; the id will do as well.",
    "pkcs11.pin_file": "File whose first line is the PIN. Without it the PIN is asked.",
    "ledger.chain_id": "The network's number; readings are signed for it alone.",
    "ledger.node": "The node that is asked, by its JSON-RPC.",
    "ledger.meter_contract": "Contracts of the network, where they are not at the usual places.",
    "ledger.exhaustion_contract": "As above.",
    "ledger.policy_contract": "As above.",
    "ledger.confirmations": "So many blocks on a reading until it leaves this computer; 0 where blocks are final.",
    "ledger.poll_interval_s": "How often the node is asked, in seconds.",
    "ledger.resend_after_s": "A transaction that is in no block after so many seconds is sent again.",
    "ledger.max_in_flight": "Transactions that may wait for a block at once.",
    "ledger.prompt_transactions": "While so many wait for a block, further readings wait, until that block at most.",
    "ledger.max_fee_wei": "What a transaction may cost at most, in wei of WATT.",
    "ledger.believed_reading": "A last reading on the ledger that you vouch for: its number, Wh taken, Wh given.",
    "relay.kind": "gpio, board, shelly, mqtt, command, or simulated.",
    "relay.on_payload": "What the topic is told to switch on.",
    "relay.off_payload": "And to switch off.",
    "relay.off_command": "The same to switch off.",
    "relay.enabled": "Whether a relay obeys the ledger.",
    "relay.fail_safe_after_s": "Seconds without a ledger before the above counts.",
    "relay.poll_interval_s": "How often the ledger is looked at, in seconds.",
    "relay.minimum_on_s": "Once on it stays on for so many seconds, so that it never chatters.",
    "relay.minimum_off_s": "The same once it is off.",
    "mqtt.host": "Name or address of the broker.",
    "mqtt.username": "As whom the meter logs in; empty for nobody.",
    "mqtt.tls": "Whether the connection is encrypted.",
    "mqtt.certificate_key_file": "The key of that certificate.",
    "mqtt.protocol": "Version of MQTT: 5 or 3.1.1.",
    "mqtt.keepalive_s": "A connection that is silent for longer is looked after.",
    "driver.kind": "What measures.",
    "driver.port": "The serial port.",
    "driver.baud_rate": "Its speed.",
    "driver.parity": "none, even or odd.",
    "driver.stop_bits": "1 or 2.",
    "driver.silence_s": "Seconds without a byte after which the wire is said to be dead.",
    "driver.tcp_port": "With `host`: the port there.",
    "driver.interval_s": "How often it tells something, in seconds.",
    "driver.timeout_s": "Seconds that an answer may take.",
    "driver.board": "Which board, so which number of a line means what.",
    "driver.fields": "What is told, where it is not what is usual.",
    "driver.format": "csv (numbers) or emoncms (pairs of bytes).",
    "driver.node_id": "The number at the beginning of each line; 0 for any.",
    "driver.channels": 'The clamps that count; "-4" subtracts clamp 4.',
    "driver.encrypted": "Whether the meter encrypts what it tells (Luxembourg).",
    "driver.registers": "A table of registers, for a meter that is not known by its model.",
    "driver.file": "The file with the measurements.",
    "driver.load_column": "The column with the household's consumption.",
    "driver.load_unit": "What it is in: kWh, Wh, kW or W.",
    "driver.load_scale": "What to multiply it with.",
    "driver.generation_unit": "What the panel's column is in.",
    "driver.row_interval_s": "Seconds from one row to the next.",
    "driver.delimiter": "What stands between two columns.",
    "driver.missing_values": "What stands for a value that is missing.",
    "driver.repeat": "Whether to begin again behind the last row.",
}


def comment_of(kind: type, section: str, name: str) -> str:
    """Of the setting `section.name`, whose section is the dataclass; empty where nothing is to be said."""
    return _field_texts(kind).get(name) or _SHORT.get(f"{section}.{name}", "")


@cache
def _field_texts(kind: type) -> dict[str, str]:
    """What the source of a dataclass, or of those that it extends, says below its fields."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        (definition,) = ast.parse(dedent(inspect.getsource(one))).body
        assert isinstance(definition, ast.ClassDef)
        name = None
        for statement in definition.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
            elif name is not None and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                texts[name] = " ".join(str(statement.value.value).split())
                name = None
            else:
                name = None
    return texts
