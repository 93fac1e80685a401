"""The sizes that a chunked body declares are the same however its bytes are cut up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asynctls.http.chunks import ChunkSizes


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(1, 30), min_size=1))
def test_the_sizes_of_a_good_body_add_up_at_each_cut(
    contents: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(each), each) for each in contents)
    body += b"0\r\nTrailer: ffff\r\n\r\nPOST /next HTTP/1.1\r\n"
    sizes = ChunkSizes()
    number = 0
    while body:
        length = cuts[number % len(cuts)]
        sizes.feed(body[:length])
        body = body[length:]
        number += 1
    assert sizes.declared == sum(map(len, contents))


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(body: bytes) -> None:
    sizes = ChunkSizes()
    sizes.feed(body)
    assert sizes.declared >= 0
