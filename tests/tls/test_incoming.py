"""What has arrived for OpenSSL is handed in as it is read, in the order in which it came."""

from __future__ import annotations

from asynctls.tls.incoming import MOST_IN_BIO_BYTES, Incoming
from asynctls.tls.records import Scanner


def test_all_is_handed_in_in_order_and_never_more_than_four_full_records_at_once() -> None:
    incoming = Incoming(scanner := Scanner())
    pieces = [bytes((number,)) * (MOST_IN_BIO_BYTES + 1) for number in range(5)]
    lent = bytearray(pieces[1])
    incoming.write(pieces[0][:100])
    incoming.lend(memoryview(lent))
    incoming.give_back(keep=True)
    lent[:] = bytes(len(lent))
    incoming.write(pieces[2])
    incoming.lend(memoryview(pieces[3]))
    incoming.give_back(keep=True)
    read = b""
    while incoming.more():
        assert incoming.bio.pending <= MOST_IN_BIO_BYTES
        read += incoming.bio.read()
        # Records are read along a piece at a time, too: a byte each, they are thousands.
        assert scanner.meter.total == len(read)
    incoming.write(pieces[4])
    while incoming.more():
        assert incoming.bio.pending <= MOST_IN_BIO_BYTES
        read += incoming.bio.read()
    assert read == pieces[0][:100] + b"".join(pieces[1:])


def test_what_is_not_kept_is_gone() -> None:
    incoming = Incoming(Scanner())
    incoming.lend(memoryview(bytes(10)))
    incoming.give_back(keep=False)
    assert not incoming.more()
