"""Whatever handlers write can be stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskflow.handlers.texts import storable, text_of


@given(
    st.text(alphabet=st.characters(), max_size=200), st.integers(1, 100), st.sampled_from(["head", "tail"])
)
def test_storable_text_fits_utf8_and_its_limit(text: str, bytes_max: int, keep: str) -> None:
    kept = storable(text, bytes_max, keep)  # type: ignore[arg-type]
    assert len(kept.encode()) <= bytes_max
    assert "\x00" not in kept


def test_what_cannot_be_stored_is_replaced() -> None:
    assert storable("a\x00b\ud800c\U0001f600") == "a\ufffdb\ufffdc\U0001f600"


def test_the_head_or_the_tail_is_kept() -> None:
    assert (storable("abcdef", 3), storable("abcdef", 3, "tail")) == ("abc", "def")
    assert (storable("üü", 3), storable("üü", 3, "tail")) == ("ü", "ü")


def test_a_str_that_raises_is_named() -> None:
    class Bad:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    assert text_of(Bad()) == "<Bad: str() raised KeyboardInterrupt>"
