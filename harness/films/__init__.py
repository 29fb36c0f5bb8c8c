"""The contract between a campaign and viewers of its films: files, and nothing else.

Only the standard library is imported by all but `harness.films.writer`: viewers run in environments of their own.
"""

from harness.films.contract import Act, Film, Span, check_file, read_films, shard, write_films
from harness.films.view_files import (
    OF_FILM,
    VIEWS,
    Part,
    View,
    add,
    due,
    manner,
    read_view,
    seen,
    unite,
    view_path,
    views,
)

__all__ = [
    "OF_FILM",
    "VIEWS",
    "Act",
    "Film",
    "Part",
    "Span",
    "View",
    "add",
    "check_file",
    "due",
    "manner",
    "read_films",
    "read_view",
    "seen",
    "shard",
    "unite",
    "view_path",
    "views",
    "write_films",
]
