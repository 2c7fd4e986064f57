"""[mqtt]: a plain sentence for each mistake, before anything is connected."""

from pathlib import Path

import pytest

from meter.mqtt_settings import MqttSettings, check_topic, tls_context
from primitives.errors import UserError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (MqttSettings(""), "mqtt.host must be"),
        (MqttSettings("a b"), "mqtt.host must be"),
        (MqttSettings("x" * 70), "mqtt.host must be"),
        (MqttSettings("h", 70_000), "mqtt.port must be from 0"),
        (MqttSettings("h", keepalive_s=1), "mqtt.keepalive_s must be from 5"),
        (MqttSettings("h", protocol="4"), "choose one of 5, 3.1.1"),
        (MqttSettings("h", password_file=Path("p")), "needs mqtt.username"),
        (MqttSettings("h", ca_file=Path("p")), "need mqtt.tls = true"),
        (MqttSettings("h", tls=True, certificate_file=Path("p")), "belong together"),
        (MqttSettings("h", base_topic="a/#"), "mqtt.base_topic must be the name of an MQTT topic"),
        (MqttSettings("h", base_topic=""), "mqtt.base_topic must be the name of an MQTT topic"),
    ],
)
def test_mistakes_in_settings(settings: MqttSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = MqttSettings("h", tls=True, ca_file=tmp_path / "ca.pem")
    settings.check()
    with pytest.raises(UserError, match="certificates that"):
        tls_context(settings)


@pytest.mark.parametrize("topic", ["a", "a/b c/d", "+", "#", "a/+/b", "a/#", "/a"])
def test_topics_to_subscribe_to(topic: str) -> None:
    check_topic(topic, "x", wildcards=True)
    if "+" in topic or "#" in topic:
        with pytest.raises(UserError, match="x must be the name of an MQTT topic"):
            check_topic(topic, "x")


@pytest.mark.parametrize("topic", ["", "a#", "#/a", "a+/b", "a\0", "x" * 2000])
def test_what_is_no_topic(topic: str) -> None:
    with pytest.raises(UserError, match="x must be the name of an MQTT topic"):
        check_topic(topic, "x", wildcards=True)
