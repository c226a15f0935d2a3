"""A language model asked about many pieces at once: cached, paced, retried, within the budget."""

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import NamedTuple

from clamp3.config import SummariesConfig
from clamp3.data.summaries import prompt, reply
from clamp3.data.summaries.budget import Budget, Pricing
from clamp3.data.summaries.endpoint import Endpoint, Pace, UnansweredError
from clamp3.data.summaries.languages import Language
from clamp3.data.summaries.ledger import Cost, Ledger, Reply, question_key
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.randomness import stable_fraction

log = logging.getLogger(__name__)

_FINAL = ("too_little", "refused")  # asking again is in vain
_WINDOW = 4  # questions in hand for each request under way
_MOST_FAILURES = 20  # in a row, before the server counts as gone, or the model as no use
_CUT = "the reply was cut off at max_output_tokens"


class Question(NamedTuple):
    """What is asked about one piece, or about several that are alike."""

    key: str
    metadata: dict
    language: Language

    @classmethod
    def of(cls, metadata: dict, language: Language, settings: SummariesConfig) -> "Question":
        key = question_key(
            model=settings.model or "",
            prompt_version=prompt.VERSION,
            schema=reply.schema_key(),
            metadata=metadata,
            language=language.name,
        )
        return cls(key, metadata, language)


Verdict = reply.Summaries | FormatError


class Standing(NamedTuple):
    """How it stands with a question: a verdict, or None and what was wrong with the last reply."""

    verdict: Verdict | None
    fault: FormatError | None


def judge(question: Question, replies: Iterable[Reply], max_questions: int) -> Standing:
    """What the replies so far amount to: the first usable one counts, as does the first refusal."""
    fault, given = None, 0
    for given, each in enumerate(replies, start=1):  # noqa: B007
        try:
            return Standing(reply.read_reply(each.text, each.refusal, question.language), None)
        except FormatError as error:
            if error.kind in _FINAL:
                return Standing(error, None)
            is_cut = error.kind == "bad_reply" and each.finish_reason == "length"
            fault = FormatError("bad_reply", _CUT) if is_cut else error
    return Standing(fault if given >= max_questions else None, fault)


class Interview:
    """Questions to an endpoint; `ask_all` from one thread."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger, settings: SummariesConfig, seed: int):
        self._endpoint, self._ledger, self._settings, self._seed = endpoint, ledger, settings, seed
        self._pricing, self._budget = Pricing(settings), Budget(ledger, settings)
        self._stop = threading.Event()
        self._pace = Pace(settings.requests_per_minute, self._stop)
        self._failures, self._unusable = 0, 0

    def ask_all(self, questions: Iterable[Question]) -> Iterator[tuple[Question, Verdict]]:
        """Yield each question with its verdict, as they come; keys must differ.

        A verdict is the summaries, or why there are none: the kinds of `reply.read_reply`,
        `over_budget`, `bad_request`, or what kept the server from answering (`rate_limit`,
        `server_error`, `timeout`, `connection`, `garbled`). The latter and `over_budget` are asked
        again by the next run.

        Raises DataError when the server is gone or no reply can be used, ConfigError when it takes
        no request at all.
        """
        rest, under_way = iter(questions), {}
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            try:
                while self._submit(pool, rest, under_way):
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield under_way.pop(future), future.result()
            finally:
                self._stop.set()
                for future in under_way:
                    future.cancel()

    def _submit(
        self, pool: ThreadPoolExecutor, rest: Iterator[Question], under_way: dict[Future, Question]
    ) -> bool:
        """Fill the window; whether anything is under way."""
        room = _WINDOW * self._settings.concurrency - len(under_way)
        for question in islice(rest, room):
            under_way[pool.submit(self._settle, question)] = question
        return bool(under_way)

    def _settle(self, question: Question) -> Verdict:
        try:
            return self._verdict(question)
        except FormatError as error:
            return error
        except (ConfigError, DataError):
            self._stop.set()  # here and now, or another request slips through
            raise

    def _verdict(self, question: Question) -> Verdict:
        """The verdict after as many replies as it takes; FormatError where one is not to be had."""
        is_new = False
        while True:
            replies = self._ledger.replies.get(question.key, [])
            verdict, fault = judge(question, replies, self._settings.max_questions)
            if verdict is not None:
                break
            self._ask(question, len(replies), fault)
            is_new = True
        if is_new:
            self._count_unusable(verdict)
        return verdict

    def _ask(self, question: Question, number: int, fault: FormatError | None) -> None:
        """One more reply into the ledger. Raises FormatError when none is to be had."""
        messages = prompt.build_messages(
            question.metadata, question.language, fault.kind if fault else None
        )
        most = self._pricing.most(messages, schema_bytes(self._settings))
        for attempt in range(1, self._settings.max_attempts + 1):
            self._pace.wait()
            if self._stop.is_set():
                raise FormatError("stopped", "the run was stopped")
            try:
                self._send(question.key, messages, most)
            except UnansweredError as error:
                if error.general and not self._ledger.replies:
                    raise ConfigError(f"{self._endpoint.host} answers {error}") from error
                if not error.again or attempt == self._settings.max_attempts:
                    self._count_failure(error)
                    raise FormatError(error.kind, f"{error} (attempt {attempt})") from error
                self._pause(error, question.key, number, attempt)
            else:
                self._failures = 0
                return

    def _send(self, key: str, messages: list[dict[str, str]], most: Cost) -> None:
        request = self._budget.reserve(key, most)
        cost, fault, answered = most, "stopped", None
        try:
            answered = self._endpoint.ask(messages)
            cost, fault = self._pricing.taken(answered, most), None
        except UnansweredError as error:
            cost, fault = most if error.charged else Cost(), error.kind
            raise
        except ConfigError:  # turned away at the door
            cost = Cost()
            raise
        finally:
            self._budget.settle(request, key, most, cost, reply=answered, fault=fault)

    def _pause(self, error: UnansweredError, key: str, number: int, attempt: int) -> None:
        settings = self._settings
        longest = min(settings.first_pause_seconds * 2 ** (attempt - 1), settings.max_pause_seconds)
        share = stable_fraction(self._seed, "pause", key, number, attempt)
        seconds = longest * (0.5 + share / 2)
        if error.pause_seconds is not None:
            asked = min(error.pause_seconds, settings.max_pause_seconds)
            self._pace.rest(asked)
            seconds = max(seconds, asked)
        log.debug("%s; again in %.1f s", error, seconds)
        self._stop.wait(seconds)

    def _count_failure(self, error: UnansweredError) -> None:
        self._failures += 1  # a lost count among threads does no harm
        if self._failures >= _MOST_FAILURES:
            raise DataError(
                f"{self._failures} pieces in a row without an answer, the last one because of: "
                f"{error}. What was answered is kept; when this is mended, the same command goes on"
            )

    def _count_unusable(self, verdict: Verdict) -> None:
        is_unusable = isinstance(verdict, FormatError) and verdict.kind not in _FINAL
        self._unusable = self._unusable + 1 if is_unusable else 0
        if self._unusable >= _MOST_FAILURES:
            raise DataError(
                f"{self._unusable} pieces in a row without a usable reply, the last one because "
                f"of: {verdict}. Look at model, structure and max_output_tokens; those pieces are "
                "asked again only with a higher max_questions"
            )


def schema_bytes(settings: SummariesConfig) -> int:
    """What the schema adds to a request, which some servers count."""
    return len(str(reply.response_format(settings.structure) or ""))
