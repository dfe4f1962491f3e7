"""The words beside a number that say what it is: a phone, a card, or an order number that only looks like one.

Chinese and English. A cue is direct when nothing but "is", a colon or a bracket stands between it and the number; only
a direct cue may turn a number down, since `订单没到，电话138…` names an order and means a phone.
"""

from __future__ import annotations

import re

_REACH = 32  # characters looked at before a number
_LINK = r"(?:号码|码|号|numbers?|nums?|no\.?|nr\.?|id|#)?\s*(?:(?:是|为|即|is|was|are|=)\s*)?[:#(\[“\"'「]?\s*$"


def _direct(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{words})\s?{_LINK}", re.IGNORECASE)


_PHONE = _direct(
    r"电话|手机|座机|固话|热线|致电|拨打|联系方式|联系我|打给我|传真|号码|微信|短信"
    r"|(?<![a-z])(?:tel|telephone|phone|mobile|cell|fax|whatsapp|dial"
    r"|(?:call|text|reach|ring)(?: me| us| him| her)?(?: back)?(?: at| on)?)\.?"
)
_CARD = re.compile(
    r"卡号|银行卡|信用卡|借记卡|储蓄卡|刷卡|卡片|账号|帐号|账户|打款|转账|card|visa|master|maestro|amex|credit|debit|account|IBAN",
    re.IGNORECASE,
)
_PASSPORT = re.compile(r"护照|通行证|出入境|passport", re.IGNORECASE)
_PASSPORT_DIRECT = _direct(r"护照|passport")
_SSN = re.compile(r"social security|社会安全|社安|(?<![a-z])(?:ssn|ss#|tax ?id|taxpayer)", re.IGNORECASE)
# What numbers that look like people's are called.
_LOOK_ALIKE = _direct(
    r"(?:订单|单据|流水|运单|快递|物流|包裹|面单|取件|工单|合同|发票|批次|产品|商品|货品|设备|机器|零件|配件|交易|会话|案件|参考|客服|物料|固件|资产|规格)?"
    r"(?:单号|编号|编码|流水号|序列号|货号|型号|款号|条码|条形码|批号|序号|快递号|订单号|合同号|发票号|追踪号|跟踪号|物料号|零件号|配件号|时间戳|书号|邮编|版本号|版本|校验码|机身码|资产号|订单|运单|金额)"
    r"|(?<![a-z])(?:orders?|tracking|track|invoice|serial|parts?|items?|models?|batch|lot|references?|refs?|case|ticket|booking"
    r"|transaction|trace|waybill|parcel|shipment|consignment|barcode|timestamp|sku|isbn|issn|imei|upc|ean|gtin|asin|rma|sn|s/n|p/n|po"
    r"|uuid|session|request|build|revision|contract|asset|device|product|article|code|quote|claim)(?: code)?"
)
_VERSION = re.compile(
    r"(?:(?<![a-z])(?:v|ver|version|versions|release|build|firmware"
    r"|rev|revision|driver|oid|section|clause|chapter|kernel|update to|upgrade to)"
    r"|[a-z]/|版本|固件|驱动|版|升级[到至]|更新[到至]|章节|条款|第)(?:号|为|是|is|was|:|\.|=|到|至|\s)*$",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?:https?://|www\.)[^\s\u3000-\uffef]{0,110}$")
_MONEY = re.compile(r"[¥￥$€£]\s?$")
_UNIT = re.compile(
    r"\s?(?:元|块钱|件|个|条|次|字节|毫秒|微秒|秒|人民币|万|亿|bytes?|ms|ns|usd|cny|rmb|kb|mb|units?|pcs)(?![a-z])",
    re.IGNORECASE,
)


def _before(text: str, start: int) -> str:
    return text[max(0, start - _REACH) : start]


def names_phone(text: str, start: int) -> bool:
    return _PHONE.search(_before(text, start)) is not None


def names_card(text: str, start: int) -> bool:
    return _CARD.search(_before(text, start)) is not None


def names_passport(text: str, start: int, end: int) -> bool:
    return _PASSPORT.search(text, max(0, start - _REACH), end + _REACH // 2) is not None


def names_passport_number(text: str, start: int) -> bool:
    return _PASSPORT_DIRECT.search(_before(text, start)) is not None


def names_ssn(text: str, start: int) -> bool:
    return _SSN.search(_before(text, start)) is not None


def names_other_number(text: str, start: int) -> bool:
    before = _before(text, start)
    return _LOOK_ALIKE.search(before) is not None and _PHONE.search(before) is None


def names_version(text: str, start: int) -> bool:
    return _VERSION.search(_before(text, start)) is not None


def is_amount(text: str, start: int, end: int) -> bool:
    return _UNIT.match(text, end) is not None or _MONEY.search(text, max(0, start - 2), start) is not None


def is_in_url(text: str, start: int) -> bool:
    return _IN_URL.search(text, max(0, start - 120), start) is not None and not names_phone(text, start)
