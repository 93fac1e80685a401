"""From a recording to an account: what each message was for, and what it took."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynctls.costs.fields import fields_of
from asynctls.costs.frames import Told
from asynctls.costs.report import Conversation, Cost, Group, Handshake, Message
from asynctls.tls.messages import ALERT
from asynctls.tls.records import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asynctls.costs.frames import View
    from asynctls.costs.wire import Recording, Seen

__all__ = ["SEGMENT_OCTETS", "account", "on_one_clock"]

SEGMENT_OCTETS = 1500 - 20 - 32
"""Of TLS in a segment at an MTU of 1500: without IPv4's header and TCP's with its timestamps."""

# An account is made of connections that ended in good order: then that is what the last record is.
_CLOSE_NOTIFY = "close_notify"
_GROUPS = {
    Part.HELLOS: Group.HELLOS,
    Part.CERTIFICATES: Group.CERTIFICATES,
    Part.KEY_EXCHANGE: Group.KEY_EXCHANGE,
    Part.CERTIFICATE_VERIFY: Group.CERTIFICATE_VERIFY,
    Part.FINISHED: Group.FINISHED,
    Part.TICKETS: Group.TICKETS,
    Part.ALERTS: Group.CLOSE,
    Part.OTHER: Group.CLOSE,
}


def account(
    recording: Recording,
    *,
    title: str,
    kind: str,
    key_type: str,
    handshake: Handshake,
    sent_messages: int,
    view: View,
    client: str = "client",
    server: str = "server",
) -> Conversation:
    """The account of one connection.

    Args:
        recording: as it went by, to its end.
        title: for people.
        kind: see `Conversation`.
        key_type: of the certificates.
        handshake: as the ends say it was.
        sent_messages: of the application.
        view: what an end can say of the encrypted records; is used up.
        client: who connected, as the ladder names it.
        server: who answered.
    """
    names = {True: client, False: server}
    messages = tuple(_merged(_messages(recording.seen, view, names)))
    chosen = next((each.fields for each in messages if each.name == "ServerHello"), {})
    octets = sum(each.octets for each in messages)
    payload = sum(each.payload for each in messages)
    flights = _flights(recording.seen)
    return Conversation(
        title=title,
        kind=kind,
        began_us=recording.began_s * 1e6,
        key_type=key_type,
        handshake=handshake,
        sent_messages=sent_messages,
        version=chosen.get("version", ""),
        cipher=chosen.get("cipher suite", ""),
        messages=messages,
        groups=_groups(messages),
        octets=octets,
        payload=payload,
        overhead=(octets - payload) / octets if octets else 0.0,
        round_trips=_round_trips(recording.seen),
        segments={
            name: sum(-(-n // SEGMENT_OCTETS) for by, n in flights if by is by_client)
            for by_client, name in names.items()
        },
        loopback_segments={name: recording.handed_on[by] for by, name in names.items()},
        duration_us=recording.seen[-1].at_us if recording.seen else 0.0,
    )


def on_one_clock(conversations: Sequence[Conversation]) -> tuple[Conversation, ...]:
    """The same, with the first byte of them all at 0."""
    began_us = min(each.began_us for each in conversations)
    return tuple(replace(each, began_us=each.began_us - began_us) for each in conversations)


def _messages(
    seen: Iterable[Seen], view: View, names: Mapping[bool, str]
) -> Iterator[tuple[Message, bool]]:
    """Each message, and whether it goes on with the one before from there."""
    for each in seen:
        for told in _told(each, view):
            message = Message(
                at_us=each.at_us,
                sender=names[each.by_client],
                receiver=names[not each.by_client],
                name=told.name,
                group=told.group,
                octets=told.octets,
                payload=told.payload,
                records=told.records,
                encrypted=each.message.encrypted,
                fields=told.fields,
            )
            yield message, told.continues


def _told(seen: Seen, view: View) -> Iterator[Told]:
    """What the wire shows of a message; of application data, what the ends say of them."""
    message = seen.message
    if message.part is Part.APPLICATION_DATA:
        yield from view.record(message.octets, by_client=seen.by_client)
        return
    is_close = message.encrypted and message.name == ALERT
    yield Told(
        name=_CLOSE_NOTIFY if is_close else message.name,
        group=_GROUPS[message.part],
        octets=message.octets,
        records=message.records,
        payload=0,
        fields=fields_of(message),
    )


def _merged(messages: Iterable[tuple[Message, bool]]) -> Iterator[Message]:
    """What continues joins what it continues; application data alike stand for one another."""
    merged: list[Message] = []
    place: dict[tuple[str, str, Group], int] = {}
    for message, continues in messages:
        key = message.sender, message.name, message.group
        at = place.get(key)
        alike = message.group in (Group.MESSAGES, Group.RECEIPTS)
        if at is None or not (continues or alike):
            place[key] = len(merged)
            merged.append(message)
            continue
        first = merged[at]
        merged[at] = replace(
            first,
            octets=first.octets + message.octets,
            payload=first.payload + message.payload,
            records=first.records + message.records,
            alike=first.alike + (0 if continues else 1),
        )
    yield from merged


def _groups(messages: Iterable[Message]) -> dict[Group, Cost]:
    octets: Counter[Group] = Counter()
    records: Counter[Group] = Counter()
    by_sender: dict[Group, Counter[str]] = {}
    for each in messages:
        octets[each.group] += each.octets
        records[each.group] += each.records
        by_sender.setdefault(each.group, Counter())[each.sender] += each.octets
    return {
        group: Cost(octets=octets[group], records=records[group], by_sender=dict(by_sender[group]))
        for group in Group
        if group in by_sender
    }


def _round_trips(seen: Iterable[Seen]) -> int:
    """How often an end went on only when it had heard of the other; close_notify awaits none."""
    said = (each.by_client for each in seen if each.message.part is not Part.ALERTS)
    return (len(list(groupby(said))) + 1) // 2


def _flights(seen: Iterable[Seen]) -> list[tuple[bool, int]]:
    """What one end sent without hearing of the other: from which end, and how many bytes."""
    return [
        (by_client, sum(each.message.octets for each in flight))
        for by_client, flight in groupby(seen, key=lambda each: each.by_client)
    ]
