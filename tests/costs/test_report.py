"""The account of a real run: its sums agree, and it says what was asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asynctls.costs.export import to_json
from asynctls.costs.operations import count
from asynctls.costs.report import Group, Handshake

if TYPE_CHECKING:
    from asynctls.costs.report import Conversation, Report

THE_ORIGINALS = (
    Group.HELLOS,
    Group.CERTIFICATES,
    Group.KEY_EXCHANGE,
    Group.CERTIFICATE_VERIFY,
    Group.FINISHED,
    Group.SHARED_SECRET,
    Group.MESSAGES,
    Group.RECEIPTS,
    Group.CLOSE,
)


def the(report: Report, **wanted: object) -> Conversation:
    """The one conversation with these attributes."""
    (found,) = (
        each
        for each in report.conversations
        if all(getattr(each, name) == value for name, value in wanted.items())
    )
    return found


def test_every_sum_agrees(report: Report) -> None:
    for each in report.conversations:
        octets = sum(message.octets for message in each.messages)
        assert each.octets == octets == sum(group.octets for group in each.groups.values())
        for group in each.groups.values():
            assert group.octets == sum(group.by_sender.values())
        assert each.payload == sum(message.payload for message in each.messages)
        assert each.overhead == pytest.approx(1 - each.payload / octets)


def test_the_story_has_every_group_of_the_original(report: Report) -> None:
    story = report.conversations[0]
    assert (story.kind, story.key_type, story.handshake) == ("session", "rsa-2048", Handshake.FULL)
    assert story.sent_messages == 1
    assert [group for group in THE_ORIGINALS if group not in story.groups] == []


def test_each_message_is_in_the_group_that_it_is_for(report: Report) -> None:
    assert {each.name: each.group for each in report.conversations[0].messages} == {
        "ClientHello": Group.HELLOS,
        "ServerHello": Group.HELLOS,
        "Certificate": Group.CERTIFICATES,
        "ServerKeyExchange": Group.KEY_EXCHANGE,
        "CertificateRequest": Group.CERTIFICATES,
        "ServerHelloDone": Group.HELLOS,
        "ClientKeyExchange": Group.KEY_EXCHANGE,
        "CertificateVerify": Group.CERTIFICATE_VERIFY,
        "ChangeCipherSpec": Group.FINISHED,
        "Finished": Group.FINISHED,
        "NewSessionTicket": Group.TICKETS,
        "KEY": Group.SHARED_SECRET,
        "READY": Group.SHARED_SECRET,
        "DATA": Group.MESSAGES,
        "RECEIPT": Group.RECEIPTS,
        "CLOSE": Group.CLOSE,
        "close_notify": Group.CLOSE,
    }


def test_a_client_hello_offers_what_a_client_has_configured(report: Report) -> None:
    # Not the number that only signals that it knows secure renegotiation.
    assert report.conversations[0].messages[0].fields["cipher suites"] == "4 offered"


def test_a_resumed_handshake_says_so_in_its_first_message(report: Report) -> None:
    for each in report.conversations:
        offered = "offered" if each.handshake is Handshake.RESUMED else "none"
        assert each.messages[0].fields["session to resume"] == offered


def test_all_times_are_of_one_clock_in_microseconds(report: Report) -> None:
    assert min(each.began_us for each in report.conversations) == 0
    for each in report.conversations:
        at = [message.at_us for message in each.messages]
        assert at[0] == 0
        assert at == sorted(at)
        assert at[-1] <= each.duration_us
    story = report.conversations[0]
    assert story.duration_us == story.messages[-1].at_us
    for each in report.conversations:
        if each.kind in {"bootstrap", "enrolment"} and each.key_type == story.key_type:
            assert each.began_us + each.duration_us < story.began_us
    # A thousand messages, each of which waits for the receipt of the one before.
    assert session(report, Handshake.FULL, 1000).duration_us > 10_000


def test_every_kind_of_conversation_is_there(report: Report) -> None:
    kinds = [(each.kind, each.key_type, each.handshake) for each in report.conversations]
    for key_type in ("rsa-2048", "ecdsa-p256"):
        for kind in ("session", "tls"):
            for handshake in Handshake:
                sent = [
                    each.sent_messages
                    for each in report.conversations
                    if (each.kind, each.key_type, each.handshake) == (kind, key_type, handshake)
                ]
                assert sent == [1, 1000]
        # The server joins, and so does the client.
        assert kinds.count(("bootstrap", key_type, Handshake.FULL)) == 2
        assert kinds.count(("enrolment", key_type, Handshake.FULL)) == 2


def session(report: Report, handshake: Handshake, messages: int = 1) -> Conversation:
    return the(
        report,
        kind="session",
        key_type="rsa-2048",
        handshake=handshake,
        sent_messages=messages,
    )


def test_a_resumed_handshake_is_smaller_and_sooner(report: Report) -> None:
    full, resumed = session(report, Handshake.FULL), session(report, Handshake.RESUMED)
    assert resumed.octets < full.octets / 2
    assert resumed.round_trips == full.round_trips - 1
    assert not {Group.CERTIFICATES, Group.KEY_EXCHANGE, Group.CERTIFICATE_VERIFY} & set(
        resumed.groups
    )


def test_round_trips_are_those_of_the_protocols(report: Report) -> None:
    # Two for the handshake; KEY, the message's receipt, and CLOSE have one each.
    assert session(report, Handshake.FULL).round_trips == 2 + 3
    for each in report.conversations:
        if each.kind == "tls":
            assert each.round_trips == 2
        elif each.kind == "bootstrap":
            assert each.round_trips == 2 + 1
        elif each.kind == "enrolment":
            # /cacerts, /simpleenroll, and a CRL of each of two CAs.
            assert each.round_trips == 2 + 4


def test_a_thousand_messages_have_less_overhead_each(report: Report) -> None:
    for handshake in Handshake:
        one, many = session(report, handshake), session(report, handshake, 1000)
        assert many.overhead < one.overhead
        assert many.payload == 1000 * one.payload
        assert many.groups[Group.MESSAGES].octets == 1000 * one.groups[Group.MESSAGES].octets
        assert many.groups[Group.RECEIPTS].octets == 1000 * one.groups[Group.RECEIPTS].octets
        assert many.round_trips == one.round_trips + 999
        (messages,) = (each for each in many.messages if each.name == "DATA")
        assert (messages.alike, messages.records) == (1000, 1000)


def test_ecdsa_is_smaller_than_rsa(report: Report) -> None:
    rsa, ecdsa = (
        the(
            report,
            kind="session",
            key_type=key_type,
            handshake=Handshake.FULL,
            sent_messages=1,
        )
        for key_type in ("rsa-2048", "ecdsa-p256")
    )
    for group in (Group.CERTIFICATES, Group.KEY_EXCHANGE, Group.CERTIFICATE_VERIFY):
        assert ecdsa.groups[group].octets < rsa.groups[group].octets
    assert ecdsa.groups[Group.MESSAGES] == rsa.groups[Group.MESSAGES]


def test_an_enrolment_has_the_request_the_certificate_and_the_chain(report: Report) -> None:
    for each in report.conversations:
        if each.kind == "enrolment":
            assert {Group.CSR, Group.CERTIFICATE, Group.CA_CHAIN, Group.CRLS} <= set(each.groups)
            by_name = {message.name: message for message in each.messages}
            assert by_name["POST /simpleenroll"].receiver == "ttp"
            assert by_name["200 /simpleenroll"].payload > 0


def test_segments_are_computed_for_an_mtu_of_1500(report: Report) -> None:
    for each in report.conversations:
        for sender, segments in each.segments.items():
            sent = sum(message.octets for message in each.messages if message.sender == sender)
            assert segments >= -(-sent // 1448)
        for sender, pieces in each.loopback_segments.items():
            records = sum(message.records for message in each.messages if message.sender == sender)
            assert 0 < pieces <= records
    # Its first flight does not fit into one.
    assert (
        session(report, Handshake.FULL).segments["server"]
        > session(report, Handshake.RESUMED).segments["server"]
    )


def test_the_operations_are_counted_by_who_pays(report: Report) -> None:
    operations = {each.name: each for each in report.operations}
    assert operations.keys() == {
        *("rsa_key_generation", "rsa_sign", "rsa_verify"),
        *("ecdsa_key_generation", "ecdsa_sign", "ecdsa_verify"),
        *("ecdhe", "aes_gcm", "hkdf", "hmac"),
    }
    for algorithm, kind in (("rsa", "rsa-2048"), ("ecdsa", "ecdsa-p256")):
        made = operations[f"{algorithm}_key_generation"].counts
        assert made == {kind: {"client": 1, "server": 1}}
        # The CSR and a CertificateVerify; the CSR and a ServerKeyExchange; the TTP's of each of
        # four connections, and two certificates.
        # Of the TTP on the way to an identity: two key exchanges, its own chain of two, root and
        # issuing CA, the new certificate, two CRLs; of the other end: its chain of two, and what
        # it signs in the handshake. The TTP verifies two CSRs.
        verified = operations[f"{algorithm}_verify"].counts
        assert verified == {kind: {"client": 9 + 3, "server": 9 + 3, "ttp": 2}}
        signed = operations[f"{algorithm}_sign"].counts
        assert signed == {kind: {"client": 2, "server": 2, "ttp": 4 + 2}}
    # KEY, READY, DATA, RECEIPT and two CLOSE, each of which is tagged and verified.
    assert operations["hmac"].counts["rsa-2048"] == {"client": 6, "server": 6}
    assert operations["hkdf"].counts["rsa-2048"] == {"client": 1, "server": 1}
    assert operations["ecdhe"].counts["rsa-2048"] == {"client": 3, "server": 3, "ttp": 4}
    encrypted = sum(
        message.records
        for each in report.conversations
        if each.key_type == "rsa-2048" and each.kind in ("bootstrap", "enrolment")
        for message in each.messages
        if message.encrypted
    ) + sum(m.records for m in report.conversations[0].messages if m.encrypted)
    assert sum(operations["aes_gcm"].counts["rsa-2048"].values()) == 2 * encrypted


def test_every_operation_takes_time_and_a_total_is_that_of_its_count(report: Report) -> None:
    for each in report.operations:
        assert each.seconds > 0
        for key_type, sides in each.totals.items():
            for side, seconds in sides.items():
                assert seconds == pytest.approx(each.seconds * each.counts[key_type][side])
    assert 10 < report.aes_against_rsa < 10_000


def test_messages_that_are_told_as_one_count_each(report: Report) -> None:
    counted = count([session(report, Handshake.FULL, 1000)])
    # KEY, READY, a thousand DATA and RECEIPT, two CLOSE.
    assert counted["hmac"] == {"client": 2004, "server": 2004}


def test_the_certificates_are_told_for_people(report: Report) -> None:
    client, server, issuing, root = report.cards
    assert [each.lines["name"] for each in (client, server)] == ["client", "server"]
    assert server.lines["issued by"] == issuing.lines["name"]
    assert issuing.lines["issued by"] == root.lines["name"] == root.lines["issued by"]
    assert client.lines["public key"] == "RSA 2048"
    assert all(len(each.lines["SHA-256"]) == 64 for each in report.cards)
    assert all(each.lines["valid from"] < each.lines["valid until"] for each in report.cards)


def test_the_json_has_every_figure_by_its_name(report: Report) -> None:
    written = json.loads(to_json(report))
    story = report.conversations[0]
    for group in THE_ORIGINALS:
        assert written[group]["octets"] == story.groups[group].octets
        assert written[group]["by_sender"] == story.groups[group].by_sender
    for name in ("csr", "certificate", "ca_chain", "crls"):
        assert written[name]["octets"] > 0
    for operation in report.operations:
        assert written[operation.name]["seconds"] == operation.seconds
        assert written[operation.name]["counts"] == operation.counts
        assert written[operation.name]["totals"] == operation.totals
    assert len(written["conversations"]) == len(report.conversations)
    assert written["conversations"][0]["messages"][0]["name"] == "ClientHello"
    assert {"machine", "made_at", "aes_against_rsa", "cards", "notes"} <= written.keys()


def test_no_secret_is_told(report: Report) -> None:
    text = to_json(report).decode()
    assert "PRIVATE KEY" not in text
    assert "Basic " not in text
