"""What `clamp3 summarise` does with its options, and what it tells."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clamp3.config import SummariesConfig, check
from clamp3.data.summaries.ledger import Cost
from clamp3.data.summaries.summarise import Estimate, estimate, read_settings, summarise
from clamp3.errors import ConfigError


def run_summarise(
    source: Sequence[Path],
    out: Path,
    options: Mapping[str, object],
    languages: Sequence[str],
    *,
    settings: Path | None,
    seed: int,
    dry_run: bool,
) -> tuple[list[str], bool]:
    """Lines that tell what was done, or would be, and whether any piece has summaries.

    `options` are fields of SummariesConfig, None where the settings decide; `languages` as
    `German` or `German=2`.
    """
    chosen = _settings(options, languages, settings)
    if dry_run:
        found = estimate(source, out, settings=chosen, seed=seed)
        return _tell(found, chosen), True
    report = summarise(source, out, settings=chosen, seed=seed)
    kinds = ", ".join(f"{kind} {count}" for kind, count in report["rejected"].items())
    lines = [
        f"{report['accepted']} of {report['pieces']} pieces have summaries ({out}), written by "
        f"{report['model'] or report['writer']}",
        *([f"rejected: {kinds}"] if kinds else []),
    ]
    if report["writer"] == "openai":
        lines.append(f"spent so far: {_cost(Cost(report['tokens'], report['money']), chosen)}")
    return lines, report["accepted"] > 0


def _settings(
    options: Mapping[str, object], languages: Sequence[str], path: Path | None
) -> SummariesConfig:
    settings = read_settings(path)
    changes = {name: value for name, value in options.items() if value is not None}
    if languages:
        changes["languages"] = dict(map(_weight, languages))
    return check(SummariesConfig, settings.model_dump() | changes, "the options")


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight or 1)
    except ValueError as error:
        raise ConfigError(f"--language {text}: expected NAME or NAME=WEIGHT") from error


def _tell(found: Estimate, settings: SummariesConfig) -> list[str]:
    if settings.writer == "template":
        return [f"{found.pieces} pieces; templates cost nothing"]
    lines = [
        f"{found.pieces} pieces: {found.answered} answered before, {found.questions} questions "
        f"to {settings.model}",
        f"likely: {_cost(found.likely, settings)}",
        f"at most, a reply each: {_cost(found.most, settings)}",
        f"spent before: {_cost(found.spent, settings)}",
    ]
    limits = {name: getattr(settings, name) for name in ("max_pieces", "max_tokens", "max_money")}
    told = ", ".join(f"{name} {value:g}" for name, value in limits.items() if value is not None)
    return [*lines, f"limits: {told or 'none'}"]


def _cost(cost: Cost, settings: SummariesConfig) -> str:
    priced = settings.model in settings.prices
    return f"{cost.tokens} tokens" + (f", {cost.money:.4f} in money" if priced else "")
