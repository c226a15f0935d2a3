"""All files of some folders, converted: planned, shared out, put in place, accounted for."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from clamp3.data.file_conversion.forms import converter_version
from clamp3.data.file_conversion.jobs import Job, Order, Outcome, OutputError, do_job
from clamp3.data.file_conversion.ledger import Ledger, Record
from clamp3.data.file_conversion.listing import Listing, Refusal, list_files
from clamp3.data.file_conversion.naming import output_names
from clamp3.data.file_conversion.report import (
    REJECTED,
    SKIPPED,
    Report,
    remove_table,
    write_table,
)
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.logs import progress
from clamp3.processes import cpu_count, run_in_processes

BOOKS = ".clamp3-convert"
_BATCH_FILES = 64
_BATCH_SECONDS = 1.0


def convert_files(
    sources: Sequence[Path],
    out: Path,
    target: str,
    *,
    keep_metadata: bool = False,
    workers: int | None = None,
    seconds_per_file: float = 60,
    force: bool = False,
) -> Report:
    """Convert every file below `sources` to `target` in the folder `out`; the balance.

    Outputs stand in `out` as their inputs in their folder. `out` also gets `rejected.tsv` and
    `skipped.tsv` where there is something to tell, and a hidden folder with the ledger by which a
    later run, also after a kill, does only what is missing or out of date; with `force`, all. What
    convert did not write is never written over. `workers`: processes, by default one for each
    core; 0 works in this process, without time limit.

    Raises ConfigError where sources or `out` make no sense, DataError when `out` takes no more.
    """
    given, out = Path(out), Path(out).resolve()
    listing = list_files(sources, out)
    with _workplace(out) as books:
        ledger = Ledger(books / "ledger.jsonl")
        _pass_over_own(listing, out, ledger)
        made_by = converter_version(target, keep_metadata)
        jobs = _plan(listing, Order(out, target, keep_metadata, force, made_by), ledger)
        report = Report(given, rejected=dict(listing.rejected), skipped=dict(listing.skipped))
        shelf = _Shelf(out, ledger, report)
        _convert(shelf, jobs, workers, seconds_per_file)
        write_table(out / REJECTED, report.rejected)
        write_table(out / SKIPPED, report.skipped)
    if report.files_in != len(listing):
        raise DataError(f"{report}: {len(listing)} files were found; a fault of the program")
    return report


@contextlib.contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """The hidden folder for ledger and drafts, held by this run alone."""
    books = out / BOOKS
    try:
        (books / "drafts").mkdir(parents=True, exist_ok=True)
        lock = open(books / "lock", "ab")  # noqa: SIM115 closed below
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written to: {error.strerror}") from error
    with lock:
        _take(lock, out)
        shutil.rmtree(books / "drafts", ignore_errors=True)  # of a run that was killed
        (books / "drafts").mkdir(exist_ok=True)
        for name in (REJECTED, SKIPPED):
            remove_table(out / name)
        try:
            yield books
        finally:
            shutil.rmtree(books / "drafts", ignore_errors=True)


def _take(lock, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{out}: another convert is writing there; wait for it") from error
    except OSError:
        return  # a file system without locks


def _pass_over_own(listing: Listing, out: Path, ledger: Ledger) -> None:
    """Skip what convert wrote itself, as in `convert * --out .` for the second time."""
    for name, found in list(listing.found.items()):
        path = Path(found.path)
        if not found.named or out not in path.parents:
            continue
        output = str(path.relative_to(out))
        if output in (REJECTED, SKIPPED) or ledger.wrote(output, path):
            listing.skipped[name] = Refusal("own_output", "convert itself wrote it")
            del listing.found[name]


def _plan(listing: Listing, order: Order, ledger: Ledger) -> list[Job]:
    """One job for each file, but for those whose folder has the name of a table."""
    names = output_names(listing.found, order.target)
    jobs = []
    for number, (name, found) in enumerate(listing.found.items()):
        output = names[name]
        if Path(output).parts[0] in (BOOKS, REJECTED, SKIPPED):
            reason = "its folder has the name of one that convert writes itself"
            listing.rejected[name] = Refusal("name_taken", reason)
            continue
        jobs.append(
            Job(
                id=name,
                source=found.path,
                named=found.named,
                output=output,
                place=str(order.out / output),
                draft=str(order.out / BOOKS / "drafts" / str(number)),
                known=ledger.of_output(output),
                order=order,
            )
        )
    return jobs


def _convert(shelf: "_Shelf", jobs: list[Job], workers: int | None, seconds: float) -> None:
    workers = cpu_count() if workers is None else workers
    if workers:
        results = run_in_processes(do_job, jobs, workers=workers, seconds=seconds)
    else:
        results = ((index, do_job(job)) for index, job in enumerate(jobs))
    try:
        with contextlib.closing(results):
            try:
                for index, outcome in progress(results, "convert", total=len(jobs)):
                    shelf.take(jobs[index], outcome)
            finally:
                shelf.put_in_place()
    except OutputError as error:
        raise DataError(f"{error}; mend that, and the same command does the rest") from error


class _Shelf:
    """Drafts that are ready, put in place by batches: first the ledger, then the outputs."""

    def __init__(self, out: Path, ledger: Ledger, report: Report):
        self._out, self._ledger, self._report = out, ledger, report
        self._drafts: list[tuple[Job, Record]] = []
        self._last = time.monotonic()

    def take(self, job: Job, outcome: Outcome) -> None:
        if isinstance(outcome, Record):
            self._drafts.append((job, outcome))
        elif outcome is None:
            self._report.standing += 1
            self._remove_former(job)
        elif isinstance(outcome, FormatError):
            self._report.rejected[job.id] = Refusal(outcome.kind, str(outcome))
        else:
            self._report.skipped[job.id] = outcome
        due = time.monotonic() - self._last > _BATCH_SECONDS
        if due or len(self._drafts) >= _BATCH_FILES:
            self.put_in_place()

    def put_in_place(self) -> None:
        """A kill before the ledger leaves nothing; after it, drafts that are made again."""
        self._last = time.monotonic()
        drafts, self._drafts = self._drafts, []
        if not drafts:
            return
        try:
            self._ledger.add(record for _, record in drafts)
        except OSError as error:
            raise OutputError(f"cannot write to {self._out}: {error.strerror}") from error
        for job, _ in drafts:
            try:
                Path(job.place).parent.mkdir(parents=True, exist_ok=True)
                os.replace(job.draft, job.place)
            except OSError as error:
                reason = f"{job.place} cannot be written: {error.strerror}"
                self._report.rejected[job.id] = Refusal("unwritable_output", reason)
            else:
                self._report.made += 1
                self._remove_former(job)

    def _remove_former(self, job: Job) -> None:
        """Take away the same source's output under the name it had before a clash of names."""
        for name in self._ledger.outputs_of(job.source, job.order.target):
            path = self._out / name
            if name != job.output and path.parent == Path(job.place).parent:
                former = self._ledger.wrote(name, path)
                if former and former.made_for(job.source, job.order.target):
                    path.unlink()
