"""What each message is there for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asynctls.costs.purposes import purpose_of

if TYPE_CHECKING:
    from asynctls.costs.report import Report


def test_every_message_of_the_exchange_has_a_purpose_and_a_source(report: Report) -> None:
    for told in report.conversations:
        for message in told.messages:
            if told.kind != "tls":
                assert re.search(r"\((RFC \d+, .+|asynctls/1)\)\.$", purpose_of(message)), (
                    message.name
                )
