"""Policy of a gate: a margin for each metric, as the suites declare it or as a file overrides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import BaselineError, did_you_mean
from harness.escaping import toml_key
from harness.files import read_toml
from harness.store.records import first_error
from harness.suite import Margin
from reports.tables import suite_named

Policy = Mapping[tuple[str, str], Margin]
"""Margins by suite and metric."""


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    relative: float | None = Field(None, ge=0, allow_inf_nan=False)
    absolute: float | None = Field(None, ge=0, allow_inf_nan=False)
    gated: bool | None = None


def declared(suites: Iterable[str]) -> dict[tuple[str, str], Margin]:
    """Return the margins that suites declare for their metrics."""
    return {
        (suite, name): metric.margin
        for suite in suites
        for name, metric in suite_named(suite).all_metrics.items()
        if metric.margin is not None
    }


def read_policy(path: Path, suites: Iterable[str]) -> dict[tuple[str, str], Margin]:
    """Return the declared margins, changed by a TOML file of tables [SUITE.METRIC] with relative, absolute and gated.

    Raises BaselineError for a file that cannot be read, or that names an unknown suite or metric.
    """
    suites = list(suites)
    found = declared(suites)
    for suite, rules in read_toml(path, BaselineError).items():
        if suite not in set(suites):
            hint = did_you_mean(suite, suites)
            raise BaselineError(f"{path}: no suite {suite!r} in this run{hint}; it has {', '.join(sorted(suites))}")
        of = suite_named(suite)
        for name, rule in rules.items() if isinstance(rules, dict) else {str(rules): {}}.items():
            metric = of.metric_named(name)
            if metric is None:
                hint = did_you_mean(name, of.all_metrics)
                raise BaselineError(f"{path}: suite {suite} has no metric {name!r}{hint}")
            if metric.better == "neither":
                raise BaselineError(f"{path}: {suite}.{name} has no better direction, so no gate can judge it")
            found[suite, name] = replace(found.get((suite, name), Margin()), **_rule(path, suite, name, rule))
    return found


def written(policy: Policy, about: str) -> str:
    """Return a policy as the text of such a file."""
    lines = [f"# {line}" for line in about.splitlines()]
    for (suite, metric), margin in sorted(policy.items()):
        lines += ["", f"[{toml_key(suite)}.{toml_key(metric)}]"]
        lines += [
            f"{key} = {str(value).lower() if isinstance(value, bool) else f'{value:.4g}'}"
            for key, value in asdict(margin).items()
            if value or key == "gated"
        ]
    return "\n".join(lines) + "\n"


def _rule(path: Path, suite: str, name: str, rule: Any) -> dict[str, Any]:
    try:
        return _Rule.model_validate(rule).model_dump(exclude_none=True)
    except ValidationError as error:
        raise BaselineError(
            f"{path}: {first_error(error, suite, name)}; allowed: {', '.join(_Rule.model_fields)}"
        ) from None
