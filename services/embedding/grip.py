"""Whether a model tells Korean sentences apart: an English one sees little more than strange letters in all of them."""

from collections.abc import Sequence

# Each says the same twice, in other words.
PAIRS = (
    ("회의 시간을 한 시간 뒤로 미룰게요", "미팅은 원래보다 한 시간 늦게 시작합니다"),
    ("오늘 점심은 김치찌개 먹자", "낮에 찌개 먹으러 가자"),
    ("서버가 죽어서 접속이 안 돼요", "시스템 장애로 로그인을 할 수 없습니다"),
    ("고양이가 소파 위에서 자고 있다", "쇼파에서 낮잠 자는 냥이"),
    ("비행기 표를 예매했어요", "항공권 예약을 마쳤습니다"),
    ("내일 비가 많이 온대", "일기예보에 따르면 강수량이 많을 것이다"),
    ("아기가 밤새 울어서 못 잤어", "아이 때문에 잠을 설쳤다"),
    ("월급이 아직 안 들어왔어요", "급여 입금이 늦어지고 있습니다"),
)
SENTENCES = [sentence for pair in PAIRS for sentence in pair]
# A model below NONE is of no use for Korean (all-MiniLM-L6-v2 gets 0.83, by what letters two sentences share), one above
# FULL is as good as in English.
NONE, FULL = 0.85, 0.97


def grip(vectors: Sequence[Sequence[float]]) -> float:
    """Of `SENTENCES`' vectors, of length 1: how often a sentence is nearer to its other half than to another one, 0.5
    being chance."""
    won = of = 0
    for place, mine in enumerate(vectors):
        other = place ^ 1
        near = _dot(mine, vectors[other])
        for third, theirs in enumerate(vectors):
            if third not in (place, other):
                won += near > _dot(mine, theirs)
                of += 1
    return won / of


def share(found: float) -> float:
    """How much a model's word counts for Korean, 0 to 1."""
    return min(1.0, max(0.0, (found - NONE) / (FULL - NONE)))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
