"""Text to the words that search compares: Chinese segmented by jieba, English folded to stems.

The index and the query go through the same function, so LanceDB only has to split at spaces. The stemmer is Harman's
"S" stemmer (1991) with -ing and -ed: mild, it never joins words that mean different things, and it needs no tables.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from tulou.data.search.synonyms import ENGLISH, fold_chinese

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:[.'’-][A-Za-z0-9]+)*|[\u3400-\u9fff]+|[^\W_]+")

_MAX_TERM_CHARS = 40

_ENGLISH_STOP_WORDS = """
a an the and or but if of to in on at by for with from as is are was were be been being am do does did doing done can
could will would shall should may might must i me my mine we us our ours you your yours he him his she her it its they
them their this that these those there here what which who whom whose when where why how not no nor so than then too
very just about into over under again also any some all each such only own same s t don ll re ve d m please tell want
need know get got have has had hi hello thanks thank dear hey anyone someone something thing let make much many
"""
_CHINESE_STOP_WORDS = """
的 了 是 在 我 你 您 他 她 它 我们 你们 他们 咱们 我的 你的 和 与 及 或 也 都 就 还 又 很 太 更 最 吗 呢 吧 啊 呀 哦
嘛 么 呗 哈 这 那 这个 那个 这些 那些 这样 那样 有 没有 不 没 要 会 能 可 可以 能不能 可不可以 是不是 有没有 能否
是否 还是 或者 怎么 怎么样 怎样 怎么办 如何 什么 为什么 啥 咋 多少 几 哪 哪里 哪儿 哪个 谁 请 请问 请教 想 想要 想问
问 问下 一下 一个 一些 个 把 被 给 对 从 到 向 以 为 上 下 里 中 之 其 所 而 且 但 但是 如果 因为 所以 的话 时候 时 后
前 说 去 来 做 办 用 让 麻烦 帮 帮忙 谢谢 你好 您好 需要 应该 得 着 过 地 知道 告诉 了解 以及 关于 现在 已经
东西 买 买了 里面 之后 以后 之前 以前 自己 那么 比较 真的 到底 究竟 只 只能 不能 不会 不了 起来 出来 还有 还会 有人
"""
STOP_WORDS = frozenset((_ENGLISH_STOP_WORDS + _CHINESE_STOP_WORDS).split())


def words(text: str) -> list[str]:
    """The terms of `text`, in order, with repetitions; synonyms are folded and stop words left out."""
    import rjieba

    terms: list[str] = []
    for token in _TOKEN.findall(fold_chinese(unicodedata.normalize("NFKC", text))):
        if _is_chinese(token):
            terms.extend(word for word in rjieba.cut_for_search(token) if word not in STOP_WORDS)
        else:
            terms.extend(_latin_terms(token.casefold()))
    return terms


def with_characters(terms: list[str]) -> list[str]:
    """`terms` and the single characters of the Chinese ones, so that 退回 and 退货 have something in common."""
    inner = [char for term in terms if len(term) > 1 and _is_chinese(term) for char in term]
    return terms + [char for char in inner if char not in STOP_WORDS]


def _is_chinese(token: str) -> bool:
    return "\u3400" <= token[0] <= "\u9fff"


@lru_cache(maxsize=65_536)  # most tokens of a corpus are repetitions, and this is a third of the time of indexing
def _latin_terms(token: str) -> tuple[str, ...]:
    """A compound such as wi-fi or yq-100 counts as a whole and in its parts."""
    token = token.replace("’", "'").removesuffix("'s")
    parts = re.split(r"[.'-]", token)
    whole = ["".join(parts)] if len(parts) > 1 else []
    return tuple(_folded(stem(term))[:_MAX_TERM_CHARS] for term in whole + parts if term and term not in STOP_WORDS)


def stem(word: str) -> str:
    """English `word`, lower case, without its plural, -ing or -ed."""
    if len(word) <= 3 or not word.isalpha() or not word.isascii():
        return word
    if word.endswith("ies") and not word.endswith(("aies", "eies")) and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("es") and word[:-2].endswith(("s", "x", "z", "ch", "sh")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("us", "ss", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and re.search(r"[aeiouy]", root):
            is_doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
            word = root[:-1] if is_doubled else root
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


_CANONICAL = {stem(word): stem(line.split()[0]) for line in ENGLISH.strip().splitlines() for word in line.split()}


def _folded(term: str) -> str:
    return _CANONICAL.get(term, term)
