"""Limits on pieces, tokens and money that hold whatever happens: reserved first, then spent."""

import threading
from collections.abc import Mapping, Sequence

from clamp3.config import SummariesConfig, TokenPrice
from clamp3.data.summaries.ledger import Cost, Ledger, Reply
from clamp3.errors import ConfigError, FormatError

_TOKENS_A_MESSAGE = 64  # what templates of chats put around a message, generously
_CHARACTERS_A_TOKEN = 3  # in the middle of English and other languages; for the estimate only


class Pricing:
    """What questions of `settings.model` take. Raises ConfigError for a money limit without a
    price."""

    def __init__(self, settings: SummariesConfig):
        price = settings.prices.get(settings.model or "")
        if price is None and settings.max_money is not None:
            raise ConfigError(
                f"max_money is set, but prices has no {settings.model!r}; expected its price per "
                "million tokens, input and output"
            )
        self._price = price or TokenPrice(input=0, output=0)
        self._most_output = settings.max_output_tokens

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        price = self._price
        money = (input_tokens * price.input + output_tokens * price.output) / 1e6
        return Cost(input_tokens + output_tokens, money)

    def most(self, messages: Sequence[Mapping[str, str]], schema_bytes: int) -> Cost:
        """What a request can take at most: no tokenizer makes more tokens than there are bytes."""
        texts = sum(len(each["content"].encode()) + _TOKENS_A_MESSAGE for each in messages)
        return self.cost(texts + schema_bytes, self._most_output)

    def likely(self, messages: Sequence[Mapping[str, str]], schema_bytes: int) -> Cost:
        """What a request is likely to take: a third of its characters, a third of the output."""
        texts = sum(len(each["content"]) for each in messages) + schema_bytes
        return self.cost(texts // _CHARACTERS_A_TOKEN, self._most_output // 3)

    def taken(self, reply: Reply, most: Cost) -> Cost:
        """What a reply took as the server counts, or the most where it does not count."""
        if reply.input_tokens is None or reply.output_tokens is None:
            return most
        return self.cost(reply.input_tokens, reply.output_tokens)


class Budget:
    """The limits of a ledger; threads wait for each other's reservations."""

    def __init__(self, ledger: Ledger, settings: SummariesConfig):
        self._ledger, self._settings = ledger, settings
        self._reserved, self._open = Cost(), 0
        self._change = threading.Condition()

    def reserve(self, key: str, most: Cost) -> int:
        """The number of a request that may go out. Raises FormatError (`over_budget`) if not.

        A request that would fit if those under way took less than they may waits for them.
        """
        with self._change:
            while True:
                self._check(key, most, self._ledger.spent)
                try:
                    self._check(key, most, self._ledger.spent.plus(self._reserved))
                    break
                except FormatError:
                    self._change.wait()
            self._reserved, self._open = self._reserved.plus(most), self._open + 1
            return self._ledger.begin(key, most)

    def _check(self, key: str, most: Cost, spent: Cost) -> None:
        limits, after = self._settings, spent.plus(most)
        pieces = len(self._ledger.asked) + (key not in self._ledger.asked)
        for name, value, limit in (
            ("max_pieces", pieces, limits.max_pieces),
            ("max_tokens", after.tokens, limits.max_tokens),
            ("max_money", after.money, limits.max_money),
        ):
            if limit is not None and value > limit:
                raise FormatError("over_budget", f"{name} is {limit:g}; raise it to go on")

    def settle(
        self,
        request: int,
        key: str,
        most: Cost,
        cost: Cost,
        *,
        reply: Reply | None = None,
        fault: str | None = None,
    ) -> None:
        """The request is over: give back what it did not take."""
        with self._change:
            self._ledger.end(request, key, cost, reply=reply, fault=fault)
            self._reserved, self._open = self._reserved.plus(most, -1), self._open - 1
            if not self._open:
                self._reserved = Cost()  # no rounding is left over
            self._change.notify_all()
