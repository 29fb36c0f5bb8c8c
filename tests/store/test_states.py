"""States of cells under way."""

import io
from pathlib import Path

import pytest
import torch

from harness.store.states import read_state, write_state


class Stopped(io.RawIOBase):
    """A file during whose fourth piece the user presses Ctrl-C."""

    pieces = 0

    def writable(self):
        return True

    def write(self, piece):
        self.pieces += 1
        if self.pieces == 4:
            raise KeyboardInterrupt
        return len(piece)


def test_ctrl_c_while_a_state_is_written_stops_and_is_no_failure_of_the_cell(tmp_path, monkeypatch):
    state = {"a": torch.zeros(20_000), "b": torch.ones(20_000)}
    write_state(state, tmp_path / "state.pt")
    assert torch.equal(read_state(tmp_path / "state.pt")["b"], state["b"])
    monkeypatch.setattr(Path, "open", lambda path, mode: Stopped())
    with pytest.raises(KeyboardInterrupt):
        write_state(state, tmp_path / "other.pt")
