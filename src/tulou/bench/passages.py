"""Passages, vectors and questions for the search benchmark: any number, seeded, in Chinese and English.

Each passage is about one of many topics. Words follow Zipf's law: some are everybody's, some the topic's, one or two
the passage's own. Vectors lie around their topic's centre and topics around those of their field, so neighbours mean
something; uniform noise would make every index look bad and every recall the same. What it gives up: grammar is a few
frames deep, and a question's vector is its passage's with noise, which is what a good encoder would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.tables import PASSAGE

DIMENSIONS = 384
_FIELDS, _TOPICS = 40, 1500
_BATCH = 2000
_ZIPF = 1.07  # Zipf's exponent of natural text
_TOPIC_SPREAD, _PASSAGE_SPREAD, _QUESTION_SPREAD = 0.9, 0.8, 0.5  # standard deviations against the centre's length 1
_WORDS = {"zh": 9000, "en": 9000}
_TOPIC_WORDS = 24

_HAN = (
    "时间产品服务客户订单商品配送价格质量安装使用说明方法电池屏幕材料颜色大小功能温度水壶茶叶礼盒会员积分优惠活动支付"
    "银行账号密码信息系统网络手机软件更新版本地区城市仓库物流快递包装检测维修保养清洁食品牛奶咖啡果汁面粉蔬菜肉类海鲜"
    "衣服鞋帽运动健康医疗药品教育学校书籍纸张文具家具灯具厨房卫生浴室花园汽车轮胎机油空气环境能源太阳风力金属塑料玻璃"
    "陶瓷木材布料羊毛丝绸棉麻皮革首饰手表相机音响耳机键盘鼠标显示打印扫描存储硬盘内存主板电源风扇开关插座线缆接口标准"
)
_ONSETS = (*"bcdfghjklmnprstvw", "br", "ch", "dr", "fl", "gl", "pr", "st", "tr")
_VOWELS, _CODAS = "aeiou", "lmnrstk"
_FRAMES = {
    "zh": (
        "关于{0}的{1}，我们提供{2}和{3}。",
        "如果{0}没有{1}，请先检查{2}，再联系{3}。",
        "{0}可以与{1}一起使用，但是{2}不在{3}之内。",
    ),
    "en": (
        "The {0} of the {1} comes with a {2} and a {3}.",
        "If the {0} has no {1}, please check the {2} before you call the {3}.",
        "You can use the {0} with any {1}, but the {2} is not part of the {3}.",
    ),
}
_ASKED = {"zh": "请问{0}的{1}怎么{2}，{3}有吗？", "en": "How can I get the {0} {1} for my {2} and {3}?"}


@dataclass(frozen=True)
class Question:
    text: str
    vector: NDArray[np.float32]  # (DIMENSIONS,)
    passage_id: str  # of the passage it was made from


class Passages:
    """`rows` passages; any part can be made without the others, so nothing needs to be held in memory."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rows = rows
        self._seed = seed
        self._lexicon = {"zh": _chinese_words(rng), "en": _english_words(rng)}
        self._cumulated = {language: _zipf(len(words)) for language, words in self._lexicon.items()}
        fields = _unit(rng.normal(size=(_FIELDS, DIMENSIONS)))
        of_field = rng.integers(0, _FIELDS, _TOPICS)
        self._centres = _unit(fields[of_field] + _noise(rng, _TOPICS, _TOPIC_SPREAD))
        self._topic_words = rng.integers(200, 9000, (_TOPICS, _TOPIC_WORDS))  # never the commonest

    def batches(self) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float32]]]:
        """PASSAGE batches with their vectors (rows, DIMENSIONS)."""
        for start in range(0, self.rows, _BATCH):
            yield self._part(start, min(start + _BATCH, self.rows))

    def questions(self, count: int, seed: int = 0) -> list[Question]:
        """Questions made from passages evenly spread: a few of their words in a frame, their vector with noise."""
        asked: list[Question] = []
        starts = range(0, self.rows, _BATCH)
        for number, start in enumerate(starts):
            rng = np.random.default_rng((self._seed, 2, seed, start))
            batch, vectors = self._part(start, min(start + _BATCH, self.rows))
            wanted = count * (number + 1) // len(starts) - count * number // len(starts)
            for at in rng.integers(0, batch.num_rows, wanted):
                row = batch.slice(int(at), 1).to_pylist()[0]
                vector = _unit(vectors[at : at + 1] + _noise(rng, 1, _QUESTION_SPREAD))[0]
                asked.append(Question(self._asked(row, rng), vector, row["id"]))
        return asked

    def _part(self, start: int, stop: int) -> tuple[pa.RecordBatch, NDArray[np.float32]]:
        rng = np.random.default_rng((self._seed, 1, start))
        topics = rng.integers(0, _TOPICS, stop - start)
        rows = [self._row(number, int(topic), rng) for number, topic in zip(range(start, stop), topics, strict=True)]
        vectors = _unit(self._centres[topics] + _noise(rng, len(topics), _PASSAGE_SPREAD))
        return pa.RecordBatch.from_pylist(rows, schema=PASSAGE), vectors

    def _row(self, number: int, topic: int, rng: np.random.Generator) -> dict[str, Any]:
        language = "zh" if topic % 2 else "en"
        lexicon = self._lexicon[language]
        frames = _FRAMES[language]
        used: list[str] = []
        sentences: list[str] = []
        for frame in rng.integers(0, len(frames), int(rng.integers(3, 7))):
            words = [lexicon[place] for place in self._places(language, topic, rng)]
            used += words
            sentences.append(frames[frame].format(*words))
        joined = "" if language == "zh" else " "
        title = joined.join(lexicon[place] for place in self._topic_words[topic][:2])
        return {
            "id": f"p{number:08d}",
            "document_id": f"d{number // 4:08d}",
            "source": f"source{topic % 5}",
            "uri": f"data/{title}-{number // 4}.md",
            "position": "",
            "title": title,
            "heading": used[0],
            "text": joined.join(sentences),
            "language": language,
            "modified_at": f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}T08:00:00+00:00",
        }

    def _places(self, language: str, topic: int, rng: np.random.Generator) -> list[int]:
        """Four words of a sentence: two of everybody's, two of the topic's."""
        common = np.searchsorted(self._cumulated[language], rng.random(2))
        own = self._topic_words[topic][rng.integers(0, _TOPIC_WORDS, 2)]
        return [int(own[0]), int(common[0]), int(own[1]), int(common[1])]

    def _asked(self, row: dict[str, Any], rng: np.random.Generator) -> str:
        language, text = row["language"], row["text"]
        known = set(self._lexicon[language])
        if language == "en":
            pieces = text.replace(",", " ").replace(".", " ").split()
        else:
            pieces = [text[at : at + 2] for at in range(len(text) - 1)]
        words = [piece for piece in pieces if piece in known]
        return _ASKED[language].format(*(words[int(place)] for place in rng.integers(0, len(words), 4)))


def _chinese_words(rng: np.random.Generator) -> list[str]:
    """Words of two characters, all pairs of a few hundred characters of trade, commonest first."""
    characters = sorted(set(_HAN))
    natural = [_HAN[at : at + 2] for at in range(0, len(_HAN), 2)]
    pairs = (f"{characters[a]}{characters[b]}" for a, b in rng.integers(0, len(characters), (40_000, 2)))
    return list(dict.fromkeys([*natural, *pairs]))[: _WORDS["zh"]]


def _english_words(rng: np.random.Generator) -> list[str]:
    def syllable() -> str:
        coda = _CODAS[rng.integers(len(_CODAS))] if rng.random() < 0.4 else ""
        return f"{_ONSETS[rng.integers(len(_ONSETS))]}{_VOWELS[rng.integers(5)]}{coda}"

    words = ("".join(syllable() for _ in range(int(rng.integers(2, 4)))) for _ in range(20_000))
    return list(dict.fromkeys(words))[: _WORDS["en"]]


def _zipf(count: int) -> NDArray[np.float64]:
    """Cumulated shares of `count` words, the commonest first."""
    weights = 1 / np.arange(1, count + 1) ** _ZIPF
    cumulated: NDArray[np.float64] = np.cumsum(weights) / weights.sum()
    return cumulated


def _noise(rng: np.random.Generator, rows: int, spread: float) -> NDArray[np.float64]:
    return rng.normal(scale=spread / np.sqrt(DIMENSIONS), size=(rows, DIMENSIONS))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit
