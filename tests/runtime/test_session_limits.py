from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from asynctls.config import ClientConfig, ServerConfig
from asynctls.runtime.session_limits import limits_of
from asynctls.session import Limits
from asynctls.tls import KEEPALIVE_S

LATE = timedelta(seconds=7)


@pytest.mark.parametrize("kind", [ServerConfig, ClientConfig])
def test_without_settings_a_commands_limits_are_the_librarys(
    kind: type[ServerConfig | ClientConfig],
) -> None:
    assert limits_of(kind()) == Limits()
    assert kind().keepalive.total_seconds() == KEEPALIVE_S


@pytest.mark.parametrize("kind", [ServerConfig, ClientConfig])
@pytest.mark.parametrize(
    ("setting", "value", "limit"),
    [
        ("max_message", 7, "max_message_bytes"),
        ("session_timeout", LATE, "handshake_timeout_s"),
        ("receipt_timeout", LATE, "receipt_timeout_s"),
        ("close_timeout", LATE, "close_timeout_s"),
        ("queue_messages", 7, "queue_messages"),
        ("queue_bytes", 7, "queue_bytes"),
    ],
)
def test_each_setting_is_one_limit(
    kind: type[ServerConfig | ClientConfig], setting: str, value: object, limit: str
) -> None:
    config = msgspec.structs.replace(kind(), **{setting: value})
    assert limits_of(config) == replace(Limits(), **{limit: 7})
