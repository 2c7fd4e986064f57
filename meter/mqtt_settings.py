"""[mqtt] in the settings file: which broker, as whom, how it is trusted. No library is needed to read it."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import UserError
from wallet.settings_file import check_ranges

PROTOCOLS = ("5", "3.1.1")
# The protocol's own limit is 65,535; nobody names a meter like that, and every message carries it.
MAX_TOPIC_BYTES = 1024


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """[mqtt]: the broker."""

    host: str
    port: int = 0
    """0 for the usual one: 1883, with TLS 8883."""
    username: str = ""
    password_file: Path | None = None
    """File whose first line is the password; a service may be given the credential mqtt-password instead."""
    tls: bool = False
    ca_file: Path | None = None
    """Certificate of who signed the broker's, where the system does not know it."""
    certificate_file: Path | None = None
    """The meter's own certificate and key, where the broker asks for one."""
    certificate_key_file: Path | None = None
    client_id: str = ""
    """Empty for wattchain- and the meter's address. No two programs at one broker may have the same."""
    protocol: str = "5"
    keepalive_s: int = 30
    base_topic: str = "wattchain"
    """What this meter publishes lies below this and its address."""

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        try:
            is_name = bool(self.host.encode("idna")) and len(self.host) <= 255 and self.host.isprintable()
        except UnicodeError:
            is_name = False
        if not is_name or " " in self.host:
            raise UserError(f"mqtt.host must be the name or address of the broker, not {self.host[:80]!r}")
        check_ranges((("mqtt.port", self.port, 0, 65_535), ("mqtt.keepalive_s", self.keepalive_s, 5, 3600)))
        if self.protocol not in PROTOCOLS:
            raise UserError(f"mqtt.protocol is {self.protocol!r}; choose one of {', '.join(PROTOCOLS)}")
        if self.password_file is not None and not self.username:
            raise UserError("mqtt.password_file needs mqtt.username: set it to the user that the broker knows")
        if not self.tls and (self.ca_file or self.certificate_file):
            raise UserError("mqtt.ca_file and mqtt.certificate_file need mqtt.tls = true")
        if (self.certificate_file is None) != (self.certificate_key_file is None):
            raise UserError("mqtt.certificate_file and mqtt.certificate_key_file belong together: set both or none")
        check_topic(self.base_topic, "mqtt.base_topic")

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port or (8883 if self.tls else 1883)}"


def check_topic(topic: str, name: str, *, wildcards: bool = False) -> None:
    """Raises UserError where a setting is no topic that can be published to, or with wildcards subscribed to."""
    levels = topic.split("/")
    wrong = not topic or len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES or "\0" in topic
    for position, level in enumerate(levels):
        if "#" in level or "+" in level:
            last = position == len(levels) - 1
            wrong = wrong or not wildcards or not (level == "+" or (level == "#" and last))
    if wrong:
        raise UserError(f"{name} must be the name of an MQTT topic such as home/meter, not {topic[:80]!r}")


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """What the connection trusts; None without TLS. Raises UserError for files that are no certificates."""
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.certificate_key_file)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"the certificates that [mqtt] names cannot be used: {error}") from error
    return context
