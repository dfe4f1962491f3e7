"""The words beside a number that say what it is: a phone, a card, or an order number that only looks like one.

Chinese and English. A direct cue is found by walking back from the number over "is", "number", colons and brackets to
the first word that names something; only a direct one may turn a number down, since `订单没到，电话138…` names an order
and means a phone. Walking costs a few dictionary look-ups, where a pattern tried at every place would cost a hundred.
"""

from __future__ import annotations

import re
from string import ascii_letters

_REACH = 48  # characters looked at before a number; a clause of English
_STEPS = 5  # words walked over
_SIGNS = " \t\n:：=#＃.,(（[“\"'「"
_LONGEST_WORD = 4

PHONE, OTHER, VERSION, PASSPORT = "phone", "other", "version", "passport"


def _labelled(label: str, words: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), label)


_CHINESE = (
    _labelled(PHONE, "电话 手机 座机 固话 热线 致电 拨打 联系方式 联系我 打给我 传真 微信 短信 同号")
    | _labelled(
        OTHER,
        "单号 编号 编码 流水号 序列号 货号 型号 款号 条码 条形码 批号 序号 快递号 合同号 发票号 追踪号 跟踪号 物料号 "
        "零件号 配件号 时间戳 书号 邮编 校验码 机身码 资产号 订单 运单 金额 流水 串号",
    )
    | _labelled(VERSION, "版本 版本号 固件 驱动 升级到 升级至 更新到 更新至 章节 条款 第 版 最新版")
    | _labelled(PASSPORT, "护照 护照信息")
)
# With 号 behind them these name a number, without it whatever has to do with them.
_CHINESE_THINGS = _labelled(
    OTHER, "订单 单据 运单 快递 物流 包裹 面单 工单 合同 发票 批次 产品 商品 设备 机器 零件 配件 交易"
)
_LATIN = (
    _labelled(PHONE, "tel telephone phone mobile cell fax whatsapp dial call text reach ring")
    | _labelled(
        OTHER,
        "order orders tracking track invoice serial part parts item items model batch lot reference ref refs case "
        "ticket booking transaction trace waybill parcel shipment consignment barcode timestamp sku isbn issn imei upc "
        "ean gtin asin rma sn po uuid session request build revision contract asset device product "
        "article quote claim",
    )
    | _labelled(
        VERSION, "v ver version versions release firmware rev driver oid section clause chapter kernel upgrade update"
    )
    | _labelled(PASSPORT, "passport")
)
_CHINESE_LINKS = ("号码", "号", "码", "是", "为", "即")
_OF_A_NUMBER = ("号码", "号", "码")
_LATIN_LINKS = _labelled("", "is was are number numbers num nums no nr id code to at on me us him her back").keys()

# "The number on the parcel (138…)": what is in brackets says which number is meant, and none of the parcel's.
_PLACE = re.compile(r"\bon (?:the|this|that|my|our|your|his|her|their|its) (?:[a-z]+ )?$")

_CARD = ("卡号", "银行卡", "信用卡", "借记卡", "储蓄卡", "刷卡", "账号", "帐号", "账户", "打款", "转账")
_CARD_LATIN = ("card", "visa", "master", "maestro", "amex", "credit", "debit", "account")
_SSN = re.compile(r"social security|社会安全|社安|(?<![a-z])(?:ssn|ss#|tax ?id|taxpayer)", re.IGNORECASE)
_BARE_NUMBER = re.compile(
    r"(?:^|[，。；、！？,.;!?\s])(?:编号|编码|号码|numbers?|no\.?|id)\s*(?:是|为|is)?\s*[:：]?\s*$", re.IGNORECASE
)
_PROGRAM = re.compile(r"[A-Za-z]/$")  # Chrome/120.0.0.1
_UNIT = re.compile(
    r"\s?(?:元|块钱|件|个|条|次|字节|毫秒|微秒|秒|人民币|万|亿|(?:bytes?|ms|ns|usd|cny|rmb|kb|mb|units?|pcs)(?![a-z]))",
    re.IGNORECASE,
)
_MONEY = tuple("¥￥$€£")
_IN_URL = re.compile(r"(?:https?://|www\.)[^\s\u3000-\uffef]{0,110}$")


def named(text: str, start: int) -> str | None:
    """What the nearest word before the number at `start` says it is, with nothing but links between them."""
    before = text[max(0, start - _REACH) : start].lower()
    is_numbered = False
    is_in_brackets = before.endswith(("(", "（"))
    for _ in range(_STEPS):
        before = before.rstrip(_SIGNS)
        if before[-1:].isascii():
            rest = before.rstrip(ascii_letters)
            word = before[len(rest) :]
            if is_in_brackets and (place := _PLACE.search(rest)):
                before = rest[: place.start()]
                is_in_brackets = False
                continue
            if word in _LATIN:
                return _LATIN[word]
            if word not in _LATIN_LINKS:
                return None
            before = rest
            continue
        for length in range(_LONGEST_WORD, 0, -1):
            if (label := _CHINESE.get(before[-length:])) is not None:
                return label
        if is_numbered and before[-2:] in _CHINESE_THINGS:
            return OTHER
        link = next((link for link in _CHINESE_LINKS if before.endswith(link)), None)
        if link is None:
            return None
        is_numbered |= link in _OF_A_NUMBER
        before = before[: -len(link)]
    return None


def names_card(text: str, start: int) -> bool:
    before = text[max(0, start - _REACH) : start].lower()
    return any(word in before for word in _CARD) or any(word in before for word in _CARD_LATIN)


def names_passport(text: str, start: int, end: int) -> bool:
    around = text[max(0, start - _REACH) : end + _REACH // 2]
    return "护照" in around or "通行证" in around or "出入境" in around or "passport" in around.lower()


def names_ssn(text: str, start: int) -> bool:
    return _SSN.search(text, max(0, start - _REACH), start) is not None


def names_any_number(text: str, start: int) -> bool:
    """Whether "number" stands before, and not what of: the rest of the sentence says it."""
    return _BARE_NUMBER.search(text[max(0, start - 12) : start]) is not None


def is_version(text: str, start: int) -> bool:
    return named(text, start) == VERSION or _PROGRAM.search(text, max(0, start - 2), start) is not None


def is_amount(text: str, start: int, end: int) -> bool:
    return text[max(0, start - 2) : start].rstrip().endswith(_MONEY) or _UNIT.match(text, end) is not None


def is_in_url(text: str, start: int) -> bool:
    before = text[max(0, start - 120) : start]
    return ("://" in before or "www." in before) and _IN_URL.search(before) is not None
