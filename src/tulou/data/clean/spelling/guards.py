"""Places that spelling never touches: addresses of the net, placeholders, code, quoted titles and names.

Each form is a bounded expression, so that a megabyte of brackets costs no more than a megabyte of prose. The price of
caution is recall: a typo inside backticks or before 先生 stays.
"""

from __future__ import annotations

import re
from bisect import bisect_left

_ANYWHERE = re.compile(
    r"```[\s\S]*?```"  # fenced code; a fence left open guards nothing
    r"|`[^`\n]{1,200}`"
    r"|</?[A-Za-z!][^<>\n]{0,300}>"
    r"|(?:[A-Za-z][A-Za-z0-9+.-]{1,20}://|\bwww\.)[^\s\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]{1,2000}"
    r"|[^\s@<>\[\]()\u3000-\u9fff\uff00-\uffef]{1,64}@[A-Za-z0-9.-]{1,255}"
    r"|\[[^\[\]\n]{1,80}\]|\{[^{}\n]{1,80}\}|\$\([^()\n]{1,80}\)|【[^【】\n]{1,40}】"
    r"|[@#][\w-]{1,60}"
    r"|《[^《》\n]{1,60}》|〈[^〈〉\n]{1,60}〉|「[^「」\n]{1,60}」|『[^『』\n]{1,60}』|“[^“”\n]{1,24}”"
)

# The hundred surnames that nearly nine in ten people carry (Ministry of Public Security, 2020 name report).
_SURNAME = (
    "(?:欧阳|上官|司马|诸葛|[王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕"
    "丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤])"
)
_NAMES = re.compile(
    rf"{_SURNAME}[\u4e00-\u9fff]{{0,2}}(?=先生|女士|小姐|太太|老师|经理|主任|师傅|同学|医生|总监|工程师|阿姨|律师)"
    r"|(?:我叫|名叫|姓名|联系人|收件人|收货人|签收人|经办人|负责人|客服|收款人|户名|此致)"
    rf"[是为：: ]{{0,2}}{_SURNAME}[\u4e00-\u9fff]{{1,2}}"
    r"|[\u4e00-\u9fff]{2,6}(?:公司|集团|大厦|小区|花园|有限|路\d|街\d|镇|村|县|省)"
)


def guarded(text: str, chinese: bool) -> list[tuple[int, int]]:
    """Places (start, end) to leave as they are, in order and apart; those of Chinese names only on demand."""
    places = [match.span() for match in _ANYWHERE.finditer(text)]
    return _joined(places + [match.span() for match in _NAMES.finditer(text)]) if chinese else places


def is_free(start: int, end: int, places: list[tuple[int, int]]) -> bool:
    """Whether nothing of `places`, in order and apart, reaches into start to end."""
    before = bisect_left(places, (end,)) - 1
    return before < 0 or places[before][1] <= start


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
