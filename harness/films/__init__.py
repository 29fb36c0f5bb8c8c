"""The interface between a campaign and viewers of its films, which consists of files only.

All modules but `writer`, `reader` and `upright` import the standard library only, because viewers run in their own
environments.
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
