"""Postal addresses, by pattern: Chinese ones down to a house number, English ones from one to a street's kind.

A Chinese address is grown from its house number: to the left over places up to a province, a city or a word such as
住在, to the right over buildings and rooms. One without a house number is a place and nobody's home, so it stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tulou.data.clean.sensitive.finding import GUESS, SHAPED, Finding

_NUMBER = "[0-9A-Za-z一二三四五六七八九十百零甲乙丙丁]"
_HOUSE = re.compile(  # from the last sign of a street's name to its house number
    rf"""
    (?:路|街|巷|弄|胡同|道|里|村|镇|庄|屯|苑|园|区|城|府|庭|湾|段|线|坊|邨|院)
    [ ]?(?:[东西南北中]?[一二三四五六七八九十]?[段路街巷]?)?
    [ ]?{_NUMBER}{{1,6}}(?:-[0-9]{{1,4}})?(?:号楼|号院?|弄|幢|栋|座|组|\#)
    """,
    re.VERBOSE,
)
_INSIDE = re.compile(  # 阳光花园3号楼, 2单元, 501室, 东门, or a bare 1203
    rf"""
    [ ,，]?(?:[\u4e00-\u9fff]{{2,10}}?(?=[0-9A-Za-z]{{1,4}}(?:号楼|栋|幢|座|单元|室|层|楼)))?
    {_NUMBER}{{1,6}}(?:-[0-9]{{1,4}})*(?:号楼|号院|号|栋|幢|座|单元|室|层|楼|弄|房|户|铺)
    |[ ]?(?:[东西南北][门侧塔]|[0-9]{{3,4}}(?![0-9A-Za-z元块件天号.-]))
    """,
    re.VERBOSE,
)
_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北"
    "|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_CITIES = (  # of a million and more, often written without their province
    "广州|深圳|杭州|南京|苏州|成都|武汉|西安|青岛|大连|厦门|宁波|无锡|佛山|东莞|长沙|郑州|沈阳|济南"
    "|合肥|福州|昆明|哈尔滨|长春|石家庄|南昌|贵阳|南宁|太原|兰州|海口|珠海|常州|温州"
)
_TOP = re.compile(rf"(?:中国)?(?:{_PROVINCES}|{_CITIES})(?![东西南北中]?[一二三四]?[路街道])")  # but 长江西路, 南京东路
_ADMINISTRATIVE = re.compile(r"[\u4e00-\u9fff]{2,6}?(?:省|自治区|自治州|市|区|县|旗|镇|乡|街道)")
_LEAD_IN = re.compile(
    r"""
    .*(?:住址是?|地址(?:改[成为到]|是)?|[寄送发][到往给至回]?|搬[到至]?了?|位于|家住|改[成为到至]|坐落于|[设开]在
    |在|到|往|至|去|是|为|于|从|住|给|：|:)
    """,
    re.DOTALL | re.VERBOSE,
)
_HAN_RUN = re.compile(r"[\u4e00-\u9fff0-9A-Za-z ]*$")
_LONGEST_HEAD = 40

_STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Parkway"
    "|Pkwy|Highway|Hwy|Close|Crescent|Cres|Circle|Cir|Gardens|Grove|Mews|Row|Hill|Alley|Broadway|Walk|Trail|Trl|Quay"
)
_COUNTED = "(?:Days?|Hours?|Minutes?|Weeks?|Months?|Years?|Items?|Pieces?|Packs?|Boxes|Orders?|Stars?|Inch|People)"
_ENGLISH = re.compile(
    rf"""
    (?<![A-Za-z0-9.,/\#$£€-])
    (?:(?:Apt|Apartment|Suite|Ste|Unit|Flat|Room)\.?[ ]\#?[0-9A-Za-z]{{1,5}},?[ ])?
    [0-9]{{1,5}}[A-Za-z]?(?:-[0-9]{{1,5}})?,?[ ](?!{_COUNTED}[ ])(?:[NSEW]\.?[ ]|(?:North|South|East|West)[ ])?
    (?:(?:[A-Z][A-Za-z'’]{{1,20}}|[0-9]{{1,3}}(?:st|nd|rd|th)|St\.|of|the)[ ]){{1,4}}?
    (?:{_STREET})(?![A-Za-z])\.?(?:[ ](?:North|South|East|West|[NSEW]{{1,2}})(?![A-Za-z]))?
    (?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|\#)\.?[ ]?\#?[0-9A-Za-z]{{1,5}})?
    (?:,[ ][A-Z][a-z]+(?:[ ][A-Z][a-z]+){{0,2}})?
    (?:,?[ ][A-Z]{{2}}[ ][0-9]{{5}}(?:-[0-9]{{4}})?|,?[ ][A-Z]{{1,2}}[0-9][0-9A-Z]?[ ][0-9][A-Z]{{2}})?
    """,
    re.VERBOSE,
)


def find_chinese_addresses(text: str) -> Iterator[Finding]:
    done = 0
    for house in _HOUSE.finditer(text):
        if house.start() < done:
            continue
        start = _head(text, max(done, house.start() - _LONGEST_HEAD), house.start())
        if house.start() - start < 1:
            continue  # 路88号 without a street's name
        done = _tail(text, house.end())
        strength = SHAPED if _TOP.match(text, start) else GUESS
        yield Finding(start, done, "address", strength)


def _head(text: str, first: int, street: int) -> int:
    """Where the address whose street's name ends at `street` begins, not before `first`."""
    run = _HAN_RUN.search(text, first, street)
    begin = run.start() if run else street
    before = text[begin:street]
    if top := _TOP.search(text, begin, street + 1):
        return top.start()
    lead_in = _LEAD_IN.match(before)
    if lead_in and lead_in.end() < len(before):
        begin += lead_in.end()
        before = text[begin:street]
    if not lead_in and not _ADMINISTRATIVE.match(before):
        begin = max(begin, street - 4)
    return begin + len(text[begin:street]) - len(text[begin:street].lstrip())


def _tail(text: str, end: int) -> int:
    for _ in range(4):
        inside = _INSIDE.match(text, end)
        if inside is None:
            break
        end = inside.end()
    return end


def find_english_addresses(text: str) -> Iterator[Finding]:
    for match in _ENGLISH.finditer(text):
        yield Finding(*match.span(), "address", SHAPED)
