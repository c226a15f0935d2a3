"""All pieces of a source summarised and written: the table, CLaMP 2's JSON, and what was rejected.

What a folder `out` holds in the end:

    summaries.parquet   id, summary_en, language, code, summary, writer, model, version
    summaries.jsonl     the pieces with summary_en and summary_nen, as CLaMP 2 trains on them
    json/               the same in files like those of the source, if it was a folder of files
    rejected.parquet    pieces without summaries, and why
    summaries.json      the writer, counts, and what was spent
    ledger.jsonl        every request and reply (not of templates), unless the settings put it
                        elsewhere: keep it, it makes runs resume
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import yaml

from clamp3.config import SummariesConfig, check
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.data.summaries import prompt, templates
from clamp3.data.summaries.budget import Pricing
from clamp3.data.summaries.endpoint import Endpoint
from clamp3.data.summaries.interview import Interview, Question, judge, schema_bytes
from clamp3.data.summaries.languages import choose_language, weigh_languages
from clamp3.data.summaries.ledger import Cost, Ledger
from clamp3.data.summaries.pieces import STAGE, Piece, read_pieces
from clamp3.data.summaries.reply import Summaries
from clamp3.errors import ConfigError, FormatError
from clamp3.files import (
    atomic_path,
    refuse_others_files,
    write_json,
    write_jsonl,
    write_table,
)
from clamp3.logs import progress

log = logging.getLogger(__name__)

LEDGER = "ledger.jsonl"
_SECONDS_BETWEEN_LINES = 60  # of the log
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "summary_en": pa.string(),
        "language": pa.string(),  # by name
        "code": pa.string(),  # of the language, BCP 47
        "summary": pa.string(),  # in the language
        "writer": pa.string(),  # template or openai
        "model": pa.string(),  # null: template
        "version": pa.int32(),  # of the template or prompt
    }
)
Verdicts = Iterator[tuple[Piece, Summaries | FormatError]]


class Estimate(NamedTuple):
    """What a run would do."""

    pieces: int
    answered: int  # by the ledger, without a request
    questions: int  # to ask; pieces that are alike share one
    likely: Cost
    most: Cost  # if each question takes one reply
    spent: Cost  # by earlier runs


def read_settings(path: Path | None = None) -> SummariesConfig:
    """The section `summaries` of a YAML file (None: the defaults of `clamp3 summarise`)."""
    where = resources.files(__package__).joinpath("defaults.yaml") if path is None else Path(path)
    try:
        values = yaml.safe_load(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{where}: not a readable YAML file ({error})") from error
    if not isinstance(values, dict) or "summaries" not in values:
        raise ConfigError(f"{where}: no section `summaries`")
    return check(SummariesConfig, values["summaries"], f"{where}, summaries")


def summarise(
    source: Path | Sequence[Path],
    out: Path,
    *,
    settings: SummariesConfig,
    seed: int,
) -> dict:
    """Write the folder `out` for the pieces of `source`; returns what `summaries.json` holds.

    Killed at any moment, the same call goes on: what was answered is not asked again. The other
    files are written when all pieces have a verdict.

    Raises DataError and ConfigError as reading, asking and `close_step` do, StorageError where
    out/json is there and not from an earlier call.
    """
    out = Path(out)
    refuse_others_files(out / "json", out / "summaries.parquet")
    found = read_pieces(source)
    rejected, accepted, spent = list(found.rejected), {}, Cost()
    if settings.writer == "template":
        _collect(_from_templates(found.found, settings, seed), len(found.found), accepted, rejected)
    else:
        with Ledger(_ledger(settings, out)) as books:
            verdicts = _from_model(found.found, books, settings, seed)
            _collect(verdicts, len(found.found), accepted, rejected)
            spent = books.spent
    report = _report(settings, accepted, rejected, spent)
    _write(out, found.found, accepted, settings)
    write_rejected(out / "rejected.parquet", rejected)
    write_json(out / "summaries.json", report)
    close_step(
        STAGE,
        rejected,
        rows_in=len(found.found) + len(found.rejected),
        rows_out=len(accepted),
        max_rejected_share=settings.max_rejected_share,
    )
    return report


def estimate(
    source: Path | Sequence[Path],
    out: Path,
    *,
    settings: SummariesConfig,
    seed: int,
) -> Estimate:
    """What `summarise` with the same arguments would ask and may cost; asks and writes nothing."""
    found = read_pieces(source)
    if settings.writer == "template":
        weigh_languages(settings.languages, templates.template_languages())
        return Estimate(len(found.found), 0, 0, Cost(), Cost(), Cost())
    pricing, extra = Pricing(settings), schema_bytes(settings)
    answered, likely, most, questions = 0, Cost(), Cost(), 0
    with Ledger(_ledger(settings, out), read_only=True) as books:
        for question, pieces in _questions(found.found, settings, seed).values():
            replies = books.replies.get(question.key, [])
            if judge(question, replies, settings.max_questions).verdict is not None:
                answered += len(pieces)
                continue
            messages = prompt.build_messages(question.metadata, question.language)
            questions += 1
            likely = likely.plus(pricing.likely(messages, extra))
            most = most.plus(pricing.most(messages, extra))
        return Estimate(len(found.found), answered, questions, likely, most, books.spent)


def _ledger(settings: SummariesConfig, out: Path) -> Path:
    return Path(settings.ledger) if settings.ledger else Path(out) / LEDGER


def _collect(
    verdicts: Verdicts, total: int, accepted: dict[str, Summaries], rejected: list[Rejected]
) -> None:
    told = time.monotonic()
    for piece, verdict in progress(verdicts, "summaries", total):
        if isinstance(verdict, Summaries):
            accepted[piece.id] = verdict
        else:
            rejected.append(Rejected(piece.id, STAGE, verdict.kind, str(verdict)))
        if time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            done = len(accepted) + len(rejected)
            log.info("%d of %d pieces done, %d of them rejected", done, total, len(rejected))


def _from_templates(pieces: Iterable[Piece], settings: SummariesConfig, seed: int) -> Verdicts:
    weights = weigh_languages(settings.languages, templates.template_languages())
    for piece in pieces:
        language = choose_language(piece.id, seed, weights)
        try:
            yield piece, templates.write_summaries(piece.id, piece.line, language)
        except FormatError as error:
            yield piece, error


def _from_model(
    pieces: Iterable[Piece], ledger: Ledger, settings: SummariesConfig, seed: int
) -> Verdicts:
    endpoint = Endpoint(settings)
    log.info("asking %s on %s", settings.model, endpoint.host)
    alike = _questions(pieces, settings, seed)
    interview = Interview(endpoint, ledger, settings, seed)
    try:
        for question, verdict in interview.ask_all(question for question, _ in alike.values()):
            for piece in alike[question.key][1]:
                yield piece, verdict
    finally:
        endpoint.close()


def _questions(
    pieces: Iterable[Piece], settings: SummariesConfig, seed: int
) -> dict[str, tuple[Question, list[Piece]]]:
    """Each question, by its key, with the pieces it is about, in the order of the pieces."""
    weights = weigh_languages(settings.languages)
    questions: dict[str, tuple[Question, list[Piece]]] = {}
    for piece in pieces:
        metadata = prompt.clean_metadata(piece.line, settings.max_input_characters)
        question = Question.of(metadata, choose_language(piece.id, seed, weights), settings)
        questions.setdefault(question.key, (question, []))[1].append(piece)
    return questions


def _report(
    settings: SummariesConfig,
    accepted: dict[str, Summaries],
    rejected: list[Rejected],
    spent: Cost,
) -> dict:
    languages = Counter(each.language.name for each in accepted.values())
    kinds = Counter(row.kind for row in rejected)
    return {
        **_written_by(settings),
        "pieces": len(accepted) + len(rejected),
        "accepted": len(accepted),
        "rejected": dict(sorted(kinds.items())),
        "languages": dict(sorted(languages.items())),
        "tokens": spent.tokens,
        "money": round(spent.money, 6),
    }


def _written_by(settings: SummariesConfig) -> dict[str, str | int | None]:
    model = settings.writer == "openai"
    version = prompt.VERSION if model else templates.VERSION
    name = settings.model if model else None
    return {"writer": settings.writer, "model": name, "version": version}


def _write(
    out: Path, pieces: list[Piece], accepted: dict[str, Summaries], settings: SummariesConfig
) -> None:
    rows = [_row(name, accepted[name], settings) for name in sorted(accepted)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    categorical = ("language", "code", "writer", "model")
    write_table(out / "summaries.parquet", table, dictionary=categorical)
    kept = [piece for piece in pieces if piece.id in accepted]
    lines = {piece.id: _line(piece.line, accepted[piece.id]) for piece in kept}
    write_jsonl(out / "summaries.jsonl", lines.values())
    files = {piece.file: lines[piece.id] for piece in kept if piece.file}
    if files:
        with atomic_path(out / "json") as folder:
            for file, line in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                write_json(folder / file, line)


def _row(piece_id: str, summaries: Summaries, settings: SummariesConfig) -> dict:
    return {
        "id": piece_id,
        "summary_en": summaries.english,
        "language": summaries.language.name,
        "code": summaries.language.code,
        "summary": summaries.other,
        **_written_by(settings),
    }


def _line(line: dict, summaries: Summaries) -> dict:
    """The fields of a piece, its summaries and its filepaths, in the order of the original."""
    own = ("summary_en", "summary_nen", "filepaths")
    other = {"language": summaries.language.name, "summary": summaries.other}
    return {
        **{key: value for key, value in line.items() if key not in own},
        "summary_en": summaries.english,
        "summary_nen": other,
        "filepaths": line.get("filepaths") or [],
    }
