"""The table that holds the editor in the browser to the server's own interpolation is what the server makes today."""

from __future__ import annotations

from frameloom.tests.support.path_table import TABLE, table, text_of


def test_the_table_of_paths_is_what_python_makes():
    assert TABLE.read_text("utf-8") == text_of(table()), "run python -m frameloom.tests.support.path_table"
