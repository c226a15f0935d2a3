"""An OpenAI-compatible server of this machine that misbehaves as a test wants it to."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager

from web_server import QuietHandler, serving

TEXTS = {
    "English": "A lively dance tune for the fiddle, written down in Ireland a long time ago.",
    "German": "Eine lebhafte Tanzmelodie für die Geige, die vor langer Zeit in Irland entstand.",
    "French": "Un air de danse enlevé pour le violon, noté en Irlande il y a très longtemps.",
    "Russian": "Живая танцевальная мелодия для скрипки, записанная в Ирландии много лет назад.",
    "Japanese": "ずっと昔にアイルランドで書き留められた、フィドルのための活気ある舞曲です。",
    "Arabic": "لحن راقص حيوي للكمان، دُوّن في أيرلندا منذ زمن بعيد، ويُعزف في الحفلات الشعبية.",
}
LANGUAGES = tuple(TEXTS)[1:]


class ChatServer:
    """What a title's name begins with decides what happens to its requests.

    `once-…` is the fault of the first request about a piece, `always-…` of all; other titles are
    answered well. `asked[title]` lists the outcomes, `requests` the bodies and headers, `times`
    when they came. `turn_away` takes a body and returns None, or status, headers and JSON.
    """

    def __init__(self, *, slow_seconds=3.0):
        self.slow_seconds = slow_seconds
        self.asked: dict[str, list[str]] = {}
        self.requests: list[tuple[dict, dict]] = []
        self.tokens = 0
        self.lock = threading.Lock()
        self.under_way, self.most_under_way = 0, 0
        self.delay_seconds = 0.0
        self.text: str | None = None  # the content of every reply, if set
        self.times: list[float] = []
        self.turn_away = lambda body: None
        self.base_url = ""

    def outcomes(self):
        return Counter(outcome for outcomes in self.asked.values() for outcome in outcomes)

    def outcome(self, title):
        when, _, fault = title.partition(" ")[0].partition("-")
        first = title not in self.asked
        if when == "always" or (when == "once" and first):
            return fault
        return "good"

    def usage(self, body, completion=90):
        prompt = sum(len(each["content"]) for each in body["messages"]) // 4
        with self.lock:
            self.tokens += prompt + completion
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


@contextmanager
def chat_server(**options):
    """The ChatServer, until the block ends."""
    state = ChatServer(**options)

    class Handler(QuietHandler):
        wbufsize = 1 << 16  # head and content in one go

        def do_POST(self):  # noqa: N802 (the library's name)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = json.loads(body["messages"][1]["content"])
            title = str(asked["metadata"].get("title"))
            with state.lock:
                outcome = state.outcome(title)
                state.asked.setdefault(title, []).append(outcome)
                state.requests.append((body, dict(self.headers)))
                state.times.append(time.monotonic())
                state.under_way += 1
                state.most_under_way = max(state.most_under_way, state.under_way)
            try:
                time.sleep(state.delay_seconds)
                self._answer(outcome, body, asked["language"])
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up, or was killed
            finally:
                with state.lock:
                    state.under_way -= 1

        def _answer(self, outcome, body, language):
            turned_away = state.turn_away(body)
            if turned_away:
                self._send(turned_away[0], turned_away[2], heads=turned_away[1])
                return
            if outcome == "shut":
                self.close_connection = True
                return
            if outcome.isdigit():
                key = self.headers["Authorization"]
                self._send(int(outcome), {"error": {"message": f"no, {key}", "code": None}})
                return
            if outcome == "slow":
                state.usage(body)
                time.sleep(state.slow_seconds)
                return
            usage = None if outcome == "uncounted" else state.usage(body)
            text, refusal, reason = self._reply(outcome, language)
            message = {"role": "assistant", "content": text, "refusal": refusal}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            answer = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
            answer |= {"choices": [choice]} | ({"usage": usage} if usage else {})
            self._send(200, answer, broken=outcome == "broken", torn=outcome == "torn")

        def _reply(self, outcome, language):
            told = {"enough_information": True, "summary_en": TEXTS["English"]}
            told |= {"language": language, "summary": TEXTS.get(language, "")}
            if outcome == "refusal":
                return None, "I cannot help with that.", "stop"
            if outcome == "little":
                told |= {"enough_information": False, "summary_en": "", "summary": ""}
            if outcome == "english":
                told["summary"] = TEXTS["English"] + " It is a tune that people know."
            if outcome == "other":
                told["language"] = "Klingon"
            text = state.text or json.dumps(told, ensure_ascii=False)
            if outcome == "cut":
                return text[: len(text) // 2], None, "length"
            if outcome == "filtered":
                return None, None, "content_filter"
            if outcome == "parts":
                thought = {"type": "thinking", "thinking": [{"type": "text", "text": "{"}]}
                return [thought, {"type": "text", "text": text}], None, "stop"
            if outcome == "oddparts":
                return [{"text": text}, 5], None, "stop"
            if outcome == "wrapped":
                text = f"Sure, here it is:\n\n```json\n{text}\n```\nAnything else?"
            return text, None, "stop"

        def _send(self, status, value, *, broken=False, torn=False, heads=None):
            content = json.dumps(value).encode()
            content = content[: len(content) // 2] if broken else content
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if heads is None and status == 429:
                heads = {"Retry-After": "0.01"}
            for name, text in (heads or {}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if torn else content)
            self.close_connection = torn or self.close_connection

    with serving(Handler) as address:
        state.base_url = f"{address}/v1"
        yield state
