"""Rejected tables come back as they were written, and a step's books must balance."""

import logging

import pytest

from clamp3.data.rejected import Rejected, close_step, read_rejected, summary, write_rejected
from clamp3.errors import DataError
from clamp3.files import sha256_of

ROWS = [
    Rejected("pdmx/Qm2", "abc", "no_notes", "the score has no notes"),
    Rejected("pdmx/Qm1", "abc", "missing_file", "a.mxl: no such file"),
]


def test_tables_come_back_sorted(tmp_path):
    write_rejected(tmp_path / "a.parquet", ROWS)
    assert read_rejected(tmp_path / "a.parquet") == sorted(ROWS)


def test_order_does_not_change_the_bytes(tmp_path):
    write_rejected(tmp_path / "a.parquet", ROWS)
    write_rejected(tmp_path / "b.parquet", reversed(ROWS))
    assert sha256_of(tmp_path / "a.parquet") == sha256_of(tmp_path / "b.parquet")


def test_several_tables_and_none(tmp_path):
    write_rejected(tmp_path / "a.parquet", ROWS)
    write_rejected(tmp_path / "b.parquet", [])
    assert len(read_rejected([tmp_path / "a.parquet", tmp_path / "b.parquet"])) == 2
    assert read_rejected([]) == []


def test_a_reason_that_is_no_utf8_is_written_all_the_same(tmp_path):
    write_rejected(tmp_path / "a.parquet", [Rejected("x", "abc", "bad", "found \udcff")])
    assert read_rejected(tmp_path / "a.parquet")[0].reason == "found ?"


def test_balance_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        close_step("abc", ROWS[:1], rows_in=155, rows_out=154, max_rejected_share=0.2)
        close_step("parse", [], rows_in=9, rows_out=4, left_out=5, max_rejected_share=0.0)
    assert caplog.messages == [
        "abc: 155 in, 154 out, 1 rejected",
        "parse: 9 in, 4 out, 0 rejected, 5 left out",
    ]


def test_lost_rows_are_an_error():
    with pytest.raises(DataError, match="1 unaccounted for"):
        close_step("abc", ROWS, rows_in=5, rows_out=2, max_rejected_share=1.0)


def test_too_many_rejects_name_the_kinds_and_an_example():
    with pytest.raises(DataError, match=r"50\.0% rejected, at most 20\.0%") as caught:
        close_step("abc", ROWS, rows_in=4, rows_out=2, max_rejected_share=0.2)
    assert "missing_file: 1, no_notes: 1" in str(caught.value)
    assert "pdmx/Qm1: a.mxl: no such file" in str(caught.value)


def test_the_share_is_of_what_was_not_left_out():
    with pytest.raises(DataError, match=r"50\.0% rejected"):
        close_step("p", ROWS, rows_in=100, rows_out=2, left_out=96, max_rejected_share=0.2)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_in_is_within_any_share(share):
    close_step("abc", [], rows_in=0, rows_out=0, max_rejected_share=share)


def test_exactly_the_share_is_allowed():
    close_step("abc", ROWS[:1], rows_in=5, rows_out=4, max_rejected_share=0.2)


def test_most_frequent_kind_comes_first():
    assert summary([*ROWS, ROWS[0]._replace(id="pdmx/Qm0")]).startswith(
        "Kinds: no_notes: 2, missing_file: 1. For example pdmx/Qm0"
    )
