"""The offline demo model: no key, no network, always the same answer to the same question; and it says what it is."""

import asyncio
import re
from collections.abc import AsyncIterator

from services.llm.base import Delta, Item, Request, Spent

HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
WORD = re.compile(r"\s*\S+\s*")

KO = """저는 인터넷 없이 도는 **연습용 모델**이에요. 아직 진짜 언어 모델이 연결되지 않았어요.

방금 이렇게 쓰셨어요.

> {quote}

글자 {chars}개, 낱말 {words}개예요. 진짜 답을 받으려면 서버를 이렇게 시작하세요.

```sh
OPENAI_API_KEY=... scripts/run        # 또는 ANTHROPIC_API_KEY
OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=... scripts/run
```

그때까지는 제가 여기서 한 낱말씩 답할게요."""

EN = """I am the **offline demo model**. No language model is connected to this server yet.

You just wrote:

> {quote}

That is {words} words in {chars} characters. For real answers start the server like this:

```sh
OPENAI_API_KEY=... scripts/run        # or ANTHROPIC_API_KEY
OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=... scripts/run
```

Until then I will answer here, word by word."""


class Demo:
    name = "demo"
    default_model = "demo"

    def __init__(self, token_ms: float) -> None:
        self._token_s = token_ms / 1000

    async def stream(self, request: Request) -> AsyncIterator[Item]:
        question = request.turns[-1].text if request.turns else ""
        question = question.rsplit("\n\n", 1)[-1].partition(": ")[2] or question
        quote = " ".join(question.split())[:200]
        template = KO if HANGUL.search(question) else EN
        answer = template.format(quote=quote, chars=len(question), words=len(question.split()))
        words = WORD.findall(answer)
        for word in words:
            yield Delta("text", word)
            await asyncio.sleep(self._token_s)
        given = request.system + "".join(turn.text for turn in request.turns)
        yield Spent(len(WORD.findall(given)), len(words))

    async def close(self) -> None:
        return None
