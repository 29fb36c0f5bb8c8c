"""UMT5-XXL: prompts to text embeddings, computed once and cached on disk.

Source: Wan2.1, arXiv:2503.20314; UMT5, arXiv:2304.09151. Prompts are cleaned (broken characters, HTML entities,
white space) and cut at 512 tokens; rows beyond a prompt's end are zero. The encoder is four times as large as the DiT,
so it is loaded only for prompts that are not cached yet, and released before generation begins.
"""

from __future__ import annotations

import gc
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harness.backbone.published.vae import INSTALL, check_strict, unreadable
from harness.errors import CheckpointError, PromptError
from harness.files import write_whole
from harness.locks import lock

BATCH = 8
"""Prompts that are encoded at once."""
OLDEST = (5, 3)
"""The first version of `transformers` that reads Wan's encoder. Its files hold one embedding matrix, `shared.weight`,
and its config says `tie_word_embeddings: false`, which 5.0 to 5.2 read as an encoder with separate embeddings."""


class Umt5:
    """Prompts to embeddings [B, text_len, text_dim] on `device`, in `dtype`.

    encoder, tokenizer: folders of `transformers`. identity: identifies their files; `cache` stores embeddings under it,
    one file a prompt.
    """

    def __init__(
        self,
        encoder: Path,
        tokenizer: Path,
        *,
        identity: str,
        cache: Path,
        text_len: int,
        text_dim: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.text_len, self.text_dim = text_len, text_dim
        self.device, self.dtype = device, dtype
        kind = f"{identity} {dtype} {text_len} {transformers_version()}"
        self.folder = cache / hashlib.sha256(kind.encode()).hexdigest()[:16]

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        self.ready(prompts)
        whole = torch.zeros(len(prompts), self.text_len, self.text_dim, dtype=self.dtype)
        for row, prompt in zip(whole, prompts, strict=True):
            said = self._kept(prompt)
            if said is None:
                raise CheckpointError(f"{self._path(prompt)}: it was changed or removed just now; run the same again")
            row[: len(said)] = said
        return whole.to(self.device)

    @torch.no_grad()
    def ready(self, prompts: Iterable[str]) -> None:
        """Encode the prompts that are not cached yet, and release the encoder. Raises CheckpointError, PromptError."""
        asked = list(dict.fromkeys(prompts))
        if all(self._kept(prompt) is not None for prompt in asked):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Processes of a campaign start at the same time: one of them encodes, the others read its cache.
        with lock(self.folder / "encoding.lock"):
            self._encode([prompt for prompt in asked if self._kept(prompt) is None])

    def _encode(self, missing: Sequence[str]) -> None:
        """Encode and cache prompts; the encoder is released afterwards."""
        if not missing:
            return
        tokenizer, encoder = self._load()
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            tokens = tokenizer(
                [cleaned(prompt) for prompt in batch],
                padding="max_length",
                max_length=self.text_len,
                truncation=True,
                add_special_tokens=True,
                return_attention_mask=True,
                return_tensors="pt",
            )
            ids, mask = tokens.input_ids.to(encoder.device), tokens.attention_mask.to(encoder.device)
            rows = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            for prompt, row, length in zip(batch, rows, mask.sum(1).tolist(), strict=True):
                self._keep(prompt, row[:length])
        del encoder, rows
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> tuple[Any, Any]:
        found = transformers_version()
        try:
            from transformers import AutoTokenizer, UMT5EncoderModel
            from transformers.utils import logging
        except ImportError as error:
            said = (str(error).splitlines() or ["no reason given"])[0]
            raise CheckpointError(f"transformers {found} cannot be imported ({said}); run: {INSTALL}") from None
        logging.disable_progress_bar()
        what = "a UMT5 encoder"
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.tokenizer, local_files_only=True, trust_remote_code=False)
            loaded: Any = UMT5EncoderModel.from_pretrained(
                self.encoder, dtype=self.dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError, SafetensorError) as error:
            raise unreadable(self.encoder, what, error) from None
        encoder, told = loaded
        check_strict(self.encoder, what, told)
        if encoder.config.d_model != self.text_dim:
            raise CheckpointError(
                f"{self.encoder}: its embeddings have {encoder.config.d_model} channels; the model: {self.text_dim}"
            )
        return tokenizer, encoder.eval().to(self._where(encoder))

    def _where(self, encoder: Any) -> str:
        """Return the device, or the CPU where the device lacks memory for the encoder."""
        needed = 1.2 * sum(x.nbytes for x in encoder.parameters())
        device = torch.device(self.device)
        roomy = device.type != "cuda" or torch.cuda.mem_get_info(device)[0] > needed
        return self.device if roomy else "cpu"

    def _path(self, prompt: str) -> Path:
        return self.folder / f"{hashlib.sha256(cleaned(prompt).encode()).hexdigest()}.safetensors"

    def _kept(self, prompt: str) -> Tensor | None:
        """Return a prompt's cached embedding; None where it is missing or damaged, since it can be computed again."""
        if not cleaned(prompt):
            raise PromptError("a prompt is empty; write at least a word")
        try:
            said = load(self._path(prompt).read_bytes())["embedding"]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
            return None
        return said if self._is_embedding(said) else None

    def _is_embedding(self, said: Tensor) -> bool:
        """Return whether these are rows in the encoder's format; a row of zeros represents no token."""
        if said.dtype != self.dtype or said.ndim != 2 or said.shape[1] != self.text_dim:
            return False
        return 0 < len(said) <= self.text_len and bool(said.isfinite().all()) and bool(said.any(1).all())

    def _keep(self, prompt: str, said: Tensor) -> None:
        said = said.to("cpu", self.dtype)
        if not self._is_embedding(said):
            raise CheckpointError(
                f"{self.encoder}: its embedding of a prompt is zero or not finite; get its files again"
            )
        tensors = {"embedding": said.contiguous()}
        # Written as bytes, because the library accepts UTF-8 names only, and the cache may have another name.
        write_whole(self._path(prompt), lambda beside: beside.write_bytes(save(tensors)))


def transformers_version() -> str:
    """Return the installed version of `transformers`. Raises CheckpointError where none or an unusable one is."""
    needed = f"the text encoder needs transformers {OLDEST[0]}.{OLDEST[1]} or later"
    try:
        found = version("transformers")
    except PackageNotFoundError:
        raise CheckpointError(f"{needed}, which is not installed; run: {INSTALL}") from None
    if tuple(int(digits) for digits in re.findall(r"\d+", found)[:2]) < OLDEST:
        raise CheckpointError(
            f"{needed}, and {found} is installed (5.0 to 5.2 leave UMT5's embeddings empty, whatever its files hold); "
            f"run: pip install 'transformers>={OLDEST[0]}.{OLDEST[1]}'"
        )
    return found


def cleaned(prompt: str) -> str:
    """Return a prompt in the form that the published encoder expects."""
    try:
        from ftfy import fix_text
    except ImportError:
        raise CheckpointError(f"cleaning prompts needs ftfy, which is not installed; run: {INSTALL}") from None
    return " ".join(html.unescape(html.unescape(fix_text(prompt))).split())
